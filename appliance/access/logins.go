package access

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"breakwater/appliance/store"
)

// LoginInfo is a login as lists show it.
type LoginInfo struct {
	ID       string     `json:"id"`
	Account  string     `json:"account"`
	Created  time.Time  `json:"created"`
	LastSeen time.Time  `json:"lastSeen"` // to the minute
	Proved   time.Time  `json:"proved"`
	Addr     netip.Addr `json:"addr"`  // where it was last seen
	Agent    string     `json:"agent"` // what the browser says it is; control characters are escaped
}

// Logins lists the logins that are not over, the last seen first.
func (a *Access) Logins() ([]LoginInfo, error) {
	list := []LoginInfo{}
	now := a.now().UTC()
	err := a.store.ViewAccess(func(tx *store.AccessTx) error {
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		byID := map[string]store.Account{}
		for _, account := range accounts {
			byID[account.ID] = account
		}
		logins, err := tx.Logins()
		for _, l := range logins {
			if account, known := byID[l.Account]; known && account.Epoch == l.Epoch && alive(l, now) {
				list = append(list, LoginInfo{l.ID, account.Name, l.Created, l.LastSeen, l.Proved, l.Addr, l.Agent})
			}
		}
		return err
	})
	slices.SortFunc(list, func(x, y LoginInfo) int { return y.LastSeen.Compare(x.LastSeen) })
	return list, err
}

// Revoke ends a login. Those of other accounts need the permission Administer.
func (a *Access) Revoke(by Identity, p Peer, id string) error {
	return a.store.UpdateAccess(func(tx *store.AccessTx) error {
		login, err := loginByID(tx, id)
		if err != nil {
			return err
		}
		account, err := tx.AccountByID(login.Account)
		if err != nil {
			return err
		}
		if !by.is(account.Name) && !by.May(Administer) {
			return ErrForbidden
		}
		return errors.Join(tx.DeleteLogin(login.Sum), a.record(tx, by, p, event{"login-revoked", account.Name, id}))
	})
}

// RevokeAll ends all logins of an account, except the one that asks.
func (a *Access) RevokeAll(by Identity, p Peer, account string) error {
	return a.changeOwn(by, p, account, "logins-revoked", func(tx *store.AccessTx, account *store.Account) (string, error) {
		return "", endLogins(tx, account, by)
	})
}

// endLogins ends all logins of an account, also those that are just being made, except the one of by.
func endLogins(tx *store.AccessTx, account *store.Account, by Identity) error {
	account.Epoch++
	logins, err := tx.Logins()
	if err != nil {
		return err
	}
	for _, l := range logins {
		switch {
		case l.Account != account.ID:
			continue
		case by.Way == ByLogin && l.ID == by.LoginID && l.Epoch == account.Epoch-1:
			l.Epoch = account.Epoch
			err = tx.PutLogin(l)
		default:
			err = tx.DeleteLogin(l.Sum)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
