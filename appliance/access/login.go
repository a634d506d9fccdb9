package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/appliance/store"
)

const (
	idleTime     = 30 * time.Minute // since it was last seen, which is written once a minute at most
	absoluteTime = 12 * time.Hour
	touchTime    = time.Minute
	maxLogins    = 1000
	maxAgent     = 200 // bytes of a User-Agent
)

// Login gives a browser a cookie. Second is a TOTP code or a recovery code, empty when the account has no second factor
// or when it is not known yet: then the error is ErrSecondFactor, which tells that the password was right. All other
// wrong things are ErrWrong, after the same time; *Throttled was not looked at, or not its second factor.
func (a *Access) Login(ctx context.Context, p Peer, name, password, second string) (Identity, string, error) {
	name = fold(name)
	try, err := a.attempts.admit(p.Addr, name)
	if err != nil {
		return Identity{}, "", err
	}
	account, err := a.checkPassword(ctx, a.hasher.strangers, name, password, second)
	if err != nil {
		// A name that is not an account's stays out of the log: it may be a password in the wrong field.
		return Identity{}, "", a.settle(try, p, "login-failed", account.Name, err)
	}
	var identity Identity
	var cookie string
	err = a.guess(account, account.ID, func() error {
		identity, cookie, err = a.enter(p, func(tx *store.AccessTx) (entry, error) {
			now, err := a.unchanged(tx, account)
			if err != nil {
				return entry{}, err
			}
			return spend(now, "login", second, a.now())
		})
		return err
	})
	return identity, cookie, a.settle(try, p, "login-failed", name, err)
}

// guess lets the second factor of an account be looked at, and counts it for key when it is wrong.
func (a *Access) guess(account store.Account, key string, look func() error) error {
	if account.TOTP == nil {
		return look()
	}
	if err := a.guesses.admit(key); err != nil {
		return err
	}
	err := look()
	if !errors.Is(err, ErrWrong) {
		a.guesses.right(key)
	}
	return err
}

// checkPassword finds the account with this name and password. Second only tells whether a code was given at all;
// places are those of the hasher.
func (a *Access) checkPassword(ctx context.Context, places chan struct{}, name, password, second string) (store.Account, error) {
	var account store.Account
	err := a.store.ViewAccess(func(tx *store.AccessTx) (err error) { account, err = tx.Account(name); return err })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return account, fmt.Errorf("read account: %w", err)
	}
	if len(password) > 4*maxPassword {
		password = "" // fits nothing
	}
	fits, err := a.hasher.fits(ctx, places, account.Password, password)
	switch {
	case err != nil:
		return account, err
	case !fits:
		return account, ErrWrong
	case account.TOTP != nil && second == "":
		return account, ErrSecondFactor
	}
	return account, nil
}

// settle closes an attempt with what came of it: only ErrWrong counts as a failure. It returns err.
func (a *Access) settle(try attempt, p Peer, action, subject string, err error) error {
	switch {
	case err == nil:
		try.succeed()
	case errors.Is(err, ErrWrong):
		a.recordFailure(p, action, subject, "")
	default:
		try.cancel()
	}
	return err
}

// unchanged is the account as it is now. ErrWrong: it is not any more what it was when its password was checked.
func (a *Access) unchanged(tx *store.AccessTx, checked store.Account) (store.Account, error) {
	account, err := tx.AccountByID(checked.ID)
	if err == nil && account.Epoch != checked.Epoch {
		err = ErrWrong
	}
	a.memory.lastStep(&account)
	return account, orWrong(err)
}

// entry is what letting somebody in changes.
type entry struct {
	account store.Account
	whole   bool // the account counts only in both of its copies: it is new, or a recovery code was used
	event   event
	login   store.Login
	old     store.Sum // of the login that this one replaces; zero: none
}

// enter makes a login, with everything that goes with it, in one transaction. Check returns the entry without the login;
// its error ends it.
func (a *Access) enter(p Peer, check func(*store.AccessTx) (entry, error)) (Identity, string, error) {
	cookie := newSecret()
	now := a.now().UTC()
	login := store.Login{
		Sum: store.SumOf(cookie), ID: newID(), Created: now, LastSeen: now, Proved: now,
		Addr: p.Addr.Unmap(), Agent: clean(p.Agent, maxAgent),
	}
	identity, err := a.letIn(p, func(tx *store.AccessTx) (entry, error) {
		e, err := check(tx)
		e.account.LastLogin = now
		e.login = login
		e.login.Account, e.login.Epoch = e.account.ID, e.account.Epoch
		return e, err
	})
	if err != nil {
		return Identity{}, "", err
	}
	return identity, cookie, nil
}

// letIn stores the entry that check returns, or keeps it in memory when the store takes nothing now. Check may be called
// twice.
func (a *Access) letIn(p Peer, check func(*store.AccessTx) (entry, error)) (who Identity, err error) {
	defer a.changes.tell() // there may have been too many logins
	now := a.now().UTC()
	err = a.writeLogin(func(tx *store.AccessTx) (store.Sum, error) {
		e, err := check(tx)
		if err != nil {
			return e.old, err
		}
		who = identityOf(e.account, e.login)
		return e.old, errors.Join(e.putAccount(tx), deleteLogin(tx, e.old), a.makeRoom(tx, now), tx.PutLogin(e.login), a.record(tx, who, p, e.event))
	}, func(tx *store.AccessTx, why error) error {
		e, err := check(tx)
		if err != nil {
			return err
		}
		if e.whole {
			return why
		}
		who = identityOf(e.account, e.login)
		a.memory.keep(e, now)
		a.tellLog(who, p, e.event, why)
		return nil
	})
	return who, err
}

func (e entry) putAccount(tx *store.AccessTx) error {
	if e.whole {
		return tx.PutAccount(e.account)
	}
	return tx.TouchAccount(e.account)
}

// makeRoom forgets logins that are over and, when there are still too many, those that were not seen for longest.
func (a *Access) makeRoom(tx *store.AccessTx, now time.Time) error {
	logins, err := tx.Logins()
	if err != nil {
		return err
	}
	slices.SortFunc(logins, func(x, y store.Login) int { return x.LastSeen.Compare(y.LastSeen) })
	logins = slices.DeleteFunc(logins, func(l store.Login) bool {
		if alive(l, now) && !a.memory.isOver(l.Sum) {
			return false
		}
		err = cmp.Or(err, tx.DeleteLogin(l.Sum))
		return true
	})
	for _, l := range logins[:max(0, len(logins)-maxLogins+1)] {
		err = cmp.Or(err, tx.DeleteLogin(l.Sum))
	}
	return err
}

// deleteLogin forgets a login that the store may have, or that only memory has.
func deleteLogin(tx *store.AccessTx, sum store.Sum) error {
	if err := tx.DeleteLogin(sum); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// alive tells whether a login is inside its times. What was written under a clock far ahead of this one is over: the
// time since then is not known.
func alive(l store.Login, now time.Time) bool {
	idle, age := now.Sub(l.LastSeen), now.Sub(l.Created)
	return idle <= idleTime && age <= absoluteTime && idle >= -clockSlack && age >= -clockSlack
}

func identityOf(account store.Account, l store.Login) Identity {
	return Identity{
		Name: account.Name, Role: Role(account.Role), Way: ByLogin, LoginID: l.ID, Proved: l.Proved,
		SecondFactor: account.TOTP != nil || len(account.Passkeys) > 0,
	}
}

// ByCookie is who has the cookie with this secret. ErrNotFound: nobody, or it is over (30 minutes without a call, 12
// hours in all, revoked, or the account has changed).
func (a *Access) ByCookie(secret string, p Peer) (Identity, error) {
	var login store.Login
	var account store.Account
	now := a.now().UTC()
	err := a.store.ViewAccess(func(tx *store.AccessTx) (err error) {
		login, account, err = a.current(tx, store.SumOf(secret), now)
		return err
	})
	if err != nil {
		return Identity{}, fmt.Errorf("login: %w", err)
	}
	if due(login.LastSeen, now) {
		a.touch(login.Sum, p, now)
	}
	return identityOf(account, login), nil
}

// current is a login that is not over, with its account.
func (a *Access) current(tx *store.AccessTx, sum store.Sum, now time.Time) (store.Login, store.Account, error) {
	login, err := a.login(tx, sum)
	if err != nil {
		return login, store.Account{}, err
	}
	account, err := tx.AccountByID(login.Account)
	if err == nil && (account.Epoch != login.Epoch || !alive(login, now)) {
		err = ErrNotFound
	}
	return login, account, err
}

// touch notes that a login was seen. One in memory is stored at last, when that is possible again.
func (a *Access) touch(sum store.Sum, p Peer, now time.Time) {
	seen := func(tx *store.AccessTx) (store.Login, error) {
		login, _, err := a.current(tx, sum, now)
		if err == nil && !due(login.LastSeen, now) {
			err = errNoted
		}
		login.LastSeen, login.Addr = now, p.Addr.Unmap()
		return login, err
	}
	a.noted("login", a.writeLogin(func(tx *store.AccessTx) (store.Sum, error) {
		login, err := seen(tx)
		if err != nil {
			return sum, err
		}
		return sum, tx.PutLogin(login)
	}, func(tx *store.AccessTx, _ error) error {
		login, err := seen(tx)
		if err == nil {
			a.memory.touch(login)
		}
		return err
	}))
}

// due tells whether the time of a use is to be written.
func due(last, now time.Time) bool {
	since := now.Sub(last)
	return since >= touchTime || since < 0
}

// errNoted ends a transaction in which there is nothing to write: another call of the same page was faster.
var errNoted = errors.New("noted already")

// noted is told what came of writing that something was used. A store that takes nothing must not keep anybody out, so
// it only logs.
func (a *Access) noted(what string, err error) {
	for _, fine := range []error{nil, errNoted, ErrNotFound, ErrNewer} {
		if errors.Is(err, fine) {
			return
		}
	}
	a.log.Warn("note the last use", "of", what, "err", err)
}

// Prove asks a login for its password, and second factor, again. It returns a new cookie, which replaces the old one at
// once. The errors are those of Login, and ErrNoLogin.
func (a *Access) Prove(ctx context.Context, by Identity, p Peer, password, second string) (string, error) {
	if by.Way != ByLogin {
		return "", ErrNoLogin
	}
	try, err := a.attempts.admit(p.Addr, by.Name)
	if err != nil {
		return "", err
	}
	account, err := a.checkPassword(ctx, a.hasher.known, by.Name, password, second)
	if err != nil {
		return "", a.settle(try, p, "prove-failed", by.Name, err)
	}
	cookie := newSecret()
	// Not for the account: who knows only the password must not be able to keep those out who are logged in.
	err = a.guess(account, by.LoginID, func() error {
		_, err := a.letIn(p, func(tx *store.AccessTx) (entry, error) {
			now, err := a.unchanged(tx, account)
			if err != nil {
				return entry{}, err
			}
			e, err := spend(now, "prove", second, a.now())
			if err != nil {
				return entry{}, err
			}
			err = a.renew(tx, &e, by, cookie)
			return e, err
		})
		return err
	})
	if err = a.settle(try, p, "prove-failed", by.Name, err); err != nil {
		return "", err
	}
	return cookie, nil
}

// renew gives a login that was just proved another cookie.
func (a *Access) renew(tx *store.AccessTx, e *entry, by Identity, cookie string) error {
	login, err := a.loginByID(tx, by.LoginID)
	if err != nil {
		return err
	}
	now := a.now().UTC()
	login, owner, err := a.current(tx, login.Sum, now)
	if err != nil {
		return err
	}
	if owner.ID != e.account.ID {
		return ErrNotFound
	}
	e.old, e.login = login.Sum, login
	e.login.Sum, e.login.Proved, e.login.LastSeen = store.SumOf(cookie), now, now
	return nil
}

func (a *Access) loginByID(tx *store.AccessTx, id string) (store.Login, error) {
	logins, err := a.logins(tx)
	if err != nil {
		return store.Login{}, err
	}
	i := slices.IndexFunc(logins, func(l store.Login) bool { return l.ID == id })
	if i < 0 {
		return store.Login{}, ErrNotFound
	}
	return logins[i], nil
}

// Logout ends the login of i. One that is over already is no error.
func (a *Access) Logout(i Identity) error {
	if i.Way != ByLogin {
		return ErrNoLogin
	}
	err := a.end(i, func(tx *store.AccessTx) (store.Login, Peer, event, error) {
		login, err := a.loginByID(tx, i.LoginID)
		return login, Peer{Addr: login.Addr}, event{"logout", i.Name, ""}, err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
