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
		logins, err := a.logins(tx)
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
	return a.end(by, func(tx *store.AccessTx) (store.Login, Peer, event, error) {
		login, err := a.loginByID(tx, id)
		if err != nil {
			return login, p, event{}, err
		}
		account, err := tx.AccountByID(login.Account)
		if err == nil && !by.is(account.Name) && !by.May(Administer) {
			err = ErrForbidden
		}
		return login, p, event{"login-revoked", account.Name, id}, err
	})
}

// end ends the login that find returns, with the peer and the event for the audit log. When the store takes nothing now,
// a login that it has is over until a restart, after which it is over 30 minutes after it was last seen.
func (a *Access) end(by Identity, find func(*store.AccessTx) (store.Login, Peer, event, error)) error {
	defer a.changes.tell()
	now := a.now()
	return a.writeLogin(func(tx *store.AccessTx) (store.Sum, error) {
		login, p, e, err := find(tx)
		if err != nil {
			return login.Sum, err
		}
		return login.Sum, errors.Join(deleteLogin(tx, login.Sum), a.record(tx, by, p, e))
	}, func(tx *store.AccessTx, why error) error {
		login, p, e, err := find(tx)
		if err != nil {
			return err
		}
		a.memory.end(login.Sum, now)
		a.tellLog(by, p, e, why)
		return nil
	})
}

// RevokeAll ends all logins of an account, except the one that asks.
func (a *Access) RevokeAll(by Identity, p Peer, account string) error {
	return a.changeOwn(by, p, account, "logins-revoked", func(tx *store.AccessTx, account *store.Account) (string, error) {
		return "", a.endLogins(tx, account, by)
	})
}

// endLogins ends all logins of an account, also those that are just being made, except the one of by.
func (a *Access) endLogins(tx *store.AccessTx, account *store.Account, by Identity) error {
	account.Epoch++
	logins, err := a.logins(tx)
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
			err = deleteLogin(tx, l.Sum)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
