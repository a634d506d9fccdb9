package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	testHost   = "box.example:8443"
	testOrigin = "https://box.example:8443"
)

// register gives who a passkey.
func register(t *testing.T, b *box, who Identity, key *authenticator) {
	t.Helper()
	options, err := b.PasskeyRegisterBegin(who, testHost)
	must(t, err)
	must(t, b.PasskeyRegisterFinish(who, peer(0), "my\nkey", key.create(options)))
}

// loginWith logs in with a passkey on a page under host.
func loginWith(t *testing.T, b *box, p Peer, key *authenticator) (Identity, string, error) {
	t.Helper()
	options, id, err := b.PasskeyLoginBegin(p)
	must(t, err)
	return b.PasskeyLoginFinish(t.Context(), p, id, key.get(options))
}

func TestPasskeys(t *testing.T) {
	b, anna, _ := claimed(t)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)
	b.restart(t)
	b.clock.advance(time.Hour)
	who, cookie, err := loginWith(t, b, peer(1), key)
	must(t, err)
	if got, err := b.ByCookie(cookie, peer(1)); err != nil || got != who || who.Name != "anna" || who.Role != Admin || !who.SecondFactor || !who.Fresh(b.clock.Now()) {
		t.Errorf("got %+v, %v, want anna, fresh, with a second factor", got, err)
	}
	accounts, err := b.Accounts()
	must(t, err)
	listed := accounts[0].Passkeys
	if len(listed) != 1 || listed[0].Name != `my\u000akey` || listed[0].Host != "box.example" || listed[0].LastUsed != b.clock.Now() {
		t.Fatalf("listed: %+v", listed)
	}
	if err := b.PasskeyDelete(Identity{Name: "bert", Role: Viewer, Way: ByLogin}, peer(1), "anna", listed[0].ID); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer deletes an admin's: got %v, want ErrForbidden", err)
	}
	must(t, b.PasskeyDelete(who, peer(1), "anna", listed[0].ID))
	if err := b.PasskeyDelete(who, peer(1), "anna", listed[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting again: got %v, want ErrNotFound", err)
	}
	if _, _, err := loginWith(t, b, peer(2), key); !errors.Is(err, ErrWrong) {
		t.Errorf("with the deleted one: got %v, want ErrWrong", err)
	}
	if got := b.actions(t); !slices.Equal(got, []string{"passkey-failed", "passkey-deleted", "login", "passkey-added", "claim"}) {
		t.Errorf("the audit log has %v", got)
	}
}

func TestPasskeysNeedAName(t *testing.T) {
	tests := []struct {
		at   string
		want string // the RP id; empty: ErrNoName
	}{
		{"box.example:8443", "box.example"},
		{"Box.Example", "box.example"},
		{"box.example:443", "box.example"},
		{"localhost:8443", "localhost"},
		{"breakwater.local", "breakwater.local"},
		{"192.0.2.1:8443", ""},
		{"192.0.2.1", ""},
		{"[2001:db8::1]:8443", ""},
		{"[2001:db8::1]", ""},
		{"", ""},
		{"box example/\"", ""},
	}
	b, anna, _ := claimed(t)
	for _, test := range tests {
		t.Run(test.at, func(t *testing.T) {
			p := peer(0)
			p.At = test.at
			login, _, loginErr := b.PasskeyLoginBegin(p)
			made, registerErr := b.PasskeyRegisterBegin(anna, test.at)
			if test.want == "" {
				if !errors.Is(loginErr, ErrNoName) || !errors.Is(registerErr, ErrNoName) {
					t.Errorf("got %v and %v, want ErrNoName", loginErr, registerErr)
				}
				return
			}
			var o struct {
				PublicKey struct {
					RPID                   string
					UserVerification       string
					RP                     struct{ ID string }
					AuthenticatorSelection struct{ ResidentKey, UserVerification string }
				}
			}
			must(t, errors.Join(loginErr, registerErr, json.Unmarshal(login, &o)))
			if o.PublicKey.RPID != test.want || o.PublicKey.UserVerification != "required" {
				t.Errorf("to log in: %s", login)
			}
			must(t, json.Unmarshal(made, &o))
			if s := o.PublicKey.AuthenticatorSelection; o.PublicKey.RP.ID != test.want || s.ResidentKey != "required" || s.UserVerification != "required" {
				t.Errorf("to register: %s", made)
			}
		})
	}
}

func TestWhatPasskeyLoginsRefuse(t *testing.T) {
	foreign := peer(0)
	foreign.At = "other.example"
	tests := []struct {
		name   string
		change func(key *authenticator)
		at     Peer
		spoil  func(response []byte) []byte
	}{
		{"no user verification", func(k *authenticator) { k.flags = userPresent }, peer(0), nil},
		{"nobody present", func(k *authenticator) { k.flags = userVerified }, peer(0), nil},
		{"a page of somebody else", func(k *authenticator) { k.origin = "https://mallory.example" }, peer(0), nil},
		{"another port", func(k *authenticator) { k.origin = "https://box.example:9443" }, peer(0), nil},
		{"no TLS", func(k *authenticator) { k.origin = "http://box.example:8443" }, peer(0), nil},
		{"another name of the box", func(k *authenticator) { k.origin = "https://other.example" }, foreign, nil},
		{"another key", func(k *authenticator) { k.key = newAuthenticator(k.t, k.origin).key }, peer(0), nil},
		{"another credential", func(k *authenticator) { k.id = newRandom(16) }, peer(0), nil},
		{"another user", func(k *authenticator) { k.handle = []byte(newID()) }, peer(0), nil},
		{"no user", func(k *authenticator) { k.handle = nil }, peer(0), nil},
		{"not JSON", func(*authenticator) {}, peer(0), func([]byte) []byte { return []byte("x") }},
		{"nothing", func(*authenticator) {}, peer(0), func([]byte) []byte { return nil }},
		{"too long", func(*authenticator) {}, peer(0), func(r []byte) []byte { return append(r, bytes.Repeat([]byte(" "), maxResponse)...) }},
		{"a registration", func(*authenticator) {}, peer(0), func(r []byte) []byte {
			return []byte(strings.Replace(string(r), "authenticatorData", "attestationObject", 1))
		}},
	}
	b, anna, _ := claimed(t)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.at.Addr = peer(i).Addr
			changed := *key
			test.change(&changed)
			options, id, err := b.PasskeyLoginBegin(test.at)
			must(t, err)
			response := changed.get(options)
			if test.spoil != nil {
				response = test.spoil(response)
			}
			if who, cookie, err := b.PasskeyLoginFinish(t.Context(), test.at, id, response); !errors.Is(err, ErrWrong) || who != (Identity{}) || cookie != "" {
				t.Errorf("got %+v, %v, want ErrWrong", who, err)
			}
		})
	}
	if _, _, err := loginWith(t, b, peer(99), key); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// TestACeremonyWorksOnce answers the same question from many browsers.
func TestACeremonyWorksOnce(t *testing.T) {
	b, anna, _ := claimed(t)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)
	options, id, err := b.PasskeyLoginBegin(peer(0))
	must(t, err)
	response := key.get(options)
	errIn := errors.New("logged in")
	counts := atOnce(50, func(i int) error {
		_, _, err := b.PasskeyLoginFinish(t.Context(), peer(i), id, response)
		return orElse(err, errIn)
	}, errIn, ErrWrong)
	if counts[errIn] != 1 || counts[ErrWrong] != 49 {
		t.Errorf("got %v, want one login", counts)
	}
	options, id, err = b.PasskeyLoginBegin(peer(0))
	must(t, err)
	b.clock.advance(ceremonyTime + time.Second)
	if _, _, err := b.PasskeyLoginFinish(t.Context(), peer(60), id, key.get(options)); !errors.Is(err, ErrWrong) {
		t.Errorf("after 5 minutes: got %v, want ErrWrong", err)
	}
}

func TestACopiedPasskeyIsTold(t *testing.T) {
	b, anna, _ := claimed(t)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)
	lists := func() string {
		entries, err := b.Audit(0, 1)
		must(t, err)
		return entries[0].Detail
	}
	for _, test := range []struct {
		count  uint32 // of the authenticator before the login
		copied bool
	}{{5, false}, {6, false}, {2, true}, {20, false}} {
		key.count = test.count
		if _, _, err := loginWith(t, b, peer(0), key); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(lists(), "copy"); got != test.copied {
			t.Errorf("with the counter %d the audit log has %q, want a copy told: %v", key.count, lists(), test.copied)
		}
	}
}

func TestWhatPasskeyRegistrationsRefuse(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.CreateAccount(anna, peer(0), "bert", Operator, otherPassword))
	bert, _, err := b.Login(t.Context(), peer(1), "bert", otherPassword, "")
	must(t, err)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)

	options, err := b.PasskeyRegisterBegin(anna, testHost)
	if err != nil || !strings.Contains(string(options), b64.EncodeToString(key.id)) {
		t.Errorf("the options do not exclude the passkey that is there: %s, %v", options, err)
	}
	if err := b.PasskeyRegisterFinish(bert, peer(1), "x", key.create(options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("what another account began: got %v, want ErrPasskey", err)
	}
	options, err = b.PasskeyRegisterBegin(bert, testHost)
	must(t, err)
	if err := b.PasskeyRegisterFinish(bert, peer(1), "x", key.create(options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("a passkey of another account: got %v, want ErrPasskey", err)
	}
	if err := b.PasskeyRegisterFinish(bert, peer(1), "x", key.create(options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("twice: got %v, want ErrPasskey", err)
	}
	unverified := newAuthenticator(t, testOrigin)
	unverified.flags = userPresent
	options, err = b.PasskeyRegisterBegin(bert, testHost)
	must(t, err)
	if err := b.PasskeyRegisterFinish(bert, peer(1), "x", unverified.create(options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("without user verification: got %v, want ErrPasskey", err)
	}
	if _, err := b.PasskeyRegisterBegin(Local(), testHost); !errors.Is(err, ErrNoLogin) {
		t.Errorf("the socket: got %v, want ErrNoLogin", err)
	}
	for i := range maxPasskeys + 1 {
		options, err := b.PasskeyRegisterBegin(bert, testHost)
		must(t, err)
		err = b.PasskeyRegisterFinish(bert, peer(1), "", newAuthenticator(t, testOrigin).create(options))
		if want := i == maxPasskeys; errors.Is(err, ErrTooMany) != want || !want && err != nil {
			t.Errorf("passkey %d: %v", i+1, err)
		}
	}
}

// TestWhatIsBegunIsBounded: one peer cannot push out what others have begun.
func TestWhatIsBegunIsBounded(t *testing.T) {
	b, anna, _ := claimed(t)
	key := newAuthenticator(t, testOrigin)
	register(t, b, anna, key)
	options, id, err := b.PasskeyLoginBegin(peer(0))
	must(t, err)
	for range 2 * maxWaiting {
		b.clock.advance(time.Millisecond)
		_, _, err := b.PasskeyLoginBegin(peer(1))
		must(t, err)
	}
	if _, _, err := b.PasskeyLoginFinish(t.Context(), peer(0), id, key.get(options)); err != nil {
		t.Errorf("after a flood of one peer: %v", err)
	}
	for i := range 2 * maxWaiting {
		_, _, err := b.PasskeyLoginBegin(peer(i))
		must(t, err)
	}
	if got := len(b.passkeyLogins.entries); got != maxWaiting {
		t.Errorf("%d wait after a flood of many, want %d", got, maxWaiting)
	}
}
