package access

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAccounts(t *testing.T) {
	b, anna, _ := claimed(t)
	start := b.clock.Now()
	b.clock.advance(time.Minute)
	must(t, b.CreateAccount(anna, peer(0), "Bert", Operator, otherPassword))
	want := []Account{
		{Name: "anna", Role: Admin, Created: start, LastLogin: start, Passkeys: []Passkey{}},
		{Name: "bert", Role: Operator, Created: b.clock.Now(), Passkeys: []Passkey{}},
	}
	b.restart(t)
	got, err := b.Accounts()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, (-want +got):\n%s", err, diff)
	}
}

func TestWhatAccountsRefuse(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.CreateAccount(anna, peer(0), "bert", Operator, otherPassword))
	bert, _, err := b.Login(t.Context(), peer(1), "bert", otherPassword, "")
	must(t, err)
	before, err := b.Accounts()
	must(t, err)
	tests := []struct {
		name string
		call func() error
		want error
	}{
		{"create: by an operator", func() error { return b.CreateAccount(bert, peer(1), "carl", Viewer, goodPassword) }, ErrForbidden},
		{"create: by nobody", func() error { return b.CreateAccount(Identity{}, peer(1), "carl", Viewer, goodPassword) }, ErrForbidden},
		{"create: exists", func() error { return b.CreateAccount(anna, peer(0), "BERT", Viewer, goodPassword) }, ErrAccountExists},
		{"create: no such role", func() error { return b.CreateAccount(anna, peer(0), "carl", "root", goodPassword) }, ErrRole},
		{"create: name", func() error { return b.CreateAccount(anna, peer(0), "c/arl", Viewer, goodPassword) }, ErrAccountName},
		{"role: of the last admin", func() error { return b.SetRole(anna, peer(0), "anna", Viewer) }, ErrLastAdmin},
		{"role: by an operator", func() error { return b.SetRole(bert, peer(1), "bert", Admin) }, ErrForbidden},
		{"role: no such role", func() error { return b.SetRole(anna, peer(0), "bert", "") }, ErrRole},
		{"role: no such account", func() error { return b.SetRole(anna, peer(0), "carl", Viewer) }, ErrNotFound},
		{"delete: the last admin", func() error { return b.DeleteAccount(anna, peer(0), "anna") }, ErrLastAdmin},
		{"delete: by an operator", func() error { return b.DeleteAccount(bert, peer(1), "bert") }, ErrForbidden},
		{"delete: no such account", func() error { return b.DeleteAccount(anna, peer(0), "carl") }, ErrNotFound},
		{"password: of another", func() error { return b.SetPassword(bert, peer(1), "anna", goodPassword) }, ErrForbidden},
		{"password: no such account", func() error { return b.SetPassword(anna, peer(0), "carl", goodPassword) }, ErrNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call(); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			after, err := b.Accounts()
			if diff := cmp.Diff(before, after); err != nil || diff != "" {
				t.Errorf("something changed (error %v):\n%s", err, diff)
			}
		})
	}
}

func TestTheFirstAccountIsAnAdmin(t *testing.T) {
	b := newBox(t)
	if err := b.CreateAccount(Local(), Peer{}, "anna", Viewer, goodPassword); !errors.Is(err, ErrLastAdmin) || b.Claimed() {
		t.Errorf("a viewer first: got %v and claimed %v, want ErrLastAdmin", err, b.Claimed())
	}
	must(t, b.CreateAccount(Local(), Peer{}, "anna", Admin, goodPassword))
	if !b.Claimed() || b.SetupCode() != "" {
		t.Errorf("claimed %v, code %q, want claimed", b.Claimed(), b.SetupCode())
	}
}

// TestChangesEndLogins: whoever logged in before a change of password, role or account is out, except the one that made
// the change.
func TestChangesEndLogins(t *testing.T) {
	tests := []struct {
		name    string
		change  func(b *box, anna, bert Identity) error
		own     bool // bert's login that may have made the change is still in
		another bool // bert's other login is
	}{
		{"own password", func(b *box, _, bert Identity) error { return b.SetPassword(bert, peer(1), "bert", goodPassword) }, true, false},
		{"password by an admin", func(b *box, anna, _ Identity) error { return b.SetPassword(anna, peer(0), "bert", goodPassword) }, false, false},
		{"role", func(b *box, anna, _ Identity) error { return b.SetRole(anna, peer(0), "bert", Viewer) }, false, false},
		{"deleted", func(b *box, anna, _ Identity) error { return b.DeleteAccount(anna, peer(0), "bert") }, false, false},
		{"deleted and made again", func(b *box, anna, _ Identity) error {
			return errors.Join(b.DeleteAccount(anna, peer(0), "bert"), b.CreateAccount(anna, peer(0), "bert", Admin, otherPassword))
		}, false, false},
		{"another account", func(b *box, anna, _ Identity) error { return b.SetPassword(anna, peer(0), "anna", otherPassword) }, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, anna, cookie := claimed(t)
			must(t, b.CreateAccount(anna, peer(0), "bert", Operator, otherPassword))
			bert, own, err := b.Login(t.Context(), peer(1), "bert", otherPassword, "")
			must(t, err)
			_, another, err := b.Login(t.Context(), peer(2), "bert", otherPassword, "")
			must(t, err)
			must(t, test.change(b, anna, bert))
			b.restart(t)
			_, ownErr := b.ByCookie(own, peer(1))
			_, anotherErr := b.ByCookie(another, peer(2))
			if (ownErr == nil) != test.own || (anotherErr == nil) != test.another {
				t.Errorf("the own login: %v, another: %v; want in: %v and %v", ownErr, anotherErr, test.own, test.another)
			}
			if _, err := b.ByCookie(cookie, peer(0)); err != nil {
				t.Errorf("the admin's login: %v", err)
			}
		})
	}
}

// TestTwoAdminsCannotDemoteEachOtherAtOnce: one of them stays.
func TestTwoAdminsCannotDemoteEachOtherAtOnce(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.CreateAccount(anna, peer(0), "bert", Admin, otherPassword))
	names := []string{"anna", "bert"}
	errDone := errors.New("done")
	counts := atOnce(20, func(i int) error {
		if err := b.SetRole(Local(), Peer{}, names[i%2], Viewer); err != nil {
			return err
		}
		return errDone
	}, ErrLastAdmin, errDone)
	if counts[ErrLastAdmin] != 10 || counts[errDone] != 10 {
		t.Errorf("got %v, want one of the two to stay", counts)
	}
}
