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

		{Method: get, Path: "/services", Needs: access.View, Handle: p.Services},
		{Method: get, Path: "/services/new", Needs: access.Change, Handle: p.ServiceForm},
		{Method: post, Path: "/services/new", Needs: access.Change, Handle: p.ServiceSave},
		{Method: get, Path: "/services/:name/edit", Needs: access.Change, Handle: p.ServiceForm},
		{Method: post, Path: "/services/:name/edit", Needs: access.Change, Handle: p.ServiceSave},
		{Method: get, Path: "/services/:name/remove", Needs: access.Change, Handle: p.ServiceRemove},
		{Method: get, Path: "/services/:name/move/:to", Needs: access.Change, Handle: p.ServiceMove},
		{Method: get, Path: "/services/:name/test", Needs: access.Operate, Handle: p.ServiceTryPage},
		{Method: post, Path: "/services/:name/test", Needs: access.Operate, Handle: p.ServiceTry},

		{Method: get, Path: "/origins", Needs: access.View, Handle: p.Origins},
		{Method: get, Path: "/origins/new", Needs: access.Change, Handle: p.PoolForm},
		{Method: post, Path: "/origins/new", Needs: access.Change, Handle: p.PoolSave},
		{Method: get, Path: "/origins/:pool/edit", Needs: access.Change, Handle: p.PoolForm},
		{Method: post, Path: "/origins/:pool/edit", Needs: access.Change, Handle: p.PoolSave},
		{Method: get, Path: "/origins/:pool/remove", Needs: access.Change, Handle: p.PoolRemove},
		{Method: post, Path: "/origins/:pool/:origin/state", Needs: access.Operate, Handle: p.OriginState},

		{Method: get, Path: "/shield", Needs: access.View, Handle: p.Shield},
		{Method: post, Path: "/shield/bans", Needs: access.Operate, Handle: p.AddBan},
		{Method: post, Path: "/shield/bans/remove", Needs: access.Operate, Handle: p.RemoveBan},
		{Method: get, Path: "/shield/limits", Needs: access.Change, Handle: p.LimitsPage},
		{Method: post, Path: "/shield/limits", Needs: access.Change, Handle: p.Limits},

		{Method: get, Path: "/connections", Needs: access.View, Handle: p.Connections},
		{Method: post, Path: "/connections/:id/kick", Needs: access.Operate, Handle: p.Kick},
		{Method: post, Path: "/connections/ban", Needs: access.Operate, Handle: p.BanClient},

		{Method: get, Path: "/changes", Needs: access.View, Handle: p.Changes},
		{Method: get, Path: "/changes/import", Needs: access.Change, Handle: p.ImportForm},
		{Method: post, Path: "/changes/import", Needs: access.Change, Handle: p.Import},
		{Method: get, Path: "/changes/apply", Needs: access.View, Handle: p.ToChanges},
		{Method: post, Path: "/changes/apply", Needs: access.Change, Handle: p.Apply},
		{Method: get, Path: "/changes/keep", Needs: access.View, Handle: p.ToChanges},
		{Method: post, Path: "/changes/keep", Needs: access.Change, Handle: p.Keep},
		{Method: get, Path: "/changes/revert", Needs: access.View, Handle: p.ToChanges},
		{Method: post, Path: "/changes/revert", Needs: access.Change, Handle: p.RevertPending},
		{Method: get, Path: "/changes/:number", Needs: access.View, Handle: p.Revision},
		{Method: get, Path: "/changes/:number/document", Needs: access.View, Handle: p.RevisionDocument},
		{Method: get, Path: "/changes/:number/rollback", Needs: access.Change, Handle: p.RevisionRollback},

		{Method: get, Path: "/system/network", Needs: access.Change, Handle: p.NetworkForm},
		{Method: post, Path: "/system/network", Needs: access.Change, Handle: p.NetworkSave},
	}
}
