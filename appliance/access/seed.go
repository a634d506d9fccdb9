package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/appliance/store"
)

// What a hash that was made elsewhere may cost, in KiB, rounds and threads. At least what OWASP's cheat sheet has for
// argon2id; at most what a small box answers a login with in about a second, as strangers can ask for it.
const (
	minGivenMemory, maxGivenMemory   = 7 * 1024, 64 * 1024
	minGivenTime, maxGivenTime       = 1, 5
	minGivenThreads, maxGivenThreads = 1, 4
)

// ErrHash is a password hash that is not taken.
var ErrHash = fmt.Errorf("a password hash is argon2id in the PHC format, $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY, with m from %d to %d, t from %d to %d, "+
	"p from %d to %d and a key of 32 bytes; breakwater hash-password prints one",
	minGivenMemory, maxGivenMemory, minGivenTime, maxGivenTime, minGivenThreads, maxGivenThreads)

// Secret is what no log shows.
type Secret = store.Secret

// Given is an account that was prepared elsewhere, with the hash of its password.
type Given struct {
	Name string
	Role Role
	Hash Secret
}

// CheckName returns the name as it is kept, or ErrAccountName.
func CheckName(name string) (string, error) { return accountName(name) }

// CheckHash returns ErrHash for what cannot be the hash of a password, is too cheap to be one, or would cost a login too
// much.
func CheckHash(text string) error {
	p, ok := parsePHC(text)
	fits := p.memory >= minGivenMemory && p.memory <= maxGivenMemory && p.time >= minGivenTime && p.time <= maxGivenTime &&
		p.threads >= minGivenThreads && p.threads <= maxGivenThreads && len(p.salt) <= 64 && len(p.key) == argonKey
	if !ok || !fits || p.String() != text {
		return ErrHash
	}
	return nil
}

// HashPassword is the hash of a password for an account elsewhere. The error for one that is easily guessed is *Weak.
func HashPassword(ctx context.Context, password string) (Secret, error) {
	if err := judge(password, ""); err != nil {
		return "", err
	}
	h := newHasher(1)
	return h.hash(ctx, h.known, password)
}

// seeder is who makes the accounts of a seed file.
func seeder() Identity { return Identity{Name: "seed", Role: Admin, Way: BySeed} }

// Seed makes the first accounts of a box, all or none, and so claims it. When they are just those that are there already,
// nothing happens: it may be called again after a crash. From is where they come from, for the audit log. The errors
// besides those of the store are ErrClaimed, ErrAccountName, ErrRole, ErrHash, ErrAccountExists (a name twice),
// ErrTooMany and ErrLastAdmin (none is an admin).
func (a *Access) Seed(given []Given, from string) error {
	accounts, err := a.accountsOf(given)
	if err != nil {
		return err
	}
	a.claiming.Lock()
	defer a.claiming.Unlock()
	err = a.update(func(tx *store.AccessTx) error {
		there, err := tx.Accounts()
		if err != nil {
			return err
		}
		if len(there) > 0 {
			return cmp.Or(sameAccounts(there, accounts), errSeeded)
		}
		for _, account := range accounts {
			if err := tx.PutAccount(account); err != nil {
				return err
			}
			if err := a.record(tx, seeder(), Peer{}, event{"account-created", account.Name, account.Role + ", from " + from}); err != nil {
				return err
			}
		}
		return needAdmin(tx)
	})
	if err == nil || errors.Is(err, ErrClaimed) || errors.Is(err, errSeeded) {
		a.claimed.Store(true)
	}
	if errors.Is(err, errSeeded) {
		return nil
	}
	return err
}

// RecordSeed writes what else became of a seed file to the audit log.
func (a *Access) RecordSeed(action, subject, detail string) error {
	return a.Record(seeder(), Peer{}, action, subject, detail)
}

// errSeeded ends a transaction that has nothing to write.
var errSeeded = errors.New("these accounts are there already")

func (a *Access) accountsOf(given []Given) ([]store.Account, error) {
	if len(given) > maxAccounts {
		return nil, ErrTooMany
	}
	accounts := make([]store.Account, len(given))
	for i, g := range given {
		name, err := accountName(g.Name)
		switch {
		case err != nil:
			return nil, err
		case !slices.Contains(Roles(), g.Role):
			return nil, ErrRole
		case slices.ContainsFunc(accounts[:i], func(other store.Account) bool { return other.Name == name }):
			return nil, ErrAccountExists
		}
		if err := CheckHash(string(g.Hash)); err != nil {
			return nil, err
		}
		accounts[i] = store.Account{ID: newID(), Name: name, Role: string(g.Role), Password: g.Hash, Created: a.now().UTC()}
	}
	slices.SortFunc(accounts, func(a, b store.Account) int { return strings.Compare(a.Name, b.Name) })
	return accounts, nil
}

// sameAccounts is ErrClaimed when the box has other accounts than those that were given. Both are in the order of names.
func sameAccounts(there, given []store.Account) error {
	if !slices.EqualFunc(there, given, func(a, b store.Account) bool { return a.Name == b.Name && a.Role == b.Role && a.Password == b.Password }) {
		return ErrClaimed
	}
	return nil
}
