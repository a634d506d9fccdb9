package access

import (
	"errors"
	"fmt"
	"time"

	"breakwater/appliance/store"
)

// Errors that callers branch on. ErrNotFound, ErrNoSpace and ErrNewer are the store's.
var (
	ErrWrong         = errors.New("name, password or code is wrong")
	ErrSecondFactor  = errors.New("a code of the second factor is needed")
	ErrSetupDead     = errors.New("too many wrong setup codes were given; restart the box to get a new one")
	ErrClaimed       = errors.New("this box has an account already")
	ErrNotFound      = store.ErrNotFound
	ErrNoSpace       = store.ErrNoSpace
	ErrNewer         = store.ErrNewer
	ErrLastAdmin     = errors.New("there must always be an account with the role admin")
	ErrRole          = errors.New("a role is viewer, operator, admin or auditor")
	ErrAccountName   = errors.New("a name has 1 to 63 letters, digits, dots, hyphens or underscores, begins with a letter or digit, and is not \"local\"")
	ErrAccountExists = errors.New("an account with this name exists already")
	ErrTokenName     = errors.New("a token's name has 1 to 63 letters, digits, dots, hyphens or underscores and begins with a letter or digit")
	ErrTokenExists   = errors.New("a token with this name exists already")
	ErrTokenExpired  = errors.New("a token must expire in the future, and not after the year 9999")
	ErrTokenNetworks = errors.New("a token has at most 64 networks, each like 192.0.2.0/24 or 2001:db8::/32")
	ErrTooMany       = errors.New("there are as many as can be kept; delete some first")
	ErrNoName        = errors.New("passkeys work only where the page is opened under a name; this page was opened under an IP address")
	ErrPasskey       = errors.New("the passkey was not accepted; try again")
	ErrForbidden     = errors.New("this needs more rights than you have")
	ErrNoLogin       = errors.New("only an account that is logged in can do this")
)

// Throttled is an attempt that was not looked at, because too many came before it.
type Throttled struct {
	After time.Duration // when to try again
	Codes bool          // wrong codes after a right password, from wherever; else the peer's attempts
}

func (e *Throttled) Error() string {
	if e.Codes {
		return fmt.Sprintf("too many wrong codes were given for this account; log in with a passkey, or try again in %s", e.After.Round(time.Second))
	}
	return fmt.Sprintf("too many attempts came from here; try again in %s", e.After.Round(time.Second))
}

// Weak is a password that is refused.
type Weak struct{ Why string } // a whole sentence

func (e *Weak) Error() string { return e.Why }
