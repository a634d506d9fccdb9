package pages_test

import (
	"encoding/base32"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/net/html"

	"breakwater/appliance/access"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// shownForm is what the form with this action would send if somebody only pressed its button.
func shownForm(t *testing.T, page webtest.Page, action string) url.Values {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page.Body))
	if err != nil {
		t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Data == "form" && attribute(node, "action") == action {
			return fieldsOf(node)
		}
	}
	t.Fatalf("the page has no form for %s: %.2000s", action, page.Body)
	return nil
}

func fieldsOf(form *html.Node) url.Values {
	values := url.Values{}
	for node := range form.Descendants() {
		name := attribute(node, "name")
		switch {
		case name == "" || node.Type != html.ElementNode || node.Data == "button":
		case node.Data == "select":
			for option := range node.Descendants() {
				if option.Data == "option" && (has(option, "selected") || !values.Has(name)) {
					values.Set(name, attribute(option, "value"))
				}
			}
		case node.Data == "textarea":
			if node.FirstChild != nil {
				values.Set(name, node.FirstChild.Data)
			}
		case slices.Contains([]string{"checkbox", "radio"}, attribute(node, "type")) && !has(node, "checked"):
		default:
			values.Add(name, attribute(node, "value"))
		}
	}
	return values
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(node *html.Node, name string) bool {
	return slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// wide is a box with one interface for players and one for the operator.
func wide(site *webtest.Site) {
	site.Edge.Observe(status.Edge{Interfaces: []status.Interface{
		{Name: "lo", Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		{Name: "lan0", Up: true, Running: true, Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}},
		{Name: "wan0", Up: true, Running: true, Speed: 10000, Driver: "ixgbe", Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/24"), netip.MustParsePrefix("2001:db8::10/64")}},
	}})
}

// press sends the wizard as it is shown, with some answers and a button.
func press(t *testing.T, b *webtest.Browser, page webtest.Page, button string, answers ...string) webtest.Page {
	t.Helper()
	values := shownForm(t, page, "/welcome")
	for i := 0; i < len(answers); i += 2 {
		values.Set(answers[i], answers[i+1])
	}
	values.Set("go", button)
	return b.Post("/welcome", values)
}

func TestClaimToFirstPacket(t *testing.T) {
	site := webtest.Start(t)
	wide(site)
	b := site.Stranger(t)
	for _, path := range []string{"/", "/welcome", "/login"} {
		page := b.Get(path)
		for page.Status == http.StatusSeeOther && page.Header.Get("Location") != "/claim" {
			page = b.Get(page.Header.Get("Location"))
		}
		if page.Header.Get("Location") != "/claim" {
			t.Errorf("%s of an unclaimed box leads to %d %s, want /claim", path, page.Status, page.Header.Get("Location"))
		}
	}
	claim := shownForm(t, b.Get("/claim").Want(t, 200), "/claim")
	claim.Set("code", strings.ToLower(site.Access.SetupCode()))
	claim.Set("account", "anna")
	claim.Set("newPassword", webtest.Password)
	if page := b.Post("/claim", claim); page.Status != http.StatusSeeOther || page.Header.Get("Location") != "/welcome" {
		t.Fatalf("the claim leads to %d %s: %s", page.Status, page.Header.Get("Location"), page.Body)
	}
	page := b.Get("/welcome").Want(t, 200)
	page = press(t, b, page, "to-3").Want(t, 200, "wan0", "203.0.113.10", "10000")
	page = press(t, b, page, "next").Want(t, 200, "Minecraft Java", "TeamSpeak", "Everything")
	page = press(t, b, page, "next", "preset", "minecraft-java").Want(t, 200, "haproxy-protocol", "25565")
	page = press(t, b, page, "next", "origin", "10.0.0.20").Want(t, 200, "203.0.113.10", "PROXY header v2")
	apply := shownForm(t, page, "/changes/apply")
	if page = b.Post("/changes/apply", apply); page.Header.Get("Location") != "/welcome/done" {
		t.Fatalf("applying leads to %d %s: %s", page.Status, page.Header.Get("Location"), page.Body)
	}
	b.Get("/welcome/done").Want(t, 200, "press Keep", "/api/v1/backup")
	p := site.Edge.Plan()
	if len(p.Services) != 1 || p.Services[0].Name != "minecraft-java" || p.Services[0].TCPHeader != "v2" || p.Routes[0].FirstPort != 25565 || len(p.Routes[0].Addresses) != 2 {
		t.Errorf("edge runs %+v", p)
	}
	if b.Get("/claim").Header.Get("Location") != "/" {
		t.Error("a claimed box can be claimed")
	}
}

func TestClaimTellsWhatIsWrongAtItsField(t *testing.T) {
	for _, c := range []struct{ name, code, account, password, problem string }{
		{"code", "AAAA-BBBB-CCCC", "anna", webtest.Password, "p-code"},
		{"account", "", "a b", webtest.Password, "p-account"},
		{"password", "", "anna", "kurz-9", "p-newPassword"},
		{"nothing", " ", "", "", "p-code"},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := webtest.Start(t)
			b := site.Stranger(t)
			code := c.code
			if code == "" {
				code = site.Access.SetupCode()
			}
			page := b.Post("/claim", url.Values{"code": {code}, "account": {c.account}, "newPassword": {c.password}})
			if page.Status < 400 || page.Status > 499 || !strings.Contains(page.Body, `id="`+c.problem+`"`) {
				t.Errorf("status %d, no problem %s in %s", page.Status, c.problem, page.Body)
			}
			if c.account != "" && !strings.Contains(page.Body, `value="`+c.account+`"`) {
				t.Error("the account that was typed is lost")
			}
			if strings.Contains(page.Body, c.password) && c.password != "" {
				t.Error("the password is sent back")
			}
		})
	}
}

func TestDeadSetupCodeSaysWhatToDo(t *testing.T) {
	site := webtest.Start(t)
	b := site.Stranger(t)
	for range 30 {
		b.Post("/claim", url.Values{"code": {"AAAA-BBBB-CCCC"}, "account": {"anna"}, "newPassword": {webtest.Password}})
	}
	b.Get("/claim").Want(t, 200, "Restart the box")
	if site.Access.SetupCode() != "" {
		t.Error("the code is still alive")
	}
}

func TestWizardKeepsEveryAnswer(t *testing.T) {
	site := webtest.Start(t)
	wide(site)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "skip").Want(t, 200)
	page = press(t, b, page, "next", "networks", "nonsense").Want(t, 422, "nonsense", `id="p-networks"`)
	page = press(t, b, page, "next", "networks", "198.51.100.0/24, 2001:db8:5::/64").Want(t, 200, "wan0")
	page = press(t, b, page, "next", "addresses", "203.0.113.300").Want(t, 422, `id="p-addresses"`, "203.0.113.300")
	page = press(t, b, page, "next", "addresses", "203.0.113.99").Want(t, 200)
	page = press(t, b, page, "next", "preset", "fivem").Want(t, 200, "sv_endpoints")
	page = press(t, b, page, "next", "origin", "203.0.113.99", "ports", "0-99999").Want(t, 422, `id="p-ports"`, `id="p-origin"`)
	page = press(t, b, page, "next", "origin", "fivem.example.org", "port", "30121", "ports", "30120").Want(t, 200, "fivem.example.org", "198.51.100.0/24", "203.0.113.99")
	page = press(t, b, page, "back").Want(t, 200, `value="fivem.example.org"`, `value="30121"`)
	page = press(t, b, page, "to-2").Want(t, 200, `value="198.51.100.0/24, 2001:db8:5::/64"`)
	page = press(t, b, page, "to-6").Want(t, 200, "fivem.example.org")
	document, problems := settings.Read([]byte(shownForm(t, page, "/changes/apply").Get("document")))
	if len(problems) > 0 || document.Pools[0].Health.Port != 30121 || len(document.Management.Networks) != 2 || len(document.Edge.Addresses) != 3 {
		t.Errorf("the summary applies %+v, %v", document, problems)
	}
}

func TestWizardChangesOnlyWhatItAsks(t *testing.T) {
	site := webtest.Start(t)
	site.Apply(t, webtest.Document)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "to-6").Want(t, 200)
	document, _ := settings.Read([]byte(shownForm(t, page, "/changes/apply").Get("document")))
	if changes := settings.Diff(document, mustRead(t, webtest.Document)); len(changes) > 0 {
		t.Errorf("going through it changes %v", changes)
	}
	page = press(t, b, page, "to-5", "preset", "everything")
	page = press(t, b, page, "next", "origin", "10.0.0.99").Want(t, 200)
	document, _ = settings.Read([]byte(shownForm(t, page, "/changes/apply").Get("document")))
	if pools := document.Pools; len(pools) != 2 || len(pools[0].Origins) != 2 || document.Services[0].Pool != "everything" {
		t.Errorf("a second service makes %+v", document)
	}
}

func TestWizardOutlivesItsLogin(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "to-2")
	values := shownForm(t, page, "/welcome")
	values.Set("networks", "198.51.100.0/24")
	values.Set("go", "next")
	b.Post("/logout", nil)
	b.Cookie = ""
	page = b.Post("/welcome", values).Want(t, 401, "198.51.100.0/24")
	login := shownForm(t, page, "/login")
	login.Set("login.name", "anna")
	login.Set("login.password", webtest.Password)
	page = b.Post("/login", login).Want(t, 200, "198.51.100.0/24")
	page = b.Post("/welcome", shownForm(t, page, "/welcome")).Want(t, 200)
	press(t, b, page, "to-2").Want(t, 200, `value="198.51.100.0/24"`)
}

func TestSummaryLeadsToWhatIsWrong(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "to-5")
	page = press(t, b, page, "next", "origin", "10.0.0.20").Want(t, 200, "to-3", "addresses")
	if strings.Contains(page.Body, ">Apply<") {
		t.Error("settings with a problem can be applied")
	}
	press(t, b, page, "to-3").Want(t, 200, `name="addresses"`)
}

func TestWizardTestsTheOrigin(t *testing.T) {
	site := webtest.Start(t)
	wide(site)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "to-4")
	page = press(t, b, page, "next", "preset", "minecraft-java")
	press(t, b, page, "test").Want(t, 422, `id="p-origin"`)
	var asked plan.Try
	site.Edge.Answer(func(request plan.Try) (status.Trial, error) {
		asked = request
		return status.Trial{Address: "10.0.0.20:25570", Connected: true, ConnectMS: 1.5, HeaderText: "v2 192.0.2.1:40000", Received: []byte("<script>alert(1)</script>\x00")}, nil
	})
	press(t, b, page, "test", "origin", "10.0.0.20", "port", "25570").Want(t, 200, "10.0.0.20:25570", "&lt;script&gt;alert(1)", "v2 192.0.2.1:40000", `value="10.0.0.20"`)
	if asked.Address != "10.0.0.20:25570" || asked.Header != "v2" || asked.Edge != netip.MustParseAddrPort("203.0.113.10:25570") || len(asked.Send) == 0 {
		t.Errorf("edge was asked for %+v", asked)
	}
	site.Edge.Answer(func(plan.Try) (status.Trial, error) { return status.Trial{Error: "connection refused"}, nil })
	press(t, b, page, "test", "origin", "10.0.0.20").Want(t, 200, "connection refused", "does not reach")
	for header, advice := range map[string]string{"v2": "must be told to take it", "": "may wait for one"} {
		site.Edge.Answer(func(plan.Try) (status.Trial, error) {
			return status.Trial{Address: "10.0.0.20:25565", Connected: true, HeaderText: header, Error: "The origin closed the connection without an answer."}, nil
		})
		hungUp := press(t, b, page, "test", "origin", "10.0.0.20").Want(t, 200, "The box reaches the server, but the server hung up", advice)
		if strings.Contains(hungUp.Body, "does not reach") {
			t.Error("a server that hangs up counts as out of reach")
		}
	}
	site.Edge.Stop()
	press(t, b, page, "test", "origin", "10.0.0.20").Want(t, 200, "Nothing was tried")
}

func TestSecondFactorInTheWizard(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	page := press(t, b, b.Get("/welcome"), "totp").Want(t, 200, "<svg class=\"qr\"")
	page = press(t, b, page, "enable", "code", "000000").Want(t, 422, `id="p-code"`)
	otpauth, err := url.Parse(shownForm(t, page, "/welcome").Get("otpauth"))
	if err != nil {
		t.Fatal(err)
	}
	secret := otpauth.Query().Get("secret")
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err != nil {
		t.Fatalf("the secret %q: %v", secret, err)
	}
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	page = press(t, b, page, "enable", "code", code).Want(t, 200, "data:text/plain", "breakwater-recovery-codes.txt")
	if n := strings.Count(page.Body, "<li><code>"); n != 8 {
		t.Errorf("%d recovery codes are shown, want 8", n)
	}
	accounts, err := site.Access.Accounts()
	if i := slices.IndexFunc(accounts, func(a access.Account) bool { return a.Name == "anna" }); err != nil || i < 0 || !accounts[i].TOTP {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
	b.Get("/welcome").Want(t, 200, "has a second factor")
}

func TestWizardWithoutEdgeAndOnlyForAdmins(t *testing.T) {
	site := webtest.Start(t)
	admin := site.Browser(t, "anna", access.Admin)
	operator := site.Browser(t, "otto", access.Operator)
	site.Edge.Stop()
	page := admin.Get("/welcome").Want(t, 200)
	for _, step := range []string{"to-2", "to-3", "to-4", "to-5", "to-6", "to-99", "to-x", "nonsense"} {
		press(t, admin, page, step).Want(t, 200)
	}
	admin.Post("/welcome", url.Values{}).Want(t, 200)
	operator.Get("/welcome").Want(t, 403)
	operator.Post("/welcome", url.Values{"step": {"1"}}).Want(t, 403)
	operator.Get("/welcome/done").Want(t, 403)
}

func mustRead(t *testing.T, document string) settings.Settings {
	t.Helper()
	s, problems := settings.Read([]byte(document))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}
