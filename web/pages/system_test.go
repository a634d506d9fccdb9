package pages_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"breakwater/appliance/access"
	"breakwater/appliance/logs"
	"breakwater/web/webtest"
)

var systemPages = []string{"/system", "/system/accounts", "/system/tokens", "/system/certificate", "/system/update", "/system/power", "/system/backup", "/system/logs", "/system/audit", "/system/diagnostics", "/me"}

func TestSystemPagesRenderWhateverIsThere(t *testing.T) {
	site := webtest.Start(t)
	admin := site.Browser(t, "anna", access.Admin)
	look := func(state string) {
		for _, path := range systemPages {
			if page := admin.Get(path); page.Status != 200 || strings.Contains(page.Body, "ZgotmplZ") {
				t.Errorf("%s: %s answers %d: %.2000s", state, path, page.Status, page.Body)
			}
		}
	}
	look("new")
	site.Apply(t, webtest.Document)
	look("with settings")
	site.Edge.Stop()
	look("without edge")
}

func TestSystemOffersOnlyWhatTheRoleMay(t *testing.T) {
	site := webtest.Start(t)
	for _, c := range []struct {
		role    access.Role
		refused []string
	}{
		{access.Viewer, []string{"/system/accounts", "/system/tokens", "/system/audit", "/system/diagnostics"}},
		{access.Operator, []string{"/system/accounts", "/system/tokens", "/system/audit", "/system/diagnostics"}},
		{access.Auditor, nil},
		{access.Admin, nil},
	} {
		b := site.Browser(t, "the-"+string(c.role), c.role)
		for _, path := range systemPages {
			page := b.Get(path)
			want := 200
			if slices.Contains(c.refused, path) {
				want = 403
			}
			if page.Status != want {
				t.Errorf("%s: %s answers %d, want %d", c.role, path, page.Status, want)
			}
			if c.role != access.Admin && path != "/me" && strings.Contains(page.Body, `method="post" action="/system`) {
				t.Errorf("%s: %s offers a form that would be refused", c.role, path)
			}
			for _, other := range c.refused {
				if strings.Contains(page.Body, `href="`+other+`"`) {
					t.Errorf("%s: %s leads to %s, which is refused", c.role, path, other)
				}
			}
		}
	}
}

func TestAccountsFromTheFirstToTheLast(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	made := shownForm(t, b.Get("/system/accounts"), "/system/accounts")
	made.Set("account", "otto")
	made.Set("role", "operator")
	made.Set("newPassword", "short")
	page := b.Post("/system/accounts", made).Want(t, 422, `id="p-newPassword"`, `value="otto"`)
	if !strings.Contains(page.Body, `value="operator" selected`) {
		t.Error("the role that was chosen is lost")
	}
	made.Set("newPassword", webtest.Password)
	wantBack(t, b.Post("/system/accounts", made), "/system/accounts?done=account-made")
	b.Post("/system/accounts", made).Want(t, 422, `id="p-account"`)
	b.Get("/system/accounts/otto").Want(t, 200, "operator")
	wantBack(t, b.Post("/system/accounts/otto/role", url.Values{"role": {"viewer"}}), "/system/accounts/otto?done=role-set")
	b.Post("/system/accounts/otto/role", url.Values{"role": {"king"}}).Want(t, 422, `id="p-role"`)
	b.Post("/system/accounts/otto/password", url.Values{"newPassword": {"x"}}).Want(t, 422, `id="p-newPassword"`)
	wantBack(t, b.Post("/system/accounts/otto/password", url.Values{"newPassword": {webtest.Password + "2"}}), "/system/accounts/otto?done=password-set")
	wantBack(t, b.Post("/system/accounts/otto/revoke", nil), "/system/accounts/otto?done=revoked")
	b.Get("/system/accounts/otto/delete").Want(t, 200, "at once")
	wantBack(t, b.Post("/system/accounts/otto/delete", nil), "/system/accounts?done=account-gone")
	b.Get("/system/accounts/otto").Want(t, 404)
	b.Post("/system/accounts/nobody/role", url.Values{"role": {"viewer"}}).Want(t, 404)
}

// TestTokensOfADeletedAccountWentOnUnseen: whoever deletes an account is told which tokens it leaves behind.
func TestTokensOfADeletedAccountWentOnUnseen(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	bert := access.Identity{Name: "bert", Role: access.Admin, Way: access.ByLogin}
	if err := site.Access.CreateAccount(access.Local(), access.Peer{}, "bert", access.Admin, webtest.Password); err != nil {
		t.Fatal(err)
	}
	if page := b.Get("/system/accounts/bert/delete").Want(t, 200); strings.Contains(page.Body, "Tokens made by") {
		t.Error("an account without tokens is said to have some")
	}
	var secrets []string
	for _, made := range []struct {
		by   access.Identity
		name string
	}{{bert, "backup"}, {bert, "grafana"}, {access.Local(), "ci"}} {
		_, secret, err := site.Access.CreateToken(made.by, access.Peer{}, access.NewToken{Name: made.name, Role: access.Viewer})
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	page := b.Get("/system/accounts/bert/delete").Want(t, 200, "Tokens made by this account: <b>backup</b>, <b>grafana</b>.", "go on working")
	if strings.Contains(page.Body, "<b>ci</b>") {
		t.Error("a token of somebody else is listed")
	}
	wantBack(t, b.Post("/system/accounts/bert/delete", nil), "/system/accounts?done=account-gone")
	if _, err := site.Access.ByToken(secrets[0], access.Peer{}); err != nil {
		t.Errorf("a token of the deleted account: %v", err)
	}
}

func TestTheLastAdminStays(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	accounts, err := site.Access.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		if a.Name != "anna" {
			b.Post("/system/accounts/"+a.Name+"/delete", nil)
		}
	}
	b.Post("/system/accounts/anna/role", url.Values{"role": {"viewer"}}).Want(t, 422, "always be an account")
	b.Post("/system/accounts/anna/delete", nil).Want(t, 422, "always be an account")
}

func TestTokenIsShownOnce(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	b.Get("/system/tokens").Want(t, 200, "There is no token")
	wanted := shownForm(t, b.Get("/system/tokens"), "/system/tokens")
	if wanted.Get("days") != "90" {
		t.Errorf("a token is good for %s days unless one says otherwise, want 90", wanted.Get("days"))
	}
	wanted.Set("name", "grafana")
	wanted.Set("networks", "10.0.0.0/8, nonsense")
	b.Post("/system/tokens", wanted).Want(t, 422, `id="p-networks"`, "nonsense", `value="grafana"`)
	wanted.Set("networks", "127.0.0.0/8")
	page := b.Post("/system/tokens", wanted).Want(t, 201)
	secret := regexp.MustCompile(`bw_[\w-]{20,}`).FindString(page.Body)
	if secret == "" {
		t.Fatalf("no secret is shown: %s", page.Body)
	}
	if page := b.Get("/system/tokens").Want(t, 200, "grafana", "127.0.0.0/8", "never used"); strings.Contains(page.Body, secret) {
		t.Error("the list shows the secret")
	}
	program := site.Stranger(t)
	program.Do("GET", "/api/v1/status", "", http.Header{"Authorization": {"Bearer " + secret}}).Want(t, 200)
	b.Post("/system/tokens", wanted).Want(t, 422, `id="p-name"`)
	for _, bad := range []url.Values{{"name": {"x"}, "role": {"king"}, "days": {"1"}}, {"name": {"x"}, "role": {"viewer"}, "days": {"-1"}}, {"name": {"a b"}, "role": {"viewer"}, "days": {"1"}}, {}} {
		b.Post("/system/tokens", bad).Want(t, 422)
	}
	wantBack(t, b.Post("/system/tokens/grafana/delete", nil), "/system/tokens?done=token-gone")
	program.Do("GET", "/api/v1/status", "", http.Header{"Authorization": {"Bearer " + secret}}).Want(t, 401)
}

func TestHostileBrowsersAreShownAsText(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	hostile := access.Peer{Addr: netip.MustParseAddr("198.51.100.7"), At: "127.0.0.1", Agent: "\"><script>alert(1)</script>\u202e" + strings.Repeat("x", 5000)}
	if _, _, err := site.Access.Login(t.Context(), hostile, "anna", webtest.Password, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/system/accounts", "/system/audit", "/me"} {
		if page := b.Get(path).Want(t, 200); strings.Contains(page.Body, "<script>alert") {
			t.Errorf("%s runs what a browser calls itself", path)
		}
	}
}

func TestLogsAreFilteredAndSearched(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Viewer)
	b.Get("/system/logs").Want(t, 200, "Nothing was said")
	now := time.Now()
	site.Edge.Log(
		logs.Record{Time: now, Level: "INFO", Message: "plan applied", Attrs: map[string]string{"rev": "7"}},
		logs.Record{Time: now, Level: "ERROR", Message: "origin <b>gone</b>", Attrs: map[string]string{"origin": "\"><script>alert(1)</script>"}},
	)
	b.Get("/system/logs").Want(t, 200, "plan applied", "origin &lt;b&gt;gone", "&lt;script&gt;")
	for query, want := range map[string]bool{"level=error": false, "level=info": true, "search=REV%3D7": true, "search=plan+gone": false, "process=control": false, "process=edge": true, "level=nonsense": true} {
		if got := strings.Contains(b.Get("/system/logs?"+query).Body, "plan applied"); got != want {
			t.Errorf("%s shows the line: %v, want %v", query, got, want)
		}
	}
}

func TestAuditIsPagedAndChecked(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Auditor)
	for i := range 120 {
		if err := site.Access.Record(access.Local(), access.Peer{Addr: netip.MustParseAddr("192.0.2.1")}, "test", fmt.Sprintf("entry-%d", i), "<i>x</i>"); err != nil {
			t.Fatal(err)
		}
	}
	page := b.Get("/system/audit").Want(t, 200, "entry-119", "the chain holds", "192.0.2.1", "&lt;i&gt;")
	older := regexp.MustCompile(`/system/audit\?before=\d+`).FindString(page.Body)
	if older == "" || strings.Contains(page.Body, "entry-0<") {
		t.Fatalf("120 entries are on one page")
	}
	b.Get(older).Want(t, 200, "entry-0", "Newest")
	b.Get("/system/audit?before=nonsense").Want(t, 200, "entry-119")
	b.Get("/system/audit?before=1").Want(t, 200, "Nothing was recorded")
}

// TestDiagnosticsPageListsTheBundle opens a bundle and compares it with what the page says is in it.
func TestDiagnosticsPageListsTheBundle(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	page := b.Get("/system/diagnostics").Want(t, 200)
	bundle := b.Get("/api/v1/diagnostics").Want(t, 200)
	archive, err := zip.NewReader(strings.NewReader(bundle.Body), int64(len(bundle.Body)))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range archive.File {
		_, name, _ := strings.Cut(f.Name, "/")
		files = append(files, name)
		if !strings.Contains(page.Body, "<code>"+name+"</code>") {
			t.Errorf("the page does not tell of %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`<code>(\w+\.json)</code>`).FindAllStringSubmatch(page.Body, -1) {
		if !slices.Contains(files, m[1]) {
			t.Errorf("the page tells of %s, which is not in the bundle", m[1])
		}
	}
}

func TestBackupRestoresThroughTheReview(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	b.Get("/system/backup").Want(t, 200, "no settings yet")
	site.Apply(t, webtest.Document)
	b.Get("/system/backup").Want(t, 200, "/api/v1/backup", `action="/changes/import"`)
	backup := b.Get("/api/v1/backup").Want(t, 200).Body
	other := strings.ReplaceAll(backup, "10.0.0.21", "10.0.0.99")
	upload(t, b, "/changes/import", map[string]string{"file": other}, nil).Want(t, 200, "10.0.0.99", `action="/changes/apply"`)
	upload(t, b, "/changes/import", map[string]string{"file": strings.ReplaceAll(backup, "1-65535", "0-70000")}, nil).Want(t, 422, "70000")
}

func TestOwnAccount(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "vera", access.Viewer)
	other := site.Browser(t, "otto", access.Viewer)
	b.Get("/me").Want(t, 200, "vera", "this browser")
	if strings.Contains(b.Get("/me").Body, "otto") {
		t.Error("somebody else's logins are shown")
	}
	logins, err := site.Access.Logins()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logins {
		if l.Account == "otto" {
			b.Post("/me/logins/"+l.ID+"/revoke", nil).Want(t, 404)
		}
	}
	other.Get("/me").Want(t, 200)
	b.Post("/me/password", url.Values{"newPassword": {"short"}}).Want(t, 422, `id="p-newPassword"`)
	wantBack(t, b.Post("/me/password", url.Values{"newPassword": {"another good one 5"}}), "/me?done=own-password")
	page := b.Post("/me/factor", nil).Want(t, 200, "<svg class=\"qr\"")
	enable := shownForm(t, page, "/me/factor/enable")
	enable.Set("code", "1")
	page = b.Post("/me/factor/enable", enable).Want(t, 422, `id="p-code"`)
	otpauth, err := url.Parse(shownForm(t, page, "/me/factor/enable").Get("otpauth"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(otpauth.Query().Get("secret"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	enable.Set("code", code)
	b.Post("/me/factor/enable", enable).Want(t, 200, "breakwater-recovery-codes.txt")
	b.Post("/me/recovery", nil).Want(t, 200, "breakwater-recovery-codes.txt")
	b.Get("/me").Want(t, 200, "8 recovery codes left")
	wantBack(t, b.Post("/me/factor/off", nil), "/me?done=factor-off")
	b.Post("/me/passkeys/none/remove", nil).Want(t, 303)
}

func TestPasskeyLoginRefusesWhatIsNone(t *testing.T) {
	site := webtest.Start(t)
	b := site.Stranger(t)
	b.Do("POST", "/login/passkey/begin", "{}", nil).Want(t, 409, "no-name")
	named := http.Header{"Host": {"localhost"}}
	begun := b.Do("POST", "/login/passkey/begin", "{}", named)
	if site.Access.Claimed() {
		begun.Want(t, 200, "challenge", "ceremony")
	}
	for _, body := range []string{"", "{}", `{"ceremony":"x","response":{}}`, "[1]", strings.Repeat("x", 100<<10)} {
		if page := b.Do("POST", "/login/passkey", body, named); page.Status < 400 || page.Status > 429 || b.Cookie != "" {
			t.Errorf("%.40s answers %d", body, page.Status)
		}
	}
}

// upload sends a form with files.
func upload(t *testing.T, b *webtest.Browser, path string, files map[string]string, fields url.Values) webtest.Page {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, content := range files {
		part, err := w.CreateFormFile(name, name+".pem")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write([]byte(content)) // memory takes everything
	}
	for name := range fields {
		if err := w.WriteField(name, fields.Get(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Do("POST", path, body.String(), http.Header{"Content-Type": {w.FormDataContentType()}})
}

func wantBack(t *testing.T, page webtest.Page, location string) {
	t.Helper()
	if page.Status != http.StatusSeeOther || page.Header.Get("Location") != location {
		t.Errorf("it leads to %d %q, want %q: %.1500s", page.Status, page.Header.Get("Location"), location, page.Body)
	}
}
