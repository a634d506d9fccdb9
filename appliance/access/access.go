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
package access

import (
	"log/slog"
	"net/netip"
	"time"

	"breakwater/appliance/store"
)

// Options are what an Access is made of.
type Options struct {
	Store        *store.Store
	Log          *slog.Logger     // nil: none
	Now          func() time.Time // nil: time.Now
	HashesAtOnce int              // passwords that are hashed at the same time, 19 MiB each; 0: 2
}

// Peer is where a call comes from.
type Peer struct {
	Addr  netip.Addr // of the TCP peer, never of a header; invalid: the unix socket
	Agent string     // User-Agent; what a stranger wrote
	At    string     // host, and port if any, under which the page was opened
}
