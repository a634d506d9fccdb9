package pages

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/settings"
	"breakwater/web/caller"
)

// tokensView is the programs that may use the API.
type tokensView struct {
	Form   form
	Tokens []access.Token
	Now    time.Time
}

// tokenView shows the secret of a new token, this once.
type tokenView struct {
	Token   access.Token
	Secret  string
	Command string // to try it
}

// tokenDays are the lives of a token that can be chosen; 0: for ever.
var tokenDays = []string{"1", "7", "30", "90", "365", "0"}

// Tokens lists the tokens.
func (p *Pages) Tokens(c echo.Context) error {
	return p.showTokens(c, http.StatusOK, form{Values: url.Values{"role": {string(access.Viewer)}, "days": {"90"}}})
}

func (p *Pages) showTokens(c echo.Context, status int, f form) error {
	tokens, err := p.Access.Tokens()
	if err != nil {
		return err
	}
	return p.render(c, status, "tokens", tokensView{f, tokens, time.Now()})
}

// CreateToken makes a token and shows its secret. The answer is the page itself and no redirect: nothing keeps the
// secret, so it could not be shown after one.
func (p *Pages) CreateToken(c echo.Context) error {
	sent, err := c.FormParams()
	if err != nil {
		return err
	}
	wanted, problems := tokenOf(sent, time.Now())
	if len(problems) > 0 {
		return p.showTokens(c, http.StatusUnprocessableEntity, form{Values: sent, Problems: problems})
	}
	who := caller.Of(c.Request().Context())
	token, secret, err := p.Access.CreateToken(who.Identity, who.Peer, wanted)
	for _, known := range []struct {
		err   error
		field string
	}{
		{access.ErrTokenName, "name"}, {access.ErrTokenExists, "name"}, {access.ErrRole, "role"}, {access.ErrForbidden, "role"},
		{access.ErrTokenExpired, "days"}, {access.ErrTokenNetworks, "networks"}, {access.ErrTooMany, ""},
	} {
		if errors.Is(err, known.err) {
			return p.showTokens(c, http.StatusUnprocessableEntity, form{Values: sent}.problem(known.field, sentence(known.err)))
		}
	}
	if err != nil {
		return err
	}
	command := "curl --insecure -H 'Authorization: Bearer " + secret + "' https://" + c.Request().Host + "/api/v1/status"
	return p.render(c, http.StatusCreated, "token", tokenView{token, secret, command})
}

// tokenOf reads the form of a token.
func tokenOf(sent url.Values, now time.Time) (access.NewToken, []settings.Problem) {
	t := typed{values: sent}
	wanted := access.NewToken{Name: t.text("name"), Role: access.Role(t.text("role"))}
	days, err := strconv.Atoi(t.text("days"))
	if err != nil || days < 0 || days > 3650 {
		t.wrong("days", "choose how long it is good")
	} else if days > 0 {
		wanted.Expires = now.AddDate(0, 0, days)
	}
	for _, network := range list[settings.Prefix](&t, "networks") {
		wanted.Networks = append(wanted.Networks, network.Prefix)
	}
	return wanted, t.problems
}

// DeleteToken revokes a token. One that is gone already is what was wanted.
func (p *Pages) DeleteToken(c echo.Context) error {
	who := caller.Of(c.Request().Context())
	if err := p.Access.DeleteToken(who.Identity, who.Peer, c.Param("name")); err != nil && !errors.Is(err, access.ErrNotFound) {
		return err
	}
	return p.back(c, "/system/tokens", "token-gone")
}

// Over tells whether a token is not good any more.
func (v tokensView) Over(t access.Token) bool { return !t.Expires.IsZero() && v.Now.After(t.Expires) }

// Days are the choices of the form.
func (v tokensView) Days() []string { return tokenDays }

// From is where a token may be used.
func (v tokensView) From(networks []netip.Prefix) string { return joined(networks) }
