package access

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/store"
)

var byEqual = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestTokens(t *testing.T) {
	b, anna, _ := claimed(t)
	now := b.clock.Now()
	made, secret, err := b.CreateToken(anna, peer(0), NewToken{"ci", Operator, now.Add(time.Hour), []netip.Prefix{
		netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::/32"), netip.PrefixFrom(netip.MustParseAddr("::ffff:198.18.0.1"), 112),
	}})
	must(t, err)
	want := Token{Name: "ci", Role: Operator, Author: "anna", Created: now, Expires: now.Add(time.Hour), Networks: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("198.18.0.0/16"),
	}}
	if diff := cmp.Diff(want, made, byEqual); diff != "" {
		t.Errorf("CreateToken (-want +got):\n%s", diff)
	}
	if !regexp.MustCompile(`^bw_[0-9A-Za-z]{49}$`).MatchString(secret) || !recognisable(secret) {
		t.Errorf("the secret %q has another form", secret)
	}
	b.restart(t)
	list, err := b.Tokens()
	if diff := cmp.Diff([]Token{want}, list, byEqual); err != nil || diff != "" {
		t.Errorf("Tokens: error %v, (-want +got):\n%s", err, diff)
	}
	tests := []struct {
		name, secret, from string
		after              time.Duration
		want               bool
	}{
		{"right", secret, "192.0.2.1", 0, true},
		{"right, mapped into IPv6", secret, "::ffff:192.0.2.1", 0, true},
		{"right, IPv6", secret, "2001:db8::1%eth0", 0, true},
		{"right, from the network that was written as IPv6", secret, "198.18.200.1", 0, true},
		{"wrong network", secret, "198.51.100.1", 0, false},
		{"another secret", newTokenSecret(), "192.0.2.1", 0, false},
		{"cut", secret[:51], "192.0.2.1", 0, false},
		{"other letters", strings.ToUpper(secret), "192.0.2.1", 0, false},
		{"none", "", "192.0.2.1", 0, false},
		{"a cookie", newSecret(), "192.0.2.1", 0, false},
		{"just before it expires", secret, "192.0.2.1", time.Hour - time.Second, true},
		{"expired", secret, "192.0.2.1", time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b.clock.advance(test.after)
			who, err := b.ByToken(test.secret, Peer{Addr: netip.MustParseAddr(test.from)})
			if test.want && (err != nil || who != (Identity{Name: "ci", Role: Operator, Way: ByToken, token: store.SumOf(secret)})) {
				t.Errorf("got %+v, %v, want the token", who, err)
			}
			if !test.want && (!errors.Is(err, ErrNotFound) || who != (Identity{})) {
				t.Errorf("got %+v, %v, want ErrNotFound", who, err)
			}
		})
	}
}

func TestWhatTokensRefuse(t *testing.T) {
	b, anna, _ := claimed(t)
	_, _, err := b.CreateToken(anna, peer(0), NewToken{Name: "there", Role: Viewer})
	must(t, err)
	viewer := Identity{Name: "v", Role: Viewer, Way: ByToken}
	prefix := netip.MustParsePrefix
	tests := []struct {
		name string
		by   Identity
		new  NewToken
		want error
	}{
		{"a viewer", viewer, NewToken{Name: "x", Role: Viewer}, ErrForbidden},
		{"an operator", Identity{Role: Operator, Way: ByLogin}, NewToken{Name: "x", Role: Admin}, ErrForbidden},
		{"nobody", Identity{}, NewToken{Name: "x", Role: Viewer}, ErrForbidden},
		{"no role", anna, NewToken{Name: "x"}, ErrRole},
		{"path as name", anna, NewToken{Name: "../x", Role: Viewer}, ErrTokenName},
		{"taken", anna, NewToken{Name: "there", Role: Viewer}, ErrTokenExists},
		{"expired", anna, NewToken{Name: "x", Role: Viewer, Expires: b.clock.Now()}, ErrTokenExpired},
		{"no network", anna, NewToken{Name: "x", Role: Viewer, Networks: []netip.Prefix{{}}}, ErrTokenNetworks},
		{"many networks", anna, NewToken{Name: "x", Role: Viewer, Networks: slices.Repeat([]netip.Prefix{prefix("192.0.2.0/24")}, 65)}, ErrTokenNetworks},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, secret, err := b.CreateToken(test.by, peer(0), test.new); !errors.Is(err, test.want) || secret != "" {
				t.Errorf("got %v and a secret of %d characters, want %v", err, len(secret), test.want)
			}
		})
	}
	if err := b.DeleteToken(viewer, peer(0), "there"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer deletes: got %v, want ErrForbidden", err)
	}
	if err := b.DeleteToken(anna, peer(0), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting what is not there: got %v, want ErrNotFound", err)
	}
}

func TestADeletedTokenIsOut(t *testing.T) {
	b, anna, _ := claimed(t)
	_, secret, err := b.CreateToken(anna, peer(0), NewToken{Name: "ci", Role: Admin})
	must(t, err)
	must(t, b.DeleteToken(anna, peer(0), "ci"))
	if _, err := b.ByToken(secret, peer(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if got := b.actions(t); !slices.Equal(got, []string{"token-failed", "token-deleted", "token-created", "claim"}) {
		t.Errorf("the audit log has %v", got)
	}
}

// TestARightTokenAlwaysGetsIn: wrong ones from the same peer are throttled, and keep nobody out.
func TestARightTokenAlwaysGetsIn(t *testing.T) {
	b, anna, _ := claimed(t)
	_, secret, err := b.CreateToken(anna, peer(0), NewToken{Name: "ci", Role: Viewer})
	must(t, err)
	throttled := 0
	for range 20 {
		if _, err := b.ByToken(newTokenSecret(), peer(1)); isThrottled(err) {
			throttled++
		}
		if _, err := b.ByToken(secret, peer(1)); err != nil {
			t.Fatalf("the right token: %v", err)
		}
	}
	if throttled != 20-freeFailures {
		t.Errorf("%d wrong tokens were throttled, want %d", throttled, 20-freeFailures)
	}
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, ""); err != nil {
		t.Errorf("a person from there: %v", err)
	}
}

func TestTheUseOfATokenIsNotedOnceAMinute(t *testing.T) {
	b, anna, _ := claimed(t)
	_, secret, err := b.CreateToken(anna, peer(0), NewToken{Name: "ci", Role: Viewer})
	must(t, err)
	start := b.clock.Now()
	for range 100 {
		_, err := b.ByToken(secret, peer(1))
		must(t, err)
		b.clock.advance(time.Second)
	}
	list, err := b.Tokens()
	if err != nil || list[0].LastUsed != start.Add(time.Minute) {
		t.Errorf("got %+v, %v, want used at the last whole minute", list, err)
	}
}

// TestTokensOfSchema1StillWork opens the store of a former version.
func TestTokensOfSchema1StillWork(t *testing.T) {
	b := newBox(t)
	b.stop(t)
	const golden = "../store/testdata/schema-1"
	must(t, os.RemoveAll(b.dir))
	must(t, os.CopyFS(b.dir, os.DirFS(golden)))
	b.start(t)
	data, err := os.ReadFile(filepath.Join(golden, "tokens.txt"))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		name, secret, _ := strings.Cut(strings.TrimSpace(line), " ")
		if who, err := b.ByToken(secret, peer(0)); err != nil || who != (Identity{Name: name, Role: Admin, Way: ByToken, token: store.SumOf(secret)}) {
			t.Errorf("got %+v, %v, want the token %s", who, err, name)
		}
	}
	if b.Claimed() || b.SetupCode() == "" {
		t.Errorf("claimed %v, code %q, want a box to be claimed", b.Claimed(), b.SetupCode())
	}
}

func FuzzRecognisable(f *testing.F) {
	f.Add(newTokenSecret())
	f.Add("bw_")
	f.Add("breakwater_00")
	f.Fuzz(func(t *testing.T, secret string) {
		if !recognisable(secret) {
			return
		}
		if len(secret) >= 128 || strings.HasPrefix(secret, tokenPrefix) && recognisable("bw_x"+secret[4:]) && secret[3] != 'x' {
			t.Errorf("%q is recognised", secret)
		}
	})
}

func TestWhoMadeAToken(t *testing.T) {
	anna := Account{Name: "anna", Created: time.Unix(1000, 0)}
	tests := []struct {
		name  string
		by    Identity
		made  time.Time
		wants bool
	}{
		{"the account", Identity{Name: "anna", Way: ByLogin}, time.Unix(2000, 0), true},
		{"the account before it with this name", Identity{Name: "anna", Way: ByLogin}, time.Unix(500, 0), false},
		{"a token with its name", Identity{Name: "anna", Way: ByToken}, time.Unix(2000, 0), false},
		{"the socket", Local(), time.Unix(2000, 0), false},
		{"nobody knows, it is old", Identity{}, time.Unix(2000, 0), false},
	}
	for _, test := range tests {
		if got := (Token{Author: authorOf(test.by), Created: test.made}).MadeBy(anna); got != test.wants {
			t.Errorf("%s: got %v, want %v", test.name, got, test.wants)
		}
	}
}
