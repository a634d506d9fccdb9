package pages

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/caller"
)

// loginView is the page that asks who is there. Kept are the fields of a form that somebody sent with a login that was
// over; they go along and the form is carried out after the login.
type loginView struct {
	Form    form
	Next    string
	Kept    []keptField
	Second  bool // a code is due
	Expired bool
}

type keptField struct{ Name, Value string }

// The fields of the login and of a proof. Their dots keep them apart from the fields of any form they go along with.
const (
	fieldName     = "login.name"
	fieldPassword = "login.password"
	fieldSecond   = "login.second"
	provePassword = "prove.password"
	proveSecond   = "prove.second"
)

// LoginPage asks who is there.
func (p *Pages) LoginPage(c echo.Context) error {
	if !p.Access.Claimed() {
		return c.Redirect(http.StatusSeeOther, "/claim")
	}
	return p.render(c, http.StatusOK, "login", loginView{Next: localPath(c.QueryParam("next"))})
}

// AskLogin answers a request that needs a login and has none. A form is not lost: what was typed is kept in the page.
func (p *Pages) AskLogin(c echo.Context) error {
	r := c.Request()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return c.Redirect(http.StatusSeeOther, "/login?next="+url.QueryEscape(r.URL.RequestURI()))
	}
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	return p.render(c, http.StatusUnauthorized, "login", loginView{Next: r.URL.RequestURI(), Kept: keep(typed), Expired: true})
}

// Login lets somebody in. A form that was kept is shown once more, to be sent with the new login.
func (p *Pages) Login(c echo.Context) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	r := c.Request()
	who := caller.Of(r.Context())
	view := loginView{Form: form{Values: typed}, Next: localPath(typed.Get("next")), Kept: keep(typed)}
	_, secret, err := p.Access.Login(r.Context(), who.Peer, typed.Get(fieldName), typed.Get(fieldPassword), typed.Get(fieldSecond))
	if err != nil {
		return p.refuseLogin(c, view, err)
	}
	p.letIn(c, secret)
	if len(view.Kept) > 0 {
		return p.render(c, http.StatusOK, "again", view)
	}
	return c.Redirect(http.StatusSeeOther, view.Next)
}

// letIn gives the browser its new login. The one that it had until now ends: nobody could see that it goes on.
func (p *Pages) letIn(c echo.Context, secret string) {
	if who := caller.Of(c.Request().Context()); isLogin(who) {
		if err := p.Access.Logout(who.Identity); err != nil {
			p.Log.Error("end the former login", "err", err)
		}
	}
	setCookie(c, secret)
}

func (p *Pages) refuseLogin(c echo.Context, view loginView, err error) error {
	status := http.StatusUnauthorized
	if errors.Is(err, access.ErrSecondFactor) {
		view.Second = true
		if view.Form.Value(fieldSecond) == "" {
			return p.render(c, http.StatusOK, "login", view) // not wrong, only not all yet
		}
	}
	if throttled, ok := errors.AsType[*access.Throttled](err); ok {
		status = http.StatusTooManyRequests
		c.Response().Header().Set("Retry-After", secondsText(throttled.After))
	} else if !errors.Is(err, access.ErrWrong) && !view.Second {
		return err
	}
	view.Form = view.Form.problem("", sentence(err))
	return p.render(c, status, "login", view)
}

// Logout ends the login.
func (p *Pages) Logout(c echo.Context) error {
	if err := p.Access.Logout(caller.Of(c.Request().Context()).Identity); err != nil && !errors.Is(err, access.ErrNotFound) {
		return err
	}
	setCookie(c, "")
	return c.Redirect(http.StatusSeeOther, "/login")
}

// proveView asks for the password before something dangerous is done with the fields that were sent.
type proveView struct {
	Form   form
	Next   string
	Kept   []keptField
	Upload bool // a file cannot be kept
}

// Prove carries out next if the form brings a proof of who sends it, and asks for it otherwise.
func (p *Pages) Prove(c echo.Context, next echo.HandlerFunc) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	r := c.Request()
	who := caller.Of(r.Context())
	view := proveView{Form: form{Values: typed}, Next: r.URL.RequestURI(), Kept: keep(typed), Upload: r.MultipartForm != nil && len(r.MultipartForm.File) > 0}
	if typed.Get(provePassword) == "" {
		return p.render(c, http.StatusForbidden, "prove", view)
	}
	secret, err := p.Access.Prove(r.Context(), who.Identity, who.Peer, typed.Get(provePassword), typed.Get(proveSecond))
	if _, throttled := errors.AsType[*access.Throttled](err); throttled || errors.Is(err, access.ErrWrong) || errors.Is(err, access.ErrSecondFactor) {
		view.Form = view.Form.problem("", sentence(err))
		return p.render(c, http.StatusForbidden, "prove", view)
	}
	if err != nil {
		return err
	}
	setCookie(c, secret)
	if who.Identity, err = p.Access.ByCookie(secret, who.Peer); err != nil {
		return err
	}
	c.SetRequest(r.WithContext(caller.With(r.Context(), who)))
	return next(c)
}

// keep picks the fields that belong to the form and not to the login or the proof that it came with.
func keep(typed url.Values) []keptField {
	var kept []keptField
	for name, values := range typed {
		if strings.HasPrefix(name, "login.") || strings.HasPrefix(name, "prove.") || name == "next" {
			continue
		}
		for _, v := range values {
			kept = append(kept, keptField{name, v})
		}
	}
	return kept
}

// localPath is path if it leads to a page of the box, and the overview otherwise: nobody may be sent elsewhere by a link
// to the login. Browsers read a backslash as a slash.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, "\\") {
		return "/"
	}
	return path
}

// setCookie gives the browser the secret of its login; an empty one takes it away.
func setCookie(c echo.Context, secret string) {
	cookie := &http.Cookie{Name: caller.Cookie, Value: secret, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if secret == "" {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

func secondsText(d time.Duration) string { return numberPlain(int64(d/time.Second) + 1) }

// sentence is an error as a page shows it.
func sentence(err error) string {
	text := err.Error()
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}
