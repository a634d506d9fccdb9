package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

// ListAccounts answers the accounts, without anything secret.
func (a *API) ListAccounts(c echo.Context) error {
	accounts, err := a.Access.Accounts()
	if err != nil {
		return err
	}
	for i := range accounts {
		accounts[i].Passkeys = list(accounts[i].Passkeys)
	}
	return c.JSON(http.StatusOK, list(accounts))
}

// CreateAccount makes an account: {"name": "anna", "role": "operator", "password": "…"}.
func (a *API) CreateAccount(c echo.Context) error {
	var body struct {
		Name     string      `json:"name"`
		Role     access.Role `json:"role"`
		Password string      `json:"password"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	by := callerOf(c)
	if err := a.Access.CreateAccount(by.Identity, by.Peer, body.Name, body.Role, body.Password); err != nil {
		return err
	}
	account, err := a.account(body.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, account)
}

// account is the account with this name; ErrNotFound when there is none.
func (a *API) account(name string) (access.Account, error) {
	accounts, err := a.Access.Accounts()
	if err != nil {
		return access.Account{}, err
	}
	for _, account := range accounts {
		if account.Name == name {
			account.Passkeys = list(account.Passkeys)
			return account, nil
		}
	}
	return access.Account{}, access.ErrNotFound
}

// SetRole changes what an account may do: {"role": "viewer"}.
func (a *API) SetRole(c echo.Context) error {
	var body struct {
		Role access.Role `json:"role"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	by := callerOf(c)
	return done(c, a.Access.SetRole(by.Identity, by.Peer, c.Param("name"), body.Role))
}

// SetPassword gives an account another password and ends its logins: {"password": "…"}.
func (a *API) SetPassword(c echo.Context) error {
	return a.setPassword(c, c.Param("name"))
}

func (a *API) setPassword(c echo.Context, name string) error {
	var body struct {
		Password string `json:"password"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	by := callerOf(c)
	return done(c, a.Access.SetPassword(by.Identity, by.Peer, name, body.Password))
}

// DeleteAccount removes an account and ends its logins.
func (a *API) DeleteAccount(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.DeleteAccount(by.Identity, by.Peer, c.Param("name")))
}

// ResetTOTP takes the second factor away from an account whose owner lost it.
func (a *API) ResetTOTP(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.DisableTOTP(by.Identity, by.Peer, c.Param("name")))
}

// RemovePasskey takes a passkey away from an account.
func (a *API) RemovePasskey(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.PasskeyDelete(by.Identity, by.Peer, c.Param("name"), c.Param("id")))
}

// ListLogins answers the browsers that are logged in.
func (a *API) ListLogins(c echo.Context) error {
	logins, err := a.Access.Logins()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(logins))
}

// RevokeLogin ends one login.
func (a *API) RevokeLogin(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.Revoke(by.Identity, by.Peer, c.Param("id")))
}

// RevokeLogins ends every login of an account.
func (a *API) RevokeLogins(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.RevokeAll(by.Identity, by.Peer, c.Param("name")))
}

// done answers a call that has nothing to say but that it is done.
func done(c echo.Context, err error) error {
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
