package access

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/store"
)

// TestExactlyOneOfManyClaimsWins: each of 100 browsers has the right code.
func TestExactlyOneOfManyClaimsWins(t *testing.T) {
	b := newBox(t)
	code := b.SetupCode()
	errWon := errors.New("won")
	counts := atOnce(100, func(i int) error {
		identity, cookie, err := b.Claim(t.Context(), peer(i), code, "anna", goodPassword)
		if err != nil {
			return err
		}
		if got, err := b.ByCookie(cookie, peer(i)); err != nil || got != identity || got.Role != Admin {
			t.Errorf("the winner is %+v, its cookie %+v, %v", identity, got, err)
		}
		return errWon
	}, errWon, ErrClaimed)
	if counts[errWon] != 1 || counts[ErrClaimed] != 99 {
		t.Errorf("got %v, want one winner and 99 that were late", counts)
	}
	accounts, err := b.Accounts()
	if len(accounts) != 1 || err != nil {
		t.Errorf("%d accounts, %v, want 1", len(accounts), err)
	}
	if got := b.actions(t); !slices.Equal(got, []string{"claim"}) {
		t.Errorf("the audit log has %v, want one claim", got)
	}
	if !b.Claimed() || b.SetupCode() != "" {
		t.Errorf("claimed %v, code %q, want claimed and no code", b.Claimed(), b.SetupCode())
	}
}

func TestTheSetupCodeDies(t *testing.T) {
	b := newBox(t)
	code := b.SetupCode()
	wrong := newCode(setupGroups)
	for i := range setupFailures {
		want := ErrWrong
		if i == setupFailures-1 {
			want = ErrSetupDead
		}
		if _, _, err := b.Claim(t.Context(), peer(i), wrong, "anna", goodPassword); !errors.Is(err, want) {
			t.Fatalf("failure %d: got %v, want %v", i+1, err, want)
		}
	}
	if _, _, err := b.Claim(t.Context(), peer(99), code, "anna", goodPassword); !errors.Is(err, ErrSetupDead) || b.SetupCode() != "" {
		t.Errorf("the right code after that: got %v, and the console shows %q", err, b.SetupCode())
	}
	b.restart(t)
	if again := b.SetupCode(); again == "" || again == code {
		t.Errorf("after a restart the code is %q, want a new one", again)
	}
	if _, _, err := b.Claim(t.Context(), peer(0), code, "anna", goodPassword); !errors.Is(err, ErrWrong) {
		t.Errorf("the code of before: got %v, want ErrWrong", err)
	}
}

func TestWhatAClaimRefuses(t *testing.T) {
	tests := []struct {
		name                    string
		code                    func(string) string
		account, password, want string
	}{
		{"small letters, no hyphens", func(c string) string { return strings.ToLower(strings.ReplaceAll(c, "-", "")) }, "Anna", goodPassword, ""},
		{"no code", func(string) string { return "" }, "anna", goodPassword, ErrWrong.Error()},
		{"half a code", func(c string) string { return c[:9] }, "anna", goodPassword, ErrWrong.Error()},
		{"no name", strings.ToUpper, "", goodPassword, ErrAccountName.Error()},
		{"path as name", strings.ToUpper, "../x", goodPassword, ErrAccountName.Error()},
		{"name of the socket", strings.ToUpper, "Local", goodPassword, ErrAccountName.Error()},
		{"weak password", strings.ToUpper, "anna", "password1234", (&Weak{"The password is made of words that are tried first. Add words that have nothing to do with this box or with you."}).Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t)
			_, _, err := b.Claim(t.Context(), peer(0), test.code(b.SetupCode()), test.account, test.password)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if b.Claimed() != (test.want == "") {
				t.Errorf("claimed: %v", b.Claimed())
			}
			if test.want == "" {
				return
			}
			if _, _, err := b.Claim(t.Context(), peer(0), b.SetupCode(), "anna", goodPassword); err != nil {
				t.Errorf("the next claim: %v; a refused one must not use up the code", err)
			}
		})
	}
}

func TestAClaimedBoxStaysClaimed(t *testing.T) {
	tests := []struct {
		name   string
		change func(dir string) error
	}{
		{"restart", func(string) error { return nil }},
		{"the store is gone", func(dir string) error { return os.Remove(filepath.Join(dir, store.FileName)) }},
		{"the store is damaged", func(dir string) error { return os.WriteFile(filepath.Join(dir, store.FileName), []byte("x"), 0o600) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, _, _ := claimed(t)
			b.stop(t)
			must(t, test.change(b.dir))
			b.start(t)
			if !b.Claimed() || b.SetupCode() != "" {
				t.Errorf("claimed %v, code %q, want claimed and no code", b.Claimed(), b.SetupCode())
			}
			if _, _, err := b.Claim(t.Context(), peer(0), newCode(setupGroups), "mallory", goodPassword); !errors.Is(err, ErrClaimed) {
				t.Errorf("Claim: got %v, want ErrClaimed", err)
			}
			if who, _, err := b.Login(t.Context(), peer(0), "anna", goodPassword, ""); err != nil || who.Role != Admin {
				t.Errorf("Login: got %+v, %v, want the admin", who, err)
			}
		})
	}
}

// TestNoSecretIsWrittenDown plants secrets and looks for them in every file and in the log.
func TestNoSecretIsWrittenDown(t *testing.T) {
	b := newBox(t)
	code := b.SetupCode()
	secrets := []string{code, goodPassword, otherPassword}
	_, _, err := b.Claim(t.Context(), peer(1), newCode(setupGroups), "anna", goodPassword)
	if !errors.Is(err, ErrWrong) {
		t.Fatal(err)
	}
	anna, cookie, err := b.Claim(t.Context(), peer(0), code, "anna", goodPassword)
	must(t, err)
	codes := enableTOTP(t, b, anna)
	_, token, err := b.CreateToken(anna, peer(0), NewToken{Name: "ci", Role: Viewer})
	must(t, err)
	for i, name := range []string{"anna", otherPassword} { // who types the password into the field of the name
		if _, _, err := b.Login(t.Context(), peer(2+i), name, otherPassword, codes[1]); !errors.Is(err, ErrWrong) {
			t.Fatalf("Login: got %v, want ErrWrong", err)
		}
	}
	_, second, err := b.Login(t.Context(), peer(0), "anna", goodPassword, codes[0])
	must(t, err)
	secrets = append(secrets, cookie, second, token)
	secrets = append(secrets, codes...)
	must(t, filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		assertNone(t, path, string(data), secrets)
		return err
	}))
	assertNone(t, "the log", b.log.String(), secrets)
}

func assertNone(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %q", where, secret)
		}
	}
}
