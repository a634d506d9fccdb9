package access

import (
	"context"
	"testing"
	"time"
)

// over tells when AwaitEnd returns.
func (b *box) over(t *testing.T, who Identity) <-chan struct{} {
	t.Helper()
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		b.AwaitEnd(ctx, who)
		if ctx.Err() == nil {
			close(over)
		}
	}()
	t.Cleanup(cancel)
	return over
}

func wantOver(t *testing.T, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(lookAgain / 2):
		t.Error("it lasts after its end")
	}
}

func wantLasting(t *testing.T, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
		t.Error("it ends before its time")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestTheEndByTheClock: nothing happens but that time passes.
func TestTheEndByTheClock(t *testing.T) {
	const before = 300 * time.Millisecond
	tests := []struct {
		name string
		pass func(t *testing.T, b *box, anna Identity, cookie string) Identity // until shortly before the end
	}{
		{"a login that is not used", func(_ *testing.T, b *box, anna Identity, _ string) Identity {
			b.clock.advance(idleTime - before)
			return anna
		}},
		{"a login that is used all the time", func(t *testing.T, b *box, anna Identity, cookie string) Identity {
			for range absoluteTime/(20*time.Minute) - 1 {
				b.clock.advance(20 * time.Minute)
				_, err := b.ByCookie(cookie, peer(0))
				must(t, err)
			}
			b.clock.advance(20*time.Minute - before)
			return anna
		}},
		{"a token", func(t *testing.T, b *box, anna Identity, _ string) Identity {
			_, secret, err := b.CreateToken(anna, peer(0), NewToken{Name: "ci", Role: Viewer, Expires: b.clock.Now().Add(time.Hour)})
			must(t, err)
			ci, err := b.ByToken(secret, peer(0))
			must(t, err)
			b.clock.advance(time.Hour - before)
			return ci
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, anna, cookie := claimed(t)
			over := b.over(t, test.pass(t, b, anna, cookie))
			wantLasting(t, over)
			b.clock.advance(2 * before)
			wantOver(t, over)
		})
	}
}

// TestTheEndWithoutAStore: a login that only memory knows to be over ends at once, and what is no login never does.
func TestTheEndWithoutAStore(t *testing.T) {
	b, anna, _ := claimed(t)
	b.becomeNewer(t)
	over, local := b.over(t, anna), b.over(t, Local())
	wantLasting(t, over)
	must(t, b.Logout(anna))
	wantOver(t, over)
	wantLasting(t, local)
}

// TestANewCookieIsNoEnd: who proves again who is there stays who that was, and so does who changes the own password.
func TestANewCookieIsNoEnd(t *testing.T) {
	b, anna, _ := claimed(t)
	over := b.over(t, anna)
	_, err := b.Prove(t.Context(), anna, peer(0), goodPassword, "")
	must(t, err)
	must(t, b.SetPassword(anna, peer(0), "anna", otherPassword))
	wantLasting(t, over)
	must(t, b.RevokeAll(Local(), peer(0), "anna"))
	wantOver(t, over)
}
