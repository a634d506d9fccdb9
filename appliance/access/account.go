package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/appliance/store"
)

// maxAccounts bounds the file that they are all written to.
const maxAccounts = 200

// Account is somebody who can log in, as lists show it.
type Account struct {
	Name         string    `json:"name"`
	Role         Role      `json:"role"`
	Created      time.Time `json:"created"`
	LastLogin    time.Time `json:"lastLogin,omitzero"`
	TOTP         bool      `json:"totp"`
	Passkeys     []Passkey `json:"passkeys"`
	RecoveryLeft int       `json:"recoveryLeft"` // unused recovery codes
}

// Passkey is a passkey as lists show it.
type Passkey struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Host     string    `json:"host"` // the name under which the page must be opened
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// Accounts lists the accounts by name.
func (a *Access) Accounts() ([]Account, error) {
	stored, err := a.accounts()
	if err != nil {
		return nil, err
	}
	list := make([]Account, len(stored))
	for i, s := range stored {
		list[i] = Account{s.Name, Role(s.Role), s.Created, s.LastLogin, s.TOTP != nil, []Passkey{}, len(s.Recovery)}
		for _, k := range s.Passkeys {
			list[i].Passkeys = append(list[i].Passkeys, Passkey{k.ID, k.Name, k.RPID, k.Created, k.LastUsed})
		}
	}
	return list, nil
}

// newAccount checks what a person typed and makes an account of it, which is not stored yet. Places are those of the
// hasher.
func (a *Access) newAccount(ctx context.Context, places chan struct{}, name string, role Role, password string) (store.Account, error) {
	name, err := accountName(name)
	if err != nil {
		return store.Account{}, err
	}
	if !slices.Contains(Roles(), role) {
		return store.Account{}, ErrRole
	}
	if err := judge(password, name); err != nil {
		return store.Account{}, err
	}
	hash, err := a.hasher.hash(ctx, places, password)
	if err != nil {
		return store.Account{}, err
	}
	return store.Account{ID: newID(), Name: name, Role: string(role), Password: hash, Created: a.now().UTC()}, nil
}

// CreateAccount makes an account. The name is kept in lower case. The first one must be an admin: ErrLastAdmin.
func (a *Access) CreateAccount(by Identity, p Peer, name string, role Role, password string) error {
	if !by.May(Administer) {
		return ErrForbidden
	}
	account, err := a.newAccount(context.Background(), a.hasher.known, name, role, password)
	if err != nil {
		return err
	}
	err = a.update(func(tx *store.AccessTx) error {
		there, err := tx.Accounts()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(there, func(other store.Account) bool { return other.Name == account.Name }) {
			return ErrAccountExists
		}
		if len(there) >= maxAccounts {
			return ErrTooMany
		}
		if err := tx.PutAccount(account); err != nil {
			return err
		}
		return errors.Join(needAdmin(tx), a.record(tx, by, p, event{"account-created", account.Name, string(role)}))
	})
	if err == nil {
		a.claimed.Store(true)
	}
	return err
}

// DeleteAccount removes an account and ends its logins. The last admin cannot be deleted: ErrLastAdmin.
func (a *Access) DeleteAccount(by Identity, p Peer, name string) error {
	if !by.May(Administer) {
		return ErrForbidden
	}
	return a.update(func(tx *store.AccessTx) error {
		account, err := tx.Account(fold(name))
		if err != nil {
			return fmt.Errorf("account %q: %w", clean(name, 64), err)
		}
		if err := a.endLogins(tx, &account, Identity{}); err != nil {
			return err
		}
		if err := tx.DeleteAccount(account.Name); err != nil {
			return err
		}
		return errors.Join(needAdmin(tx), a.record(tx, by, p, event{"account-deleted", account.Name, account.Role}))
	})
}

// SetRole gives an account another role and ends its logins. The last admin keeps its role: ErrLastAdmin.
func (a *Access) SetRole(by Identity, p Peer, name string, role Role) error {
	if !by.May(Administer) {
		return ErrForbidden
	}
	if !slices.Contains(Roles(), role) {
		return ErrRole
	}
	return a.changeOwn(by, p, name, "role-changed", func(tx *store.AccessTx, account *store.Account) (string, error) {
		detail := fmt.Sprintf("%s to %s", account.Role, role)
		account.Role = string(role)
		return detail, a.endLogins(tx, account, by)
	})
}

// SetPassword gives an account another password and ends its logins. Those of other accounts need Administer.
func (a *Access) SetPassword(by Identity, p Peer, name, password string) error {
	name = fold(name)
	if !by.is(name) && !by.May(Administer) {
		return ErrForbidden
	}
	if err := judge(password, name); err != nil {
		return err
	}
	hash, err := a.hasher.hash(context.Background(), a.hasher.known, password)
	if err != nil {
		return err
	}
	return a.changeOwn(by, p, name, "password-changed", func(tx *store.AccessTx, account *store.Account) (string, error) {
		account.Password = hash
		return "", a.endLogins(tx, account, by)
	})
}

// changeOwn changes an account and tells the audit log, in one transaction; change returns the detail for the log. By is
// the account itself or may Administer.
func (a *Access) changeOwn(by Identity, p Peer, name, action string, change func(*store.AccessTx, *store.Account) (string, error)) error {
	name = fold(name)
	if !by.is(name) && !by.May(Administer) {
		return ErrForbidden
	}
	a.memory.writing.Lock() // it may store a login that only memory has
	defer a.memory.writing.Unlock()
	return a.update(func(tx *store.AccessTx) error {
		account, err := tx.Account(name)
		if err != nil {
			return fmt.Errorf("account %q: %w", clean(name, 64), err)
		}
		detail, err := change(tx, &account)
		if err != nil {
			return err
		}
		if err := tx.PutAccount(account); err != nil {
			return err
		}
		return errors.Join(needAdmin(tx), a.record(tx, by, p, event{action, name, detail}))
	})
}

// needAdmin refuses a state in which nobody could administer the box.
func needAdmin(tx *store.AccessTx) error {
	accounts, err := tx.Accounts()
	if err == nil && !slices.ContainsFunc(accounts, func(a store.Account) bool { return Role(a.Role) == Admin }) {
		err = ErrLastAdmin
	}
	return err
}
