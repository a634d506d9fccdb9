package pages

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/caller"
)

// claimView is the one page of a box that nobody owns yet.
type claimView struct {
	Form form
	Dead bool // too many wrong codes: only a restart makes a new one
}

// The fields of the claim.
const (
	claimCode     = "code"
	claimAccount  = "account"
	claimPassword = "newPassword"
)

// ClaimPage asks for the setup code. Once there is an account it leads away: there is nothing to claim any more.
func (p *Pages) ClaimPage(c echo.Context) error {
	if p.Access.Claimed() {
		return c.Redirect(http.StatusSeeOther, "/")
	}
	return p.showClaim(c, http.StatusOK, form{})
}

func (p *Pages) showClaim(c echo.Context, status int, f form) error {
	return p.render(c, status, "claim", claimView{Form: f, Dead: p.Access.SetupCode() == ""})
}

// Claim makes the first account and logs it in. Of many that try at once exactly one wins; the others see the login.
func (p *Pages) Claim(c echo.Context) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	r := c.Request()
	_, secret, err := p.Access.Claim(r.Context(), caller.Of(r.Context()).Peer, typed.Get(claimCode), typed.Get(claimAccount), typed.Get(claimPassword))
	if errors.Is(err, access.ErrClaimed) {
		return p.back(c, "/login", "claimed")
	}
	if err != nil {
		return p.refuseClaim(c, form{Values: typed}, err)
	}
	setCookie(c, secret)
	return c.Redirect(http.StatusSeeOther, "/welcome")
}

// refuseClaim tells at its field what was wrong. The password has to be typed again: it is never sent back.
func (p *Pages) refuseClaim(c echo.Context, f form, err error) error {
	if throttled, ok := errors.AsType[*access.Throttled](err); ok {
		c.Response().Header().Set("Retry-After", secondsText(throttled.After))
		return p.showClaim(c, http.StatusTooManyRequests, f.problem("", sentence(err)))
	}
	if weak, ok := errors.AsType[*access.Weak](err); ok {
		return p.showClaim(c, http.StatusUnprocessableEntity, f.problem(claimPassword, sentence(weak)))
	}
	switch {
	case errors.Is(err, access.ErrAccountName):
		return p.showClaim(c, http.StatusUnprocessableEntity, f.problem(claimAccount, sentence(err)))
	case errors.Is(err, access.ErrSetupDead):
		return p.showClaim(c, http.StatusForbidden, f)
	case errors.Is(err, access.ErrWrong):
		return p.showClaim(c, http.StatusForbidden, f.problem(claimCode, p.text.say("claim.wrong")))
	}
	return err
}
