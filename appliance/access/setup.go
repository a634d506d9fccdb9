package access

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"sync"

	"breakwater/appliance/store"
)

// setupFailures is how many wrong setup codes are answered before the code is dead. There is no other throttle: 20
// guesses at 60 bits are nothing.
const setupFailures = 20

// setup is the code that claims the box. It lives in memory only: each start makes a new one.
type setup struct {
	mu       sync.Mutex
	code     string
	failures int
}

// Claimed tells whether there is an account.
func (a *Access) Claimed() bool { return a.claimed.Load() }

// SetupCode is the code that claims this box, for its console. It is empty when the box is claimed, or when too many
// wrong codes were given.
func (a *Access) SetupCode() string {
	if a.Claimed() {
		return ""
	}
	a.setup.mu.Lock()
	defer a.setup.mu.Unlock()
	if a.setup.failures >= setupFailures {
		return ""
	}
	return a.setup.code
}

// check compares a code, in constant time, and counts a wrong one.
func (s *setup) check(code string) error {
	read := readCode(code, setupGroups)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures >= setupFailures {
		return ErrSetupDead
	}
	if subtle.ConstantTimeCompare([]byte(read), []byte(s.code)) == 1 {
		return nil
	}
	if s.failures++; s.failures >= setupFailures {
		return ErrSetupDead
	}
	return ErrWrong
}

// Claim creates the first account, an admin, and logs it in. Of several at once exactly one wins. The errors besides
// those of the store are ErrClaimed, ErrSetupDead, ErrWrong (the code), ErrAccountName, *Weak and *Throttled; the code
// is used up by a claim that worked only.
func (a *Access) Claim(ctx context.Context, p Peer, code, name, password string) (Identity, string, error) {
	if a.Claimed() {
		return Identity{}, "", ErrClaimed
	}
	if err := a.setup.check(code); err != nil {
		a.recordFailure(p, "claim-failed", "", "wrong setup code")
		return Identity{}, "", err
	}
	a.claiming.Lock()
	defer a.claiming.Unlock()
	if a.Claimed() {
		return Identity{}, "", ErrClaimed
	}
	account, err := a.newAccount(ctx, a.hasher.strangers, name, Admin, password)
	if err != nil {
		return Identity{}, "", err
	}
	identity, cookie, err := a.enter(p, func(tx *store.AccessTx) (entry, error) {
		if there, err := tx.Accounts(); err != nil || len(there) > 0 {
			return entry{}, cmp.Or(err, ErrClaimed)
		}
		return entry{account: account, whole: true, event: event{"claim", account.Name, ""}}, nil
	})
	if err == nil || errors.Is(err, ErrClaimed) {
		a.claimed.Store(true)
	}
	return identity, cookie, err
}
