package store

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Sum is the SHA-256 of a random secret. Only this is kept, and it is the key that finds the record: the time of a
// look-up tells nothing about a secret of 256 bits.
type Sum [sha256.Size]byte

// SumOf is the Sum of a secret.
func SumOf(secret string) Sum { return sha256.Sum256([]byte(secret)) }

// Account is somebody who can log in.
type Account struct {
	ID        string    `json:"id"` // random: an account that takes the name of a deleted one is another account
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Password  Secret    `json:"password"` // argon2id, in the PHC format
	Epoch     uint64    `json:"epoch"`    // logins made in another one are over
	Created   time.Time `json:"created"`
	LastLogin time.Time `json:"lastLogin,omitzero"`
	TOTP      *TOTP     `json:"totp,omitempty"`
	Recovery  []string  `json:"recovery,omitempty"` // SHA-256 of the codes that are left
	Passkeys  []Passkey `json:"passkeys,omitempty"`
}

// LogValue keeps everything but the name out of logs, also out of those that print JSON.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.Name) }

// Format prints the name: fmt would follow the pointers inside without asking what they lead to.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "account "+a.Name) }

// TOTP is a second factor by time (RFC 6238).
type TOTP struct {
	Secret   Secret    `json:"secret"`   // base32
	LastStep uint64    `json:"lastStep"` // of the last accepted code; it and those before are not accepted again
	Since    time.Time `json:"since"`
}

// Format prints nothing of it, for the same reason.
func (*TOTP) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Passkey is a WebAuthn credential of an account.
type Passkey struct {
	ID         string          `json:"id"` // base64url of the credential's
	Name       string          `json:"name"`
	RPID       string          `json:"rpID"` // the host name that it is for
	Created    time.Time       `json:"created"`
	LastUsed   time.Time       `json:"lastUsed,omitzero"`
	Credential json.RawMessage `json:"credential"` // public key and counter, in the words of the library that checks them
}

// Login is a browser that is logged in.
type Login struct {
	Sum      Sum        `json:"-"` // of the cookie's secret
	ID       string     `json:"id"`
	Account  string     `json:"account"` // its ID
	Epoch    uint64     `json:"epoch"`   // of the account when this login was made
	Created  time.Time  `json:"created"`
	LastSeen time.Time  `json:"lastSeen"`
	Proved   time.Time  `json:"proved"`
	Addr     netip.Addr `json:"addr"`
	Agent    string     `json:"agent"`
}

// AccessTx is one transaction over accounts, logins, tokens and the audit log: all of what happens in it is stored, or
// nothing. It must not be used after the function that it was given to has returned.
type AccessTx struct {
	tx              *bolt.Tx
	accountsChanged bool
}

// ViewAccess runs fn with a view that does not change meanwhile.
func (s *Store) ViewAccess(fn func(*AccessTx) error) error {
	return s.view(func(tx *bolt.Tx) error { return fn(&AccessTx{tx: tx}) })
}

// UpdateAccess runs fn alone: no other write happens meanwhile, so what fn has read is still true when it is stored.
// It returns nil after everything is on the disk; accounts then are in the plain file too. After an error, also one
// that fn returns, nothing has changed. (When even the old plain file cannot be put back, as the disk is full, the next
// Open may find the new state in it, as a whole.)
func (s *Store) UpdateAccess(fn func(*AccessTx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	published := false
	err := s.update(func(tx *bolt.Tx) error {
		a := &AccessTx{tx: tx}
		if err := fn(a); err != nil || !a.accountsChanged {
			return err
		}
		// As with revisions, the plain file goes first: the other order could leave an acknowledged account in one
		// format only.
		published = true
		return s.publishAccounts(a)
	})
	if err != nil && published {
		err = errors.Join(err, s.ViewAccess(s.writeAccounts)) // what the plain file held is what is still stored
	}
	return err
}

// Accounts lists the accounts by name.
func (a *AccessTx) Accounts() ([]Account, error) {
	return readAll[Account](a.tx.Bucket(bucketAccounts), nil)
}

// Account is the account of this name; ErrNotFound when there is none.
func (a *AccessTx) Account(name string) (Account, error) {
	return read[Account](a.tx.Bucket(bucketAccounts), []byte(name))
}

// AccountByID is the account with this ID; ErrNotFound when there is none.
func (a *AccessTx) AccountByID(id string) (Account, error) {
	accounts, err := a.Accounts()
	if err != nil {
		return Account{}, err
	}
	for _, account := range accounts {
		if account.ID == id {
			return account, nil
		}
	}
	return Account{}, ErrNotFound
}

// PutAccount stores an account under its name.
func (a *AccessTx) PutAccount(account Account) error {
	a.accountsChanged = true
	return write(a.tx.Bucket(bucketAccounts), []byte(account.Name), account)
}

// TouchAccount stores what a login changes about an account: when it was, the step of its TOTP code, the counter of its
// passkey. That is not worth a new second copy, and so there are logins while the disk has no room for one. The account
// must be there already.
func (a *AccessTx) TouchAccount(account Account) error {
	if _, err := a.Account(account.Name); err != nil {
		return err
	}
	return write(a.tx.Bucket(bucketAccounts), []byte(account.Name), account)
}

// DeleteAccount forgets an account; ErrNotFound when there is none.
func (a *AccessTx) DeleteAccount(name string) error {
	a.accountsChanged = true
	return remove(a.tx.Bucket(bucketAccounts), []byte(name))
}

// Logins lists the logins in no order that means anything.
func (a *AccessTx) Logins() ([]Login, error) {
	return readAll(a.tx.Bucket(bucketLogins), func(l *Login, key []byte) { l.Sum = Sum(key) })
}

// Login is the login with this secret; ErrNotFound when there is none.
func (a *AccessTx) Login(sum Sum) (Login, error) {
	l, err := read[Login](a.tx.Bucket(bucketLogins), sum[:])
	l.Sum = sum
	return l, err
}

// PutLogin stores a login under its sum.
func (a *AccessTx) PutLogin(l Login) error { return write(a.tx.Bucket(bucketLogins), l.Sum[:], l) }

// DeleteLogin forgets a login; ErrNotFound when there is none.
func (a *AccessTx) DeleteLogin(sum Sum) error { return remove(a.tx.Bucket(bucketLogins), sum[:]) }

// read is the record under key; ErrNotFound when there is none, or when a newer version has no such bucket any more.
func read[T any](b *bolt.Bucket, key []byte) (v T, err error) {
	var record []byte
	if b != nil {
		record = b.Get(key)
	}
	if record == nil {
		return v, ErrNotFound
	}
	_, err = unseal(record, &v)
	return v, err
}

// readAll lists the records in the order of their keys. With, if not nil, adds to each what its key says.
func readAll[T any](b *bolt.Bucket, with func(*T, []byte)) ([]T, error) {
	list := []T{}
	if b == nil {
		return list, nil
	}
	err := b.ForEach(func(key, record []byte) error {
		var v T
		if _, err := unseal(record, &v); err != nil {
			return fmt.Errorf("record %x: %w", key, err)
		}
		if with != nil {
			with(&v, key)
		}
		list = append(list, v)
		return nil
	})
	return list, err
}

func write(b *bolt.Bucket, key []byte, v any) error {
	record, err := seal(v, nil)
	if err != nil {
		return err
	}
	return b.Put(key, record)
}

func remove(b *bolt.Bucket, key []byte) error {
	if b == nil || b.Get(key) == nil {
		return ErrNotFound
	}
	return b.Delete(key)
}
