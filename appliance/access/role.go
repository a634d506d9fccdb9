package access

import (
	"slices"
	"time"

	"breakwater/appliance/store"
)

// Role is what an account or a token may do.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // sees everything but the audit log
	Operator Role = "operator" // also acts on what runs: kick, ban, drain, test
	Admin    Role = "admin"    // everything
	Auditor  Role = "auditor"  // sees everything, also the audit log
)

// Permission is what a call needs.
type Permission int

// The permissions.
const (
	Public     Permission = iota // nobody needs to be known
	Own                          // any identity, about itself
	View                         // settings, status, sessions
	Operate                      // kick, ban, drain, test
	Change                       // settings
	Administer                   // accounts, tokens, certificate, update
	Audit                        // the audit log
	LocalOnly                    // over the unix socket, whatever the role
)

// granted is the table of roles.
var granted = map[Role][]Permission{
	Viewer:   {Own, View},
	Operator: {Own, View, Operate},
	Admin:    {Own, View, Operate, Change, Administer, Audit},
	Auditor:  {Own, View, Audit},
}

// Roles lists the roles, the weakest first.
func Roles() []Role { return []Role{Viewer, Auditor, Operator, Admin} }

// May tells whether the role gives p. An unknown role gives Public only.
func (r Role) May(p Permission) bool { return p == Public || slices.Contains(granted[r], p) }

// within tells whether i has every permission of r, so that i may give r away.
func (r Role) within(i Identity) bool {
	return !slices.ContainsFunc(granted[r], func(p Permission) bool { return !i.May(p) })
}

// Way is how an identity was established.
type Way string

// The ways.
const (
	ByLogin  Way = "login"
	ByToken  Way = "token"
	BySocket Way = "socket"
	BySeed   Way = "seed" // in the audit log only: nobody calls by a file
)

// FreshFor is how long a proof of identity is good for dangerous calls.
const FreshFor = 5 * time.Minute

// clockSlack is how far in the future a stored time may lie: clocks are corrected by small steps. What lies further in
// the future was written under another clock and counts as over.
const clockSlack = 5 * time.Minute

// Identity is who makes a call. The zero value is nobody and may do nothing but Public.
type Identity struct {
	Name         string    `json:"name"`
	Role         Role      `json:"role"`
	Way          Way       `json:"way"`
	LoginID      string    `json:"loginID,omitempty"` // public id of the login, for lists; empty for other ways
	Proved       time.Time `json:"proved,omitzero"`   // when the password or passkey was last given
	SecondFactor bool      `json:"secondFactor"`      // the account has one

	token store.Sum // of a token; one that is made anew under the same name is another
}

// localName is what the unix socket is called in the audit log; no account may have it.
const localName = "local"

// Local is whoever can open the unix socket: root.
func Local() Identity { return Identity{Name: localName, Role: Admin, Way: BySocket} }

// May tells whether i may do what needs p.
func (i Identity) May(p Permission) bool {
	if p == LocalOnly {
		return i.Way == BySocket
	}
	return i.Role.May(p)
}

// Fresh tells whether i has proved itself lately. Tokens and the socket always have.
func (i Identity) Fresh(now time.Time) bool {
	if i.Way == ByToken || i.Way == BySocket {
		return true
	}
	age := now.Sub(i.Proved)
	return i.Way == ByLogin && age <= FreshFor && age >= -clockSlack
}

// is tells whether i is the account of this name, logged in. Tokens may have the name of an account.
func (i Identity) is(account string) bool { return i.Way == ByLogin && i.Name == account }
