package access

import (
	"context"
	"sync"
	"time"

	"breakwater/appliance/store"
)

// lookAgain is how long the clock is believed: it may be set, and with it the time at which something expires comes nearer.
const lookAgain = 15 * time.Second

// AwaitEnd returns when the login or token of who is over, for whatever reason: ended, expired, or the account has changed. It is
// for what goes on after a request was let in. Who came another way lasts until ctx ends, with which AwaitEnd returns too.
func (a *Access) AwaitEnd(ctx context.Context, who Identity) {
	for {
		changed := a.changes.next() // before the look, so that nothing comes in between
		rest, lasts := a.lasts(who)
		if !lasts {
			return
		}
		timer := time.NewTimer(min(rest, lookAgain))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// lasts tells whether who would still be let in, and for how long if nothing happens. A store that cannot be read lets nobody in.
func (a *Access) lasts(who Identity) (rest time.Duration, ok bool) {
	rest = lookAgain
	now := a.now().UTC()
	err := a.store.ViewAccess(func(tx *store.AccessTx) error {
		switch who.Way {
		case ByLogin:
			login, err := a.loginByID(tx, who.LoginID)
			if err == nil {
				login, _, err = a.current(tx, login.Sum, now)
			}
			rest = min(login.LastSeen.Add(idleTime).Sub(now), login.Created.Add(absoluteTime).Sub(now)) + time.Millisecond
			return err
		case ByToken:
			t, err := tx.Token(who.token)
			if err == nil && expired(t, now) {
				err = ErrNotFound
			}
			if !t.Expires.IsZero() {
				rest = t.Expires.Sub(now)
			}
			return err
		}
		return nil
	})
	return rest, err == nil
}

// changes wakes those who wait for the end of a login or a token.
type changes struct {
	mu      sync.Mutex
	waiting chan struct{}
}

// next is closed with the next change.
func (c *changes) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = make(chan struct{})
	}
	return c.waiting
}

func (c *changes) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting != nil {
		close(c.waiting)
		c.waiting = nil
	}
}

// update changes accounts or tokens in the store, and tells who waits. That somebody was seen once more ends nothing, and is not told.
func (a *Access) update(fn func(*store.AccessTx) error) error {
	defer a.changes.tell()
	return a.store.UpdateAccess(fn)
}
