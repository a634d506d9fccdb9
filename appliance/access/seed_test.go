package access

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckHash(t *testing.T) {
	hash, err := HashPassword(t.Context(), "seven boats under granite")
	if err != nil || CheckHash(string(hash)) != nil {
		t.Fatalf("the hash of a password is not taken: %v, %v", CheckHash(string(hash)), err)
	}
	good := string(hash)
	for _, test := range []struct{ name, old, new string }{
		{"nothing", good, ""},
		{"a password", good, "seven boats under granite"},
		{"another algorithm", "$argon2id$", "$argon2i$"},
		{"another version", "v=19", "v=16"},
		{"memory to fill the box", "m=19456", "m=262144"},
		{"as much memory as can be written", "m=19456", "m=4294967295"},
		{"hardly any memory", "m=19456", "m=64"},
		{"hours", "t=2", "t=6"},
		{"no round", "t=2", "t=0"},
		{"many threads", "p=1", "p=16"},
		{"something behind", "p=1$", "p=1,data=AA$"},
		{"another writing", "m=19456", "m=019456"},
		{"a line break", "t=2", "t=2\n"},
		{"a short key", good[strings.LastIndex(good, "$"):], "$AAAAAAAAAAAAAAAAAAAAAA"},
		{"no key", good[strings.LastIndex(good, "$"):], "$"},
		{"padding", good, good + "="},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := CheckHash(strings.Replace(good, test.old, test.new, 1)); !errors.Is(err, ErrHash) {
				t.Errorf("got %v, want ErrHash", err)
			}
		})
	}
	if _, err := HashPassword(t.Context(), "password1234"); err == nil {
		t.Error("a password that is tried first was hashed")
	}
}

// TestSeed: the accounts are there as a whole, once, and nobody can claim the box after that.
func TestSeed(t *testing.T) {
	f := newBox(t)
	hash, err := HashPassword(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	given := []Given{{"Zoe", Admin, hash}, {"ben", Viewer, hash}}
	for name, bad := range map[string]struct {
		given []Given
		want  error
	}{
		"nobody":        {nil, ErrLastAdmin},
		"no admin":      {given[1:], ErrLastAdmin},
		"a name twice":  {append([]Given{{"zoe", Viewer, hash}}, given...), ErrAccountExists},
		"no name":       {[]Given{{"a b", Admin, hash}}, ErrAccountName},
		"no role":       {[]Given{{"zoe", "root", hash}}, ErrRole},
		"no hash":       {[]Given{{"zoe", Admin, "secret"}}, ErrHash},
		"far too many ": {make([]Given, maxAccounts+1), ErrTooMany},
	} {
		if err := f.Seed(bad.given, "a stick"); !errors.Is(err, bad.want) || f.Claimed() || f.SetupCode() == "" {
			t.Errorf("%s: got %v (claimed %v), want %v", name, err, f.Claimed(), bad.want)
		}
	}
	for range 2 { // the second time is after a crash
		if err := f.Seed(given, "a stick"); err != nil {
			t.Fatal(err)
		}
		if list, err := f.Accounts(); err != nil || len(list) != 2 || list[1].Name != "zoe" || list[1].Role != Admin {
			t.Errorf("accounts %+v, %v", list, err)
		}
		if !f.Claimed() || f.SetupCode() != "" {
			t.Error("the setup code lives")
		}
	}
	entries, err := f.Audit(0, 10)
	if err != nil || len(entries) != 2 || entries[0].Way != BySeed || entries[0].Action != "account-created" || !strings.Contains(entries[0].Detail, "a stick") {
		t.Errorf("audit log %+v, %v", entries, err)
	}
	if _, _, err := f.Login(t.Context(), Peer{}, "zoe", goodPassword, ""); err != nil {
		t.Errorf("log in: %v", err)
	}
	if err := f.Seed(given[:1], "another stick"); !errors.Is(err, ErrClaimed) {
		t.Errorf("other accounts: got %v, want ErrClaimed", err)
	}
}
