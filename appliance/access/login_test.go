package access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/store"
)

func TestLogin(t *testing.T) {
	b, _, first := claimed(t)
	tests := []struct {
		name, account, password string
		want                    error
	}{
		{"right", "anna", goodPassword, nil},
		{"name as people type it", " Anna ", goodPassword, nil},
		{"wrong password", "anna", otherPassword, ErrWrong},
		{"password in other letters", "anna", strings.ToUpper(goodPassword), ErrWrong},
		{"password with a space", "anna", goodPassword + " ", ErrWrong},
		{"no such account", "bert", goodPassword, ErrWrong},
		{"nothing", "", "", ErrWrong},
		{"endless", "anna", strings.Repeat(goodPassword, 1000), ErrWrong},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			who, cookie, err := b.Login(t.Context(), peer(i), test.account, test.password, "")
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err != nil {
				if who != (Identity{}) || cookie != "" {
					t.Errorf("refused, and got %+v and a cookie of %d characters", who, len(cookie))
				}
				return
			}
			if got, err := b.ByCookie(cookie, peer(i)); err != nil || got != who || got.Name != "anna" || got.Way != ByLogin || !got.Fresh(b.clock.Now()) {
				t.Errorf("the cookie is of %+v, %v, want %+v", got, err, who)
			}
			if cookie == first {
				t.Error("two logins have the same cookie")
			}
		})
	}
}

// TestGuessingEndsAtThePeer: nobody gets more than five guesses, and nobody else is locked out by them.
func TestGuessingEndsAtThePeer(t *testing.T) {
	b, _, _ := claimed(t)
	wrong, refused := 0, 0
	for range 50 {
		_, _, err := b.Login(t.Context(), peer(1), "anna", otherPassword, "")
		switch {
		case errors.Is(err, ErrWrong):
			wrong++
		case isThrottled(err):
			refused++
		}
	}
	if wrong != freeFailures || refused != 45 {
		t.Errorf("%d guesses were looked at and %d refused, want 5 and 45", wrong, refused)
	}
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, ""); !isThrottled(err) {
		t.Errorf("the right password from there: got %v, want Throttled", err)
	}
	if _, _, err := b.Login(t.Context(), peer(2), "anna", goodPassword, ""); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	b.clock.advance(firstWait)
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, ""); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if got := b.actions(t); !slices.Equal(got, []string{"login", "login", "login-failed", "claim"}) {
		t.Errorf("the audit log has %v, want one failure for the minute", got)
	}
}

func TestALoginIsOver(t *testing.T) {
	step := func(d time.Duration) func(*box) { return func(b *box) { b.clock.advance(d) } }
	tests := []struct {
		name  string
		steps []func(*box)
		want  bool // still logged in
	}{
		{"at once", nil, true},
		{"idle for 30 minutes", []func(*box){step(30 * time.Minute)}, true},
		{"idle for longer", []func(*box){step(30*time.Minute + time.Second)}, false},
		{"used now and then", slices.Repeat([]func(*box){step(20 * time.Minute)}, 36), true},
		{"after 12 hours", slices.Repeat([]func(*box){step(20 * time.Minute)}, 37), false},
		{"the clock was corrected a little", []func(*box){step(-time.Minute)}, true},
		{"the clock was set back", []func(*box){step(-time.Hour)}, false},
		{"the clock jumped ahead", []func(*box){step(1000 * time.Hour)}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, _, cookie := claimed(t)
			var err error
			for _, step := range append(test.steps, func(*box) {}) {
				step(b)
				_, err = b.ByCookie(cookie, peer(0))
			}
			if got := err == nil; got != test.want || err != nil && !errors.Is(err, ErrNotFound) {
				t.Errorf("logged in: %v (%v), want %v", got, err, test.want)
			}
			logins, err := b.Logins()
			if got := len(logins) == 1; got != test.want || err != nil {
				t.Errorf("listed: %v (%v), want %v", got, err, test.want)
			}
		})
	}
}

func TestLoginsSurviveARestart(t *testing.T) {
	b, anna, cookie := claimed(t)
	b.restart(t)
	got, err := b.ByCookie(cookie, peer(0))
	if err != nil || got != anna {
		t.Errorf("got %+v, %v, want %+v", got, err, anna)
	}
	for _, wrong := range []string{"", cookie[:42], cookie + "A", anna.LoginID} {
		if _, err := b.ByCookie(wrong, peer(0)); !errors.Is(err, ErrNotFound) {
			t.Errorf("ByCookie(%q): got %v, want ErrNotFound", wrong, err)
		}
	}
}

func TestProving(t *testing.T) {
	b, anna, old := claimed(t)
	b.clock.advance(10 * time.Minute)
	if who, err := b.ByCookie(old, peer(0)); err != nil || who.Fresh(b.clock.Now()) {
		t.Fatalf("after 10 minutes: %+v, %v, want a login that is not fresh", who, err)
	}
	if _, err := b.Prove(t.Context(), anna, peer(0), otherPassword, ""); !errors.Is(err, ErrWrong) {
		t.Errorf("a wrong password: got %v, want ErrWrong", err)
	}
	if _, err := b.Prove(t.Context(), Local(), peer(0), goodPassword, ""); !errors.Is(err, ErrNoLogin) {
		t.Errorf("the socket: got %v, want ErrNoLogin", err)
	}
	cookie, err := b.Prove(t.Context(), anna, peer(0), goodPassword, "")
	must(t, err)
	if who, err := b.ByCookie(cookie, peer(0)); err != nil || !who.Fresh(b.clock.Now()) || who.LoginID != anna.LoginID {
		t.Errorf("the new cookie: %+v, %v, want the same login, fresh", who, err)
	}
	if _, err := b.ByCookie(old, peer(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the old cookie: got %v, want ErrNotFound", err)
	}
	must(t, b.Logout(anna))
	if _, err := b.ByCookie(cookie, peer(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Logout: got %v, want ErrNotFound", err)
	}
	must(t, b.Logout(anna)) // again
	if _, err := b.Prove(t.Context(), anna, peer(0), goodPassword, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("proving what is over: got %v, want ErrNotFound", err)
	}
}

func TestALoginIsTouchedOnceAMinute(t *testing.T) {
	b, _, cookie := claimed(t)
	start := b.clock.Now()
	for range 150 {
		b.clock.advance(time.Second)
		_, err := b.ByCookie(cookie, peer(7))
		must(t, err)
		logins, err := b.Logins()
		must(t, err)
		if behind := b.clock.Now().Sub(logins[0].LastSeen); behind >= touchTime {
			t.Fatalf("last seen is %s behind", behind)
		}
	}
	logins, err := b.Logins()
	must(t, err)
	if got := logins[0]; got.LastSeen != start.Add(2*time.Minute) || got.Addr != peer(7).Addr || got.Created != start {
		t.Errorf("got %+v, want seen after two minutes, from where it was last", got)
	}
}

func TestTheLoginsAreBounded(t *testing.T) {
	b, anna, _ := claimed(t)
	account := func(tx *store.AccessTx) (entry, error) {
		account, err := tx.Account("anna")
		return entry{account: account, event: event{"login", "anna", ""}}, err
	}
	must(t, b.store.UpdateAccess(func(tx *store.AccessTx) error {
		owner, err := tx.Account("anna")
		now := b.clock.Now()
		for i := range maxLogins - 1 {
			name := fmt.Sprint(i)
			err = errors.Join(err, tx.PutLogin(store.Login{Sum: store.SumOf(name), ID: name, Account: owner.ID, Created: now, LastSeen: now.Add(time.Duration(i) * time.Millisecond)}))
		}
		return err
	}))
	b.clock.advance(2 * time.Minute)
	_, newest, err := b.enter(peer(0), account)
	must(t, err)
	logins, err := b.Logins()
	must(t, err)
	if len(logins) != maxLogins {
		t.Errorf("%d logins, want %d", len(logins), maxLogins)
	}
	ids := map[string]bool{}
	for _, l := range logins {
		ids[l.ID] = true
	}
	if ids[anna.LoginID] == ids["0"] || !ids["1"] || !ids["998"] {
		t.Errorf("anna's %v, the first %v, the second %v, the last %v; want one of the two oldest gone", ids[anna.LoginID], ids["0"], ids["1"], ids["998"])
	}
	if _, err := b.ByCookie(newest, peer(0)); err != nil {
		t.Errorf("the newest: %v", err)
	}
	b.clock.advance(absoluteTime)
	_, _, err = b.enter(peer(0), account)
	must(t, err)
	must(t, b.store.ViewAccess(func(tx *store.AccessTx) error {
		left, err := tx.Logins()
		if len(left) != 1 {
			t.Errorf("%d logins are stored after all were over, want the new one", len(left))
		}
		return err
	}))
}

func TestWhoMayRevoke(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.CreateAccount(anna, peer(0), "bert", Viewer, otherPassword))
	bert, first, err := b.Login(t.Context(), peer(1), "bert", otherPassword, "")
	must(t, err)
	other, second, err := b.Login(t.Context(), peer(2), "bert", otherPassword, "")
	must(t, err)
	if err := b.Revoke(bert, peer(1), anna.LoginID); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer revokes an admin's login: got %v, want ErrForbidden", err)
	}
	if err := b.RevokeAll(bert, peer(1), "anna"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a viewer revokes an admin's logins: got %v, want ErrForbidden", err)
	}
	impostor := Identity{Name: "anna", Role: Viewer, Way: ByToken} // a token may have any name
	if err := b.RevokeAll(impostor, peer(1), "anna"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a token with the name of an admin: got %v, want ErrForbidden", err)
	}
	must(t, b.RevokeAll(bert, peer(1), "bert"))
	_, firstErr := b.ByCookie(first, peer(1))
	_, secondErr := b.ByCookie(second, peer(1))
	if firstErr != nil || !errors.Is(secondErr, ErrNotFound) {
		t.Errorf("after RevokeAll: the own login %v, the other %v, want none and ErrNotFound", firstErr, secondErr)
	}
	if err := b.Revoke(anna, peer(0), other.LoginID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a login that is gone: got %v, want ErrNotFound", err)
	}
	must(t, b.Revoke(anna, peer(0), bert.LoginID))
	if _, err := b.ByCookie(first, peer(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Revoke: got %v, want ErrNotFound", err)
	}
}

// TestALoginThatWasCheckedBeforeTheChangeIsRefused: the password is checked outside of the transaction.
func TestALoginThatWasCheckedBeforeTheChangeIsRefused(t *testing.T) {
	b, anna, _ := claimed(t)
	account, err := b.checkPassword(t.Context(), b.hasher.strangers, "anna", goodPassword, "")
	must(t, err)
	must(t, b.SetPassword(anna, peer(0), "anna", otherPassword))
	_, _, err = b.enter(peer(1), func(tx *store.AccessTx) (entry, error) {
		now, err := b.unchanged(tx, account)
		return entry{account: now}, err
	})
	if !errors.Is(err, ErrWrong) {
		t.Errorf("got %v, want ErrWrong", err)
	}
}

func TestWhoGoesAwayIsNoFailure(t *testing.T) {
	b, _, _ := claimed(t)
	for range cap(b.hasher.running) {
		must(t, b.hasher.enter(t.Context(), b.hasher.strangers))
		defer b.hasher.leave(b.hasher.strangers)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * freeFailures {
		if _, _, err := b.Login(ctx, peer(1), "anna", goodPassword, ""); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want canceled", err)
		}
	}
	// A name that is not there is not known sooner than a password that is wrong: there is a hash to wait for too.
	if _, _, err := b.Login(ctx, peer(1), "nobody", goodPassword, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("an unknown name: got %v, want canceled", err)
	}
}

// TestALoginNeedsNoRoomForASecondCopy blocks the plain file of the accounts, as a full disk does.
func TestALoginNeedsNoRoomForASecondCopy(t *testing.T) {
	b, anna, _ := claimed(t)
	recovery := enableTOTP(t, b, anna)
	code := codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
	inTheWay := filepath.Join(b.dir, "access.json.tmp")
	must(t, os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700))
	if err := b.SetPassword(anna, peer(0), "anna", otherPassword); err == nil {
		t.Error("a change of the password was acknowledged")
	}
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, recovery[0]); err == nil {
		t.Error("the use of a recovery code was acknowledged")
	}
	who, cookie, err := b.Login(t.Context(), peer(1), "anna", goodPassword, code)
	must(t, err)
	must(t, os.RemoveAll(inTheWay))
	b.restart(t)
	if got, err := b.ByCookie(cookie, peer(1)); err != nil || got != who {
		t.Errorf("after a restart: got %+v, %v, want %+v", got, err, who)
	}
	if _, _, err := b.Login(t.Context(), peer(2), "anna", goodPassword, code); !errors.Is(err, ErrWrong) {
		t.Errorf("the same code: got %v, want ErrWrong", err)
	}
	if _, _, err := b.Login(t.Context(), peer(2), "anna", goodPassword, recovery[0]); err != nil {
		t.Errorf("the recovery code that was refused: %v", err)
	}
}
