package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

// Me is the caller, as the box knows it.
type Me struct {
	access.Identity
	Fresh   bool            `json:"fresh"`   // proved lately enough for dangerous calls
	May     []string        `json:"may"`     // permissions, as openapi.json has them at each operation
	Account *access.Account `json:"account"` // null for tokens and the unix socket
}

// permissions are the words for what a call needs.
var permissions = []struct {
	word string
	is   access.Permission
}{
	{"public", access.Public}, {"own", access.Own}, {"view", access.View}, {"operate", access.Operate},
	{"change", access.Change}, {"administer", access.Administer}, {"audit", access.Audit}, {"local", access.LocalOnly},
}

// GetMe answers who the caller is and what the caller may do.
func (a *API) GetMe(c echo.Context) error {
	who := callerOf(c).Identity
	me := Me{Identity: who, Fresh: who.Fresh(time.Now())}
	for _, p := range permissions {
		if who.May(p.is) {
			me.May = append(me.May, p.word)
		}
	}
	if who.Way == access.ByLogin {
		account, err := a.account(who.Name)
		if err != nil {
			return err
		}
		me.Account = &account
	}
	return c.JSON(http.StatusOK, me)
}

// login is the caller, who must be an account that is logged in. A token may have the name of an account and must not
// act as if it were that.
func login(c echo.Context) (access.Identity, access.Peer, error) {
	who := callerOf(c)
	if who.Way != access.ByLogin {
		return access.Identity{}, access.Peer{}, access.ErrNoLogin
	}
	return who.Identity, who.Peer, nil
}

// SetOwnPassword gives the caller's account another password and ends its other logins: {"password": "…"}.
func (a *API) SetOwnPassword(c echo.Context) error {
	who, _, err := login(c)
	if err != nil {
		return err
	}
	return a.setPassword(c, who.Name)
}

// ListOwnLogins answers the browsers in which the caller is logged in.
func (a *API) ListOwnLogins(c echo.Context) error {
	logins, err := a.ownLogins(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(logins))
}

func (a *API) ownLogins(c echo.Context) ([]access.LoginInfo, error) {
	who, _, err := login(c)
	if err != nil {
		return nil, err
	}
	logins, err := a.Access.Logins()
	return slices.DeleteFunc(logins, func(l access.LoginInfo) bool { return l.Account != who.Name }), err
}

// RevokeOwnLogin ends one of the caller's logins.
func (a *API) RevokeOwnLogin(c echo.Context) error {
	own, err := a.ownLogins(c)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, func(l access.LoginInfo) bool { return l.ID == c.Param("id") }) {
		return access.ErrNotFound
	}
	return a.RevokeLogin(c)
}

// TOTP is what an authenticator app needs (RFC 6238): the secret in base32, or all of it as an otpauth URL.
type TOTP struct {
	Secret string `json:"secret"`
	URL    string `json:"url"`
}

// StartTOTP makes a secret for an authenticator app. It counts only once EnableTOTP has seen a code of it.
func (a *API) StartTOTP(c echo.Context) error {
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	setup, err := a.Access.StartTOTP(who, peer.At)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, TOTP(setup))
}

// RecoveryCodes stand in for a lost second factor, each once. They are shown this once.
type RecoveryCodes struct {
	RecoveryCodes []string `json:"recoveryCodes"`
}

// EnableTOTP makes the authenticator app the second factor: {"code": "123456"}.
func (a *API) EnableTOTP(c echo.Context) error {
	var body struct {
		Code string `json:"code"`
	}
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	return recovery(c)(a.Access.EnableTOTP(who, peer, body.Code))
}

// DisableTOTP takes the caller's authenticator app away.
func (a *API) DisableTOTP(c echo.Context) error {
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	return done(c, a.Access.DisableTOTP(who, peer, who.Name))
}

// NewRecoveryCodes replaces the caller's recovery codes.
func (a *API) NewRecoveryCodes(c echo.Context) error {
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	return recovery(c)(a.Access.NewRecoveryCodes(who, peer))
}

func recovery(c echo.Context) func([]string, error) error {
	return func(codes []string, err error) error {
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, RecoveryCodes{codes})
	}
}

// BeginPasskey answers the options for navigator.credentials.create (WebAuthn level 3, section 5.1).
func (a *API) BeginPasskey(c echo.Context) error {
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	options, err := a.Access.PasskeyRegisterBegin(who, peer.At)
	if err != nil {
		return err
	}
	return c.JSONBlob(http.StatusOK, options)
}

// FinishPasskey keeps the passkey that the browser made: {"name": "laptop", "response": {…}}.
func (a *API) FinishPasskey(c echo.Context) error {
	var body struct {
		Name     string          `json:"name"`
		Response json.RawMessage `json:"response"`
	}
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	return done(c, a.Access.PasskeyRegisterFinish(who, peer, body.Name, body.Response))
}

// DeletePasskey takes one of the caller's passkeys away.
func (a *API) DeletePasskey(c echo.Context) error {
	who, peer, err := login(c)
	if err != nil {
		return err
	}
	return done(c, a.Access.PasskeyDelete(who, peer, who.Name, c.Param("id")))
}
