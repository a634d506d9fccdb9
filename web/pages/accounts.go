package pages

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/caller"
)

// accountsView is who may sign in, and who is signed in.
type accountsView struct {
	Form     form
	Accounts []access.Account
	Logins   []access.LoginInfo
	Roles    []string
}

// roleNames are the roles in the order of a choice.
func roleNames() []string {
	var names []string
	for _, r := range access.Roles() {
		names = append(names, string(r))
	}
	return names
}

// Accounts lists the accounts and the browsers that are signed in.
func (p *Pages) Accounts(c echo.Context) error {
	return p.showAccounts(c, http.StatusOK, form{Values: url.Values{"role": {string(access.Viewer)}}})
}

func (p *Pages) showAccounts(c echo.Context, status int, f form) error {
	accounts, err := p.Access.Accounts()
	if err != nil {
		return err
	}
	logins, err := p.Access.Logins()
	if err != nil {
		return err
	}
	slices.SortFunc(logins, func(a, b access.LoginInfo) int { return b.LastSeen.Compare(a.LastSeen) })
	return p.render(c, status, "accounts", accountsView{f, accounts, logins, roleNames()})
}

// CreateAccount makes an account for somebody.
func (p *Pages) CreateAccount(c echo.Context) error {
	sent, err := c.FormParams()
	if err != nil {
		return err
	}
	who := caller.Of(c.Request().Context())
	err = p.Access.CreateAccount(who.Identity, who.Peer, sent.Get("account"), access.Role(sent.Get("role")), sent.Get("newPassword"))
	if f, known := accountProblem(form{Values: sent}, err); known {
		return p.showAccounts(c, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return p.back(c, "/system/accounts", "account-made")
}

// accountProblem puts what is wrong with an account at its field.
func accountProblem(f form, err error) (form, bool) {
	if weak, ok := errors.AsType[*access.Weak](err); ok {
		return f.problem("newPassword", sentence(weak)), true
	}
	for _, known := range []struct {
		err   error
		field string
	}{
		{access.ErrAccountName, "account"}, {access.ErrAccountExists, "account"}, {access.ErrRole, "role"},
		{access.ErrLastAdmin, ""}, {access.ErrTooMany, ""},
	} {
		if errors.Is(err, known.err) {
			return f.problem(known.field, sentence(known.err)), true
		}
	}
	return f, false
}

// accountView is one account and all that can be done with it.
type accountView struct {
	Form    form
	Account access.Account
	Logins  []access.LoginInfo
	Tokens  []string // that the account made
	Self    bool
	Roles   []string
}

// AccountPage shows one account.
func (p *Pages) AccountPage(c echo.Context) error {
	return p.showAccount(c, http.StatusOK, "account", form{})
}

// AccountDeletePage says what deleting an account means, before the button that does it.
func (p *Pages) AccountDeletePage(c echo.Context) error {
	return p.showAccount(c, http.StatusOK, "accountdelete", form{})
}

func (p *Pages) showAccount(c echo.Context, status int, page string, f form) error {
	account, err := p.account(c.Param("name"))
	if err != nil {
		return err
	}
	logins, err := p.loginsOf(account.Name)
	if err != nil {
		return err
	}
	tokens, err := p.tokensOf(account)
	if err != nil {
		return err
	}
	if f.Values == nil {
		f.Values = url.Values{"role": {string(account.Role)}}
	}
	who := caller.Of(c.Request().Context())
	return p.render(c, status, page, accountView{f, account, logins, tokens, isLogin(who) && who.Name == account.Name, roleNames()})
}

// account is the account of this name; ErrNotFound when there is none.
func (p *Pages) account(name string) (access.Account, error) {
	accounts, err := p.Access.Accounts()
	if err != nil {
		return access.Account{}, err
	}
	i := slices.IndexFunc(accounts, func(a access.Account) bool { return a.Name == name })
	if i < 0 {
		return access.Account{}, access.ErrNotFound
	}
	return accounts[i], nil
}

func (p *Pages) loginsOf(name string) ([]access.LoginInfo, error) {
	logins, err := p.Access.Logins()
	return slices.DeleteFunc(logins, func(l access.LoginInfo) bool { return l.Account != name }), err
}

// tokensOf names the tokens that an account made.
func (p *Pages) tokensOf(account access.Account) (names []string, err error) {
	tokens, err := p.Access.Tokens()
	for _, t := range tokens {
		if t.MadeBy(account) {
			names = append(names, t.Name)
		}
	}
	return names, err
}

func isLogin(who caller.Caller) bool { return who.Way == access.ByLogin }

// onAccount does something to the account in the address, and shows its page again with what was wrong.
func (p *Pages) onAccount(page, done string, act func(who caller.Caller, c echo.Context, name string) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		name := c.Param("name")
		sent, err := c.FormParams()
		if err != nil {
			return err
		}
		err = act(caller.Of(c.Request().Context()), c, name)
		if f, known := accountProblem(form{Values: sent}, err); known {
			return p.showAccount(c, http.StatusUnprocessableEntity, page, f)
		}
		if err != nil {
			return err
		}
		back := "/system/accounts/" + url.PathEscape(name)
		if page == "accountdelete" {
			back = "/system/accounts"
		}
		return p.back(c, back, done)
	}
}

// SetRole changes what an account may do.
func (p *Pages) SetRole() echo.HandlerFunc {
	return p.onAccount("account", "role-set", func(who caller.Caller, c echo.Context, name string) error {
		return p.Access.SetRole(who.Identity, who.Peer, name, access.Role(c.FormValue("role")))
	})
}

// ResetPassword gives an account another password and ends its logins.
func (p *Pages) ResetPassword() echo.HandlerFunc {
	return p.onAccount("account", "password-set", func(who caller.Caller, c echo.Context, name string) error {
		return p.Access.SetPassword(who.Identity, who.Peer, name, c.FormValue("newPassword"))
	})
}

// RemoveFactor takes the second factor from an account whose owner lost it.
func (p *Pages) RemoveFactor() echo.HandlerFunc {
	return p.onAccount("account", "factor-off", func(who caller.Caller, _ echo.Context, name string) error {
		return p.Access.DisableTOTP(who.Identity, who.Peer, name)
	})
}

// RemovePasskey takes a passkey from an account.
func (p *Pages) RemovePasskey() echo.HandlerFunc {
	return p.onAccount("account", "passkey-gone", func(who caller.Caller, c echo.Context, name string) error {
		return p.Access.PasskeyDelete(who.Identity, who.Peer, name, c.Param("id"))
	})
}

// RevokeAll ends every login of an account.
func (p *Pages) RevokeAll() echo.HandlerFunc {
	return p.onAccount("account", "revoked", func(who caller.Caller, _ echo.Context, name string) error {
		return p.Access.RevokeAll(who.Identity, who.Peer, name)
	})
}

// DeleteAccount removes an account and ends its logins.
func (p *Pages) DeleteAccount() echo.HandlerFunc {
	return p.onAccount("accountdelete", "account-gone", func(who caller.Caller, _ echo.Context, name string) error {
		return p.Access.DeleteAccount(who.Identity, who.Peer, name)
	})
}

// RevokeLogin ends one login. One that is over already is what was wanted.
func (p *Pages) RevokeLogin(c echo.Context) error {
	who := caller.Of(c.Request().Context())
	if err := p.Access.Revoke(who.Identity, who.Peer, c.Param("id")); err != nil && !errors.Is(err, access.ErrNotFound) {
		return err
	}
	return p.back(c, "/system/accounts", "revoked")
}
