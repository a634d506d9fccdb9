package pages

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/caller"
)

// meView is the reader's own account. Whoever comes over the unix socket or with a token has none.
type meView struct {
	Form    form
	Account *access.Account
	Logins  []access.LoginInfo
}

// Me shows the reader's own account.
func (p *Pages) Me(c echo.Context) error {
	return p.showMe(c, http.StatusOK, form{})
}

func (p *Pages) showMe(c echo.Context, status int, f form) error {
	view := meView{Form: f}
	if who := caller.Of(c.Request().Context()); isLogin(who) {
		account, err := p.account(who.Name)
		if err != nil {
			return err
		}
		if view.Logins, err = p.loginsOf(who.Name); err != nil {
			return err
		}
		view.Account = &account
	}
	return p.render(c, status, "me", view)
}

// asLogin is the caller, who must have an account of its own: a token can have the name of one.
func asLogin(c echo.Context) (caller.Caller, error) {
	who := caller.Of(c.Request().Context())
	if !isLogin(who) {
		return who, access.ErrNoLogin
	}
	return who, nil
}

// SetOwnPassword gives the reader another password; every other login of the account ends.
func (p *Pages) SetOwnPassword(c echo.Context) error {
	who, err := asLogin(c)
	if err != nil {
		return err
	}
	err = p.Access.SetPassword(who.Identity, who.Peer, who.Name, c.FormValue("newPassword"))
	if f, known := accountProblem(form{Values: url.Values{}}, err); known {
		return p.showMe(c, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return p.back(c, "/me", "own-password")
}

// factorPage is the set-up of a second factor, and then its recovery codes.
type factorPage struct {
	Form   form
	Factor factorView
}

// StartFactor shows the picture for the authenticator app.
func (p *Pages) StartFactor(c echo.Context) error {
	view, err := p.startFactor(c)
	if err != nil {
		return err
	}
	return p.render(c, http.StatusOK, "factor", factorPage{Factor: view})
}

// EnableFactor turns it on once a code shows that the app has it.
func (p *Pages) EnableFactor(c echo.Context) error {
	view, f, err := p.enableFactor(c)
	if err != nil {
		return err
	}
	return p.render(c, statusOf(f), "factor", factorPage{f, view})
}

// DisableFactor takes the authenticator app away.
func (p *Pages) DisableFactor(c echo.Context) error {
	who, err := asLogin(c)
	if err == nil {
		err = p.Access.DisableTOTP(who.Identity, who.Peer, who.Name)
	}
	if err != nil && !errors.Is(err, access.ErrNotFound) {
		return err
	}
	return p.back(c, "/me", "factor-off")
}

// NewRecovery replaces the recovery codes and shows the new ones, this once.
func (p *Pages) NewRecovery(c echo.Context) error {
	who, err := asLogin(c)
	if err != nil {
		return err
	}
	codes, err := p.Access.NewRecoveryCodes(who.Identity, who.Peer)
	if err != nil {
		return err
	}
	return p.render(c, http.StatusOK, "factor", factorPage{Factor: recoveryOf(codes)})
}

// RemoveOwnPasskey takes one of the reader's passkeys away.
func (p *Pages) RemoveOwnPasskey(c echo.Context) error {
	who, err := asLogin(c)
	if err == nil {
		err = p.Access.PasskeyDelete(who.Identity, who.Peer, who.Name, c.Param("id"))
	}
	if err != nil && !errors.Is(err, access.ErrNotFound) {
		return err
	}
	return p.back(c, "/me", "passkey-gone")
}

// ProveMe does nothing but ask for the password, so that what follows by script is not refused.
func (p *Pages) ProveMe(c echo.Context) error { return p.back(c, "/me", "") }

// RevokeOwnLogin ends one of the reader's logins.
func (p *Pages) RevokeOwnLogin(c echo.Context) error {
	who, err := asLogin(c)
	if err != nil {
		return err
	}
	own, err := p.loginsOf(who.Name)
	if err != nil {
		return err
	}
	for _, l := range own {
		if l.ID == c.Param("id") {
			if err := p.Access.Revoke(who.Identity, who.Peer, l.ID); err != nil && !errors.Is(err, access.ErrNotFound) {
				return err
			}
			return p.back(c, "/me", "revoked")
		}
	}
	return access.ErrNotFound
}
