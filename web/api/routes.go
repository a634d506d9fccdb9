package api

import (
	"net/http"

	"breakwater/appliance/access"
	"breakwater/appliance/lists"
	"breakwater/appliance/update"
	"breakwater/web/sitemap"
)

const (
	get    = http.MethodGet
	put    = http.MethodPut
	post   = http.MethodPost
	remove = http.MethodDelete

	v1 = "/api/v1"
)

// danger marks what needs a fresh proof of who is there, for whoever comes with a cookie: whoever sits down at a
// browser that was left open must not be able to stay.
const danger = true

// Routes is the API's site map: every call, the permission that it needs, and whether it needs a fresh proof.
func (a *API) Routes() []sitemap.Route {
	return []sitemap.Route{
		{Method: get, Path: "/metrics", Needs: access.View, Handle: a.Metrics()},
		{Method: get, Path: v1 + "/openapi.json", Needs: access.View, Handle: a.GetOpenAPI},
		{Method: get, Path: v1 + "/grafana.json", Needs: access.View, Handle: a.GetDashboard},

		{Method: get, Path: v1 + "/settings", Needs: access.View, Handle: a.GetSettings},
		{Method: put, Path: v1 + "/settings", Needs: access.Change, Handle: a.PutSettings},
		{Method: post, Path: v1 + "/settings/confirm", Needs: access.Change, Handle: a.ConfirmSettings},
		{Method: post, Path: v1 + "/settings/revert", Needs: access.Change, Handle: a.RevertSettings},
		{Method: get, Path: v1 + "/revisions", Needs: access.View, Handle: a.ListRevisions},
		{Method: get, Path: v1 + "/revisions/:number", Needs: access.View, Handle: a.GetRevision},
		{Method: get, Path: v1 + "/revisions/:number/diff", Needs: access.View, Handle: a.DiffRevision},
		{Method: post, Path: v1 + "/revisions/:number/rollback", Needs: access.Change, Handle: a.Rollback},
		{Method: get, Path: v1 + "/backup", Needs: access.View, Handle: a.GetBackup},

		{Method: get, Path: v1 + "/status", Needs: access.View, Handle: a.GetStatus},
		{Method: get, Path: v1 + "/live", Needs: access.View, Handle: a.StreamLive},
		{Method: get, Path: v1 + "/samples", Needs: access.View, Handle: a.GetSamples},
		{Method: get, Path: v1 + "/events", Needs: access.View, Handle: a.StreamEvents},
		{Method: get, Path: v1 + "/logs", Needs: access.View, Handle: a.ListLogs},
		{Method: get, Path: v1 + "/diagnostics", Needs: access.Audit, Handle: a.GetDiagnostics},

		{Method: get, Path: v1 + "/sessions", Needs: access.View, Handle: a.ListSessions},
		{Method: remove, Path: v1 + "/sessions/:id", Needs: access.Operate, Handle: a.KillSession},
		{Method: get, Path: v1 + "/bans", Needs: access.View, Handle: a.ListBans},
		{Method: post, Path: v1 + "/bans", Needs: access.Operate, Handle: a.CreateBan},
		{Method: remove, Path: v1 + "/bans/:prefix", Needs: access.Operate, Handle: a.DeleteBan},

		{Method: get, Path: v1 + "/incidents", Needs: access.View, Handle: a.ListIncidents},
		{Method: get, Path: v1 + "/incidents/:number", Needs: access.View, Handle: a.GetIncident},
		{Method: get, Path: v1 + "/incidents/:number/packets.pcapng", Needs: access.View, Handle: a.GetIncidentPackets},
		{Method: get, Path: v1 + "/shield/would", Needs: access.View, Handle: a.GetDryRun},
		{Method: post, Path: v1 + "/alerts/test", Needs: access.Operate, Handle: a.TestAlerts},
		{Method: get, Path: v1 + "/secrets", Needs: access.View, Handle: a.ListSecrets},
		{Method: put, Path: v1 + "/secrets/:name", Needs: access.Change, Handle: a.PutSecret},
		{Method: remove, Path: v1 + "/secrets/:name", Needs: access.Change, Handle: a.DeleteSecret},
		{Method: get, Path: v1 + "/shield/lists", Needs: access.View, Handle: a.ListLists},
		{Method: put, Path: v1 + "/shield/lists/:name", Needs: access.Change, Body: lists.MaxSize, Handle: a.PutList},
		{Method: put, Path: v1 + "/shield/geo", Needs: access.Change, Body: lists.MaxGeo, Handle: a.PutGeo},

		{Method: get, Path: v1 + "/origins/history", Needs: access.View, Handle: a.ListOriginHistory},
		{Method: post, Path: v1 + "/origins/:pool/:origin/state", Needs: access.Operate, Handle: a.SetOriginState},
		{Method: post, Path: v1 + "/services/:name/test", Needs: access.Operate, Handle: a.TestService},
		{Method: post, Path: v1 + "/try", Needs: access.Operate, Handle: a.Try},

		{Method: get, Path: v1 + "/me", Needs: access.Own, Handle: a.GetMe},
		{Method: put, Path: v1 + "/me/password", Needs: access.Own, Danger: danger, Handle: a.SetOwnPassword},
		{Method: get, Path: v1 + "/me/logins", Needs: access.Own, Handle: a.ListOwnLogins},
		{Method: remove, Path: v1 + "/me/logins/:id", Needs: access.Own, Handle: a.RevokeOwnLogin},
		{Method: post, Path: v1 + "/me/totp", Needs: access.Own, Danger: danger, Handle: a.StartTOTP},
		{Method: post, Path: v1 + "/me/totp/enable", Needs: access.Own, Danger: danger, Handle: a.EnableTOTP},
		{Method: remove, Path: v1 + "/me/totp", Needs: access.Own, Danger: danger, Handle: a.DisableTOTP},
		{Method: post, Path: v1 + "/me/recovery-codes", Needs: access.Own, Danger: danger, Handle: a.NewRecoveryCodes},
		{Method: post, Path: v1 + "/me/passkeys/begin", Needs: access.Own, Danger: danger, Handle: a.BeginPasskey},
		{Method: post, Path: v1 + "/me/passkeys", Needs: access.Own, Danger: danger, Handle: a.FinishPasskey},
		{Method: remove, Path: v1 + "/me/passkeys/:id", Needs: access.Own, Danger: danger, Handle: a.DeletePasskey},

		{Method: get, Path: v1 + "/accounts", Needs: access.Audit, Handle: a.ListAccounts},
		{Method: post, Path: v1 + "/accounts", Needs: access.Administer, Danger: danger, Handle: a.CreateAccount},
		{Method: put, Path: v1 + "/accounts/:name/role", Needs: access.Administer, Danger: danger, Handle: a.SetRole},
		{Method: put, Path: v1 + "/accounts/:name/password", Needs: access.Administer, Danger: danger, Handle: a.SetPassword},
		{Method: remove, Path: v1 + "/accounts/:name", Needs: access.Administer, Danger: danger, Handle: a.DeleteAccount},
		{Method: remove, Path: v1 + "/accounts/:name/totp", Needs: access.Administer, Danger: danger, Handle: a.ResetTOTP},
		{Method: remove, Path: v1 + "/accounts/:name/passkeys/:id", Needs: access.Administer, Danger: danger, Handle: a.RemovePasskey},
		{Method: remove, Path: v1 + "/accounts/:name/logins", Needs: access.Administer, Handle: a.RevokeLogins},
		{Method: get, Path: v1 + "/logins", Needs: access.Audit, Handle: a.ListLogins},
		{Method: remove, Path: v1 + "/logins/:id", Needs: access.Administer, Handle: a.RevokeLogin},
		{Method: get, Path: v1 + "/tokens", Needs: access.Audit, Handle: a.ListTokens},
		{Method: post, Path: v1 + "/tokens", Needs: access.Administer, Danger: danger, Handle: a.CreateToken},
		{Method: remove, Path: v1 + "/tokens/:name", Needs: access.Administer, Danger: danger, Handle: a.DeleteToken},

		{Method: get, Path: v1 + "/audit", Needs: access.Audit, Handle: a.ListAudit},
		{Method: get, Path: v1 + "/audit/check", Needs: access.Audit, Handle: a.CheckAudit},
		{Method: get, Path: v1 + "/audit/download", Needs: access.Audit, Handle: a.DownloadAudit},

		{Method: get, Path: v1 + "/host", Needs: access.View, Handle: a.GetHost},
		{Method: post, Path: v1 + "/host/restart", Needs: access.Administer, Danger: danger, Handle: a.Restart},
		{Method: post, Path: v1 + "/host/power-off", Needs: access.Administer, Danger: danger, Handle: a.PowerOff},
		{Method: post, Path: v1 + "/host/other-slot", Needs: access.Administer, Danger: danger, Handle: a.StartOther},
		{Method: post, Path: v1 + "/host/factory-reset", Needs: access.Administer, Danger: danger, Handle: a.FactoryReset},

		{Method: get, Path: v1 + "/presets", Needs: access.View, Handle: a.ListPresets},
		{Method: get, Path: v1 + "/certificates", Needs: access.View, Handle: a.ListCertificates},
		{Method: put, Path: v1 + "/certificates/own", Needs: access.Administer, Danger: danger, Handle: a.PutCertificate},
		{Method: remove, Path: v1 + "/certificates/own", Needs: access.Administer, Danger: danger, Handle: a.DeleteCertificate},
		{Method: get, Path: v1 + "/update", Needs: access.View, Handle: a.GetUpdate},
		{Method: put, Path: v1 + "/update", Needs: access.Administer, Danger: danger, Body: update.MaxSize, Handle: a.PutUpdate},
		{Method: remove, Path: v1 + "/update", Needs: access.Administer, Danger: danger, Handle: a.DeleteUpdate},
		{Method: post, Path: v1 + "/update/fetch", Needs: access.Administer, Danger: danger, Handle: a.FetchUpdate},
		{Method: post, Path: v1 + "/update/install", Needs: access.Administer, Danger: danger, Handle: a.InstallUpdate},
		{Method: get, Path: v1 + "/setup-code", Needs: access.LocalOnly, Handle: a.GetSetupCode},
	}
}
