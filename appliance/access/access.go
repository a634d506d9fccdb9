// Package access says who may do what: accounts with passwords, second factors and passkeys, the logins of browsers,
// the tokens of programs, and the audit log. It knows no HTTP besides the messages of WebAuthn:
//
//	a, err := access.New(access.Options{Store: s})
//	identity, cookie, err := a.Login(ctx, peer, "anna", password, "")
//	if errors.Is(err, access.ErrSecondFactor) { … ask for the code and call again }
//	identity, err = a.ByCookie(cookie, peer)
//	if !identity.May(access.Change) { … }
//
// A box without accounts is unclaimed: whoever has the setup code, which changes at every start and is shown at the
// console only, creates the first admin. From then on there is always an admin.
//
// What is kept: passwords as argon2id, everything else that is secret as SHA-256 of at least 80 random bits. Every
// decision that must happen once (a claim, a TOTP step, a recovery code) is made inside one transaction of the store,
// together with its entry in the audit log. Accounts are also in a plain file beside the store (access.json), so that a
// store that had to be built again still knows them and cannot be claimed by a stranger; logins and tokens are not.
// While the store takes nothing (a full disk, a newer version's), logins are kept in memory.
package access

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/appliance/store"
)

// Options are what an Access is made of.
type Options struct {
	Store        *store.Store
	Log          *slog.Logger     // nil: none
	Now          func() time.Time // nil: time.Now
	HashesAtOnce int              // passwords that are hashed at the same time; 0: 1, some 40 a second
	HashMemory   uint32           // KiB that a new hash takes, at least 8; 0: 19 MiB, and less is for tests that ask for many
}

// Access is safe for concurrent use.
type Access struct {
	store *store.Store
	log   *slog.Logger
	now   func() time.Time

	hasher        *hasher
	attempts      *throttle // at passwords, codes and passkeys
	tokenAttempts *throttle
	guesses       *guesses // at second factors
	failures      *failureLog

	memory  *memory
	changes changes

	claimed  atomic.Bool // never becomes false again
	claiming sync.Mutex  // one claim at a time
	setup    setup

	secondFactors *waiting[string]   // TOTP secrets to be enabled, by login
	registrations *waiting[ceremony] // of passkeys, by login
	passkeyLogins *waiting[ceremony] // by the id that the browser gives back
}

// Peer is where a call comes from.
type Peer struct {
	Addr  netip.Addr // of the TCP peer, never of a header; invalid: the unix socket
	Agent string     // User-Agent; what a stranger wrote
	At    string     // host, and port if any, under which the page was opened
}

// New reads the store. An unclaimed box gets a new setup code.
func New(o Options) (*Access, error) {
	a := &Access{store: o.Store, log: o.Log, now: o.Now}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	if o.HashesAtOnce <= 0 {
		o.HashesAtOnce = 1
	}
	a.hasher = newHasher(o.HashesAtOnce)
	if o.HashMemory > 0 {
		a.hasher.memory = o.HashMemory
	}
	a.attempts, a.tokenAttempts = newThrottle(a.now), newThrottle(a.now)
	a.guesses = newGuesses(a.now)
	a.failures, a.memory = newFailureLog(a.now), newMemory()
	a.secondFactors = newWaiting[string](a.now, 15*time.Minute) // an app may have to be installed first
	a.registrations, a.passkeyLogins = newWaiting[ceremony](a.now, ceremonyTime), newWaiting[ceremony](a.now, ceremonyTime)
	accounts, err := a.accounts()
	if err != nil {
		return nil, err
	}
	a.claimed.Store(len(accounts) > 0)
	a.setup.code = newCode(setupGroups)
	return a, nil
}

func (a *Access) accounts() (list []store.Account, err error) {
	err = a.store.ViewAccess(func(tx *store.AccessTx) error { list, err = tx.Accounts(); return err })
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	return list, nil
}

// newSecret is 256 random bits as text.
func newSecret() string { return randomText(32) }

// newID is 128 random bits as text: for what is named and not for what is secret.
func newID() string { return randomText(16) }

func randomText(bytes int) string { return base64.RawURLEncoding.EncodeToString(newRandom(bytes)) }

func newRandom(bytes int) []byte {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // documented to never fail
	return random
}

// orWrong hides what is not there from whoever is not known yet.
func orWrong(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrWrong
	}
	return err
}
