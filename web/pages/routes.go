package pages

import (
	"net/http"

	"breakwater/appliance/access"
	"breakwater/web/sitemap"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// Routes is the site map of the pages. Danger rows ask for the password when it was last given too long ago.
func (p *Pages) Routes() []sitemap.Route {
	return []sitemap.Route{
		{Method: get, Path: "/login", Needs: access.Public, Handle: p.LoginPage},
		{Method: post, Path: "/login", Needs: access.Public, Handle: p.Login},
		{Method: post, Path: "/logout", Needs: access.Own, Handle: p.Logout},

		{Method: get, Path: "/claim", Needs: access.Public, Handle: p.ClaimPage},
		{Method: post, Path: "/claim", Needs: access.Public, Handle: p.Claim},
		{Method: get, Path: "/welcome", Needs: access.Change, Handle: p.WelcomePage},
		{Method: post, Path: "/welcome", Needs: access.Change, Handle: p.Welcome},
		{Method: get, Path: "/welcome/done", Needs: access.Change, Handle: p.WelcomeDone},

		{Method: get, Path: "/", Needs: access.View, Handle: p.Overview},

		{Method: post, Path: "/changes/apply", Needs: access.Change, Handle: p.Apply},
	}
}
