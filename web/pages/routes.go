package pages

import (
	"net/http"

	"breakwater/appliance/access"
	"breakwater/appliance/lists"
	"breakwater/web/sitemap"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// formAround is what a form may be larger than the file in it, in bytes.
const formAround = 64 << 10

// Routes is the site map of the pages. Danger rows ask for the password when it was last given too long ago.
func (p *Pages) Routes() []sitemap.Route {
	return []sitemap.Route{
		{Method: get, Path: "/login", Needs: access.Public, Handle: p.LoginPage},
		{Method: post, Path: "/login", Needs: access.Public, Handle: p.Login},
		{Method: post, Path: "/logout", Needs: access.Own, Handle: p.Logout},

		{Method: post, Path: "/login/passkey/begin", Needs: access.Public, Handle: p.BeginPasskeyLogin},
		{Method: post, Path: "/login/passkey", Needs: access.Public, Handle: p.PasskeyLogin},

		{Method: get, Path: "/me", Needs: access.Own, Handle: p.Me},
		{Method: post, Path: "/me/prove", Needs: access.Own, Danger: true, Handle: p.ProveMe},
		{Method: post, Path: "/me/password", Needs: access.Own, Danger: true, Handle: p.SetOwnPassword},
		{Method: post, Path: "/me/factor", Needs: access.Own, Danger: true, Handle: p.StartFactor},
		{Method: post, Path: "/me/factor/enable", Needs: access.Own, Danger: true, Handle: p.EnableFactor},
		{Method: post, Path: "/me/factor/off", Needs: access.Own, Danger: true, Handle: p.DisableFactor},
		{Method: post, Path: "/me/recovery", Needs: access.Own, Danger: true, Handle: p.NewRecovery},
		{Method: post, Path: "/me/passkeys/:id/remove", Needs: access.Own, Danger: true, Handle: p.RemoveOwnPasskey},
		{Method: post, Path: "/me/logins/:id/revoke", Needs: access.Own, Handle: p.RevokeOwnLogin},

		{Method: get, Path: "/system", Needs: access.View, Handle: p.System},
		{Method: get, Path: "/system/accounts", Needs: access.Audit, Handle: p.Accounts},
		{Method: post, Path: "/system/accounts", Needs: access.Administer, Danger: true, Handle: p.CreateAccount},
		{Method: get, Path: "/system/accounts/:name", Needs: access.Audit, Handle: p.AccountPage},
		{Method: get, Path: "/system/accounts/:name/delete", Needs: access.Administer, Handle: p.AccountDeletePage},
		{Method: post, Path: "/system/accounts/:name/delete", Needs: access.Administer, Danger: true, Handle: p.DeleteAccount()},
		{Method: post, Path: "/system/accounts/:name/role", Needs: access.Administer, Danger: true, Handle: p.SetRole()},
		{Method: post, Path: "/system/accounts/:name/password", Needs: access.Administer, Danger: true, Handle: p.ResetPassword()},
		{Method: post, Path: "/system/accounts/:name/factor", Needs: access.Administer, Danger: true, Handle: p.RemoveFactor()},
		{Method: post, Path: "/system/accounts/:name/passkeys/:id/remove", Needs: access.Administer, Danger: true, Handle: p.RemovePasskey()},
		{Method: post, Path: "/system/accounts/:name/revoke", Needs: access.Administer, Handle: p.RevokeAll()},
		{Method: post, Path: "/system/logins/:id/revoke", Needs: access.Administer, Handle: p.RevokeLogin},
		{Method: get, Path: "/system/tokens", Needs: access.Audit, Handle: p.Tokens},
		{Method: post, Path: "/system/tokens", Needs: access.Administer, Danger: true, Handle: p.CreateToken},
		{Method: post, Path: "/system/tokens/:name/delete", Needs: access.Administer, Danger: true, Handle: p.DeleteToken},
		{Method: get, Path: "/system/certificate", Needs: access.View, Handle: p.Certificate},
		{Method: get, Path: "/system/certificate/download", Needs: access.View, Handle: p.DownloadCertificate},
		{Method: post, Path: "/system/certificate", Needs: access.Administer, Danger: true, Handle: p.UploadCertificate},
		{Method: post, Path: "/system/certificate/remove", Needs: access.Administer, Danger: true, Handle: p.RemoveCertificate},
		{Method: get, Path: "/system/backup", Needs: access.View, Handle: p.Backup},
		{Method: get, Path: "/system/logs", Needs: access.View, Handle: p.Logs},
		{Method: get, Path: "/system/audit", Needs: access.Audit, Handle: p.Audit},
		{Method: get, Path: "/system/diagnostics", Needs: access.Audit, Handle: p.Diagnostics},

		{Method: get, Path: "/system/update", Needs: access.View, Handle: p.Update},
		{Method: post, Path: "/system/update", Needs: access.Administer, Danger: true, Body: maxUpload, Handle: p.UploadUpdate},
		{Method: post, Path: "/system/update/prove", Needs: access.Administer, Danger: true, Handle: p.ProveUpdate},
		{Method: post, Path: "/system/update/fetch", Needs: access.Administer, Danger: true, Handle: p.FetchUpdate},
		{Method: post, Path: "/system/update/install", Needs: access.Administer, Danger: true, Handle: p.InstallUpdate},
		{Method: post, Path: "/system/update/remove", Needs: access.Administer, Danger: true, Handle: p.RemoveUpdate},
		{Method: get, Path: "/system/power", Needs: access.View, Handle: p.Power},
		{Method: post, Path: "/system/power/restart", Needs: access.Administer, Danger: true, Handle: p.Restart},
		{Method: post, Path: "/system/power/off", Needs: access.Administer, Danger: true, Handle: p.PowerOff},
		{Method: post, Path: "/system/power/other-slot", Needs: access.Administer, Danger: true, Handle: p.StartOther},
		{Method: post, Path: "/system/power/factory-reset", Needs: access.Administer, Danger: true, Handle: p.FactoryReset},

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
		{Method: get, Path: "/shield/lists", Needs: access.View, Handle: p.Lists},
		{Method: post, Path: "/shield/lists", Needs: access.Change, Handle: p.ListsSave},
		{Method: post, Path: "/shield/lists/:name/file", Needs: access.Change, Body: lists.MaxSize + formAround, Handle: p.UploadList},
		{Method: post, Path: "/shield/geo", Needs: access.Change, Body: lists.MaxGeo + formAround, Handle: p.UploadGeo},
		{Method: get, Path: "/shield/settings", Needs: access.Change, Handle: p.FilterForm},
		{Method: post, Path: "/shield/settings", Needs: access.Change, Handle: p.FilterSave},
		{Method: get, Path: "/shield/mode/:mode", Needs: access.Change, Handle: p.FilterMode},
		{Method: get, Path: "/shield/limits", Needs: access.Change, Handle: p.LimitsPage},
		{Method: post, Path: "/shield/limits", Needs: access.Change, Handle: p.Limits},

		{Method: get, Path: "/incidents", Needs: access.View, Handle: p.Incidents},
		{Method: get, Path: "/incidents/alerts", Needs: access.Change, Handle: p.AlertsForm},
		{Method: post, Path: "/incidents/alerts", Needs: access.Change, Handle: p.AlertsSave},
		{Method: post, Path: "/incidents/alerts/secret", Needs: access.Change, Handle: p.AlertSecret},
		{Method: post, Path: "/incidents/alerts/secret/remove", Needs: access.Change, Handle: p.AlertSecretRemove},
		{Method: post, Path: "/incidents/alerts/test", Needs: access.Change, Handle: p.AlertTest},
		{Method: get, Path: "/incidents/:number", Needs: access.View, Handle: p.Incident},

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

		{Method: get, Path: "/system/network", Needs: access.View, Handle: p.NetworkForm},
		{Method: post, Path: "/system/network", Needs: access.Change, Handle: p.NetworkSave},
		{Method: get, Path: "/system/network/interfaces/new", Needs: access.Change, Handle: p.ofAppliance(p.InterfaceForm)},
		{Method: post, Path: "/system/network/interfaces/new", Needs: access.Change, Handle: p.ofAppliance(p.InterfaceSave)},
		{Method: get, Path: "/system/network/interfaces/:name/edit", Needs: access.Change, Handle: p.ofAppliance(p.InterfaceForm)},
		{Method: post, Path: "/system/network/interfaces/:name/edit", Needs: access.Change, Handle: p.ofAppliance(p.InterfaceSave)},
		{Method: get, Path: "/system/network/interfaces/:name/remove", Needs: access.Change, Handle: p.ofAppliance(p.InterfaceRemove)},
	}
}
