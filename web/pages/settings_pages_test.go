package pages_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// apply presses Apply on a review page.
func apply(t *testing.T, b *webtest.Browser, review webtest.Page, wantBack string) {
	t.Helper()
	review.Want(t, http.StatusOK, "This would change")
	done := b.Post("/changes/apply", shownForm(t, review, "/changes/apply"))
	if got := done.Header.Get("Location"); done.Status != http.StatusSeeOther || got != wantBack {
		t.Errorf("applied: status %d to %q, want 303 to %q: %.2000s", done.Status, got, wantBack, done.Body)
	}
}

func TestEveryPageOfTheSettingsRenders(t *testing.T) {
	paths := []string{"/services", "/services/new", "/origins", "/origins/new", "/changes", "/changes/import", "/system/network"}
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	for _, path := range paths {
		anna.Get(path).Want(t, http.StatusOK)
	}
	site.Apply(t, webtest.Document)
	paths = append(paths, "/services/everything/edit", "/services/new?copy=everything", "/services/everything/remove", "/services/everything/move/up",
		"/services/everything/test", "/origins/games/edit", "/changes/1")
	for _, down := range []bool{false, true} {
		if down {
			site.Edge.Stop()
		}
		for _, path := range paths {
			anna.Get(path).Want(t, http.StatusOK)
		}
	}
	for _, path := range []string{"/services/none/edit", "/services/none/test", "/origins/none/edit", "/changes/99", "/changes/x", "/services/new?copy=none"} {
		anna.Get(path).Want(t, http.StatusNotFound, "<h1>Not found</h1>", "<title>Not found")
	}
}

// TestWhatAFormShowsIsWhatItSends: sending a form back unchanged changes nothing.
func TestWhatAFormShowsIsWhatItSends(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, everythingSet)
	for _, path := range []string{"/services/web/edit", "/origins/games/edit", "/system/network", "/shield/settings", "/incidents/alerts"} {
		page := anna.Get(path).Want(t, http.StatusOK)
		anna.Post(path, shownForm(t, page, path)).Want(t, http.StatusOK, "Nothing: the settings are like this already.")
	}
}

const everythingSet = `{ "schema": 1,
  "edge": { "interfaces": ["wan0", "wan1"], "addresses": ["203.0.113.0/28", "2001:db8::10/128"] },
  "management": { "networks": ["127.0.0.0/8", "10.0.5.0/24"], "names": ["box.example.org"], "acme": { "email": "a@example.org" } },
  "dns": { "servers": ["192.0.2.53", "192.0.2.54:5353"] },
  "shield": { "mode": "monitor", "fragments": "drop", "bogons": true, "sensitivity": "high" },
  "alerts": { "webhooks": [ { "name": "a" }, { "name": "b", "kind": "slack" } ], "email": { "server": "mail.example.org", "tls": "starttls", "from": "a@example.org", "to": ["b@example.org", "c@example.org"], "user": "u" } },
  "pools": [ { "name": "games", "choice": "round-robin", "health": { "check": "tcp", "port": 99, "interval": "7s", "rise": 4 }, "sourceAddresses": ["10.0.0.2", "2001:db8:2::2"],
      "origins": [ { "address": "10.0.0.20", "state": "active", "weight": 3 }, { "name": "b", "address": "b.example.org", "record": "srv", "state": "drain", "maxSessions": 7 } ] } ],
  "services": [ { "name": "web", "protocols": ["tcp", "udp"], "addresses": ["203.0.113.4/32"], "ports": ["80", "1000-2000"], "pool": "games", "path": "auto",
      "tcpHeader": "v2", "udpHeader": "none", "headerTlvs": ["crc32c"], "transparent": true, "upstreams": ["198.51.100.0/24"],
      "timeouts": { "idle": "90m" }, "limits": { "maxSessions": 5, "maxAmplification": -1 },
      "shield": { "reflectors": "pass", "synCookies": "on", "synRate": 700, "packetRules": [ { "name": "a", "payload": "ff ff ?? 54", "action": "drop" },
        { "name": "b", "protocol": "udp", "minLength": 3, "maxLength": 900, "sourcePorts": "1-1023", "minTtl": 2, "maxTtl": 200, "action": "count" } ] } } ] }`

func TestAServiceFromTheFormToThePlan(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	values := shownForm(t, anna.Get("/services/new"), "/services/new")
	for name, value := range map[string]string{"name": "minecraft", "ports": "25565, 25570 - 25580", "pool": "+", "origin": "10.0.0.30:25566", "tcpHeader": "v2"} {
		values.Set(name, value)
	}
	review := anna.Post("/services/new", values)
	review.Want(t, http.StatusOK, "minecraft", "TCP header v2")
	apply(t, anna, review, "/services?done=applied")
	anna.Get("/services").Want(t, http.StatusOK, "25570-25580", "PROXY v2", "10.0.0.30:25566", "Not all of it comes here")
	plan := site.Edge.Plan()
	if last := plan.Services[len(plan.Services)-1]; last.Name != "minecraft" || plan.Pools[last.Pool].Name != "minecraft" || plan.Pools[last.Pool].Origins[0].FirstPort != 25566 {
		t.Errorf("the plan has %+v with pool %+v", last, plan.Pools[last.Pool])
	}
	apply(t, anna, anna.Get("/services/minecraft/move/up"), "/services?done=applied")
	apply(t, anna, anna.Get("/services/minecraft/remove"), "/services?done=applied")
	if plan := site.Edge.Plan(); len(plan.Services) != 1 {
		t.Errorf("after the removal the plan has %d services", len(plan.Services))
	}
	apply(t, anna, anna.Get("/origins/minecraft/remove"), "/origins?done=applied")
	anna.Get("/origins/games/remove").Want(t, http.StatusConflict, "everything")
}

// TestThePathOfAService chooses the kernel path, which is refused beside what only the user path does, and takes it back.
func TestThePathOfAService(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	const path = "/services/everything/edit"
	values := shownForm(t, anna.Get(path).Want(t, http.StatusOK, "kernel path, where it can be", "user path only"), path)
	if got := values.Get("path"); got != "auto" {
		t.Errorf("the form begins with the path %q, want auto", got)
	}
	values.Set("path", "kernel")
	values.Set("upstreams", "198.51.100.0/24")
	page := anna.Post(path, values).Want(t, http.StatusUnprocessableEntity, `id="p-path"`, "cannot read the PROXY header of upstreams")
	values = shownForm(t, page, path)
	if got := values.Get("path"); got != "kernel" {
		t.Errorf("the refused form has the path %q, want kernel", got)
	}
	values.Set("upstreams", "")
	apply(t, anna, anna.Post(path, values).Want(t, http.StatusOK, "kernel"), "/services?done=applied")
	if got := site.Edge.Plan().Services[0].Path; got != plan.PathKernel {
		t.Errorf("the plan has the path %q, want kernel", got)
	}
	values = shownForm(t, anna.Get(path), path)
	values.Set("path", "auto")
	apply(t, anna, anna.Post(path, values), "/services?done=applied")
	if got := site.Edge.Plan().Services[0].Path; got != plan.PathAuto {
		t.Errorf("the plan has the path %q, want auto", got)
	}
}

func TestABadServiceIsRefusedAtItsFields(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	for _, test := range []struct{ name, field, typed, problem string }{
		{"port beyond", "ports", "70000, <b>", "beyond the ports"},
		{"no ports", "ports", "", "is empty"},
		{"foreign address", "addresses", "192.0.2.1", "not within the edge addresses"},
		{"no address", "addresses", "x", "not an address"},
		{"name", "name", `"><script>`, "is not a name"},
		{"name of another", "name", "everything", "already"},
		{"pool", "pool", "none", "there is no pool"},
		{"timeout", "timeouts.idle", "soon", "not a duration"},
		{"limit", "limits.maxSessions", "many", "not a whole number"},
		{"header of another protocol", "udpHeader", "spp", "no udp"},
		{"upstream", "upstreams", "0.0.0.0/0", "everyone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			values := shownForm(t, anna.Get("/services/new"), "/services/new")
			values.Set("name", "web")
			values.Set("ports", "80")
			values.Set(test.field, test.typed)
			page := anna.Post("/services/new", values).Want(t, http.StatusUnprocessableEntity, `id="p-`+test.field+`"`, test.problem)
			again := shownForm(t, page, "/services/new")
			if got := again.Get(test.field); got != test.typed && test.field != "pool" {
				t.Errorf("%s: %q is not kept, the form has %q", test.field, test.typed, got)
			}
		})
	}
	if r, err := site.Control.Current(); err != nil || r.Number != 1 {
		t.Errorf("revision %d (%v), want 1: bad input changed something", r.Number, err)
	}
}

// TestAFullDiskKeepsWhatWasTyped: the page said that nothing was changed, and the change was gone.
func TestAFullDiskKeepsWhatWasTyped(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	// A directory in the place of the next plain file fails the commit after edge has taken the plan.
	if err := os.MkdirAll(filepath.Join(site.Dir, "state/revisions/000002.json/x"), 0o700); err != nil {
		t.Fatal(err)
	}
	document := strings.ReplaceAll(webtest.Document, "games", "arena")
	page := anna.Post("/changes/apply", url.Values{"base": {"1"}, "document": {document}, "back": {"/services"}, "reason": {"for the weekend"}})
	page.Want(t, http.StatusInternalServerError, "for the weekend", "arena", `action="/changes/apply"`)
	if plan := site.Edge.Plan(); plan.Pools[0].Name != "games" {
		t.Errorf("edge has the pool %s, want the one before", plan.Pools[0].Name)
	}
}

func TestOriginsAreAddedAndTakenOutWithoutScripts(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	const path = "/origins/games/edit"
	values := shownForm(t, anna.Get(path), path)
	values.Set("do", "add")
	values = shownForm(t, anna.Post(path, values).Want(t, http.StatusOK), path)
	values.Set("origins[2].address", "10.0.0.999")
	values.Set("sourceAddresses", "10.0.0.2; 127.0.0.1")
	page := anna.Post(path, values).Want(t, http.StatusUnprocessableEntity, `id="p-origins[2].address"`, `id="p-sourceAddresses"`, "cannot be a source address")
	values = shownForm(t, page, path)
	values.Set("origins[2].address", "10.0.0.22")
	values.Set("origins[2].weight", "5")
	values.Set("do", "remove 1")
	values = shownForm(t, anna.Post(path, values).Want(t, http.StatusOK), path)
	values.Set("name", "play")
	values.Set("sourceAddresses", "10.0.0.2, 10.0.0.3")
	apply(t, anna, anna.Post(path, values), "/origins?done=applied")
	plan := site.Edge.Plan()
	pool := plan.Pools[plan.Services[0].Pool]
	if pool.Name != "play" || len(pool.Origins) != 2 || pool.Origins[0].Address != "10.0.0.21" || pool.Origins[1].Weight != 5 || fmt.Sprint(pool.SourceAddresses) != "[10.0.0.2 10.0.0.3]" {
		t.Errorf("the plan has the pool %+v", pool)
	}
}

func TestAnOperatorDrainsButDoesNotEdit(t *testing.T) {
	site := webtest.Start(t)
	omar, vera := site.Browser(t, "omar", access.Operator), site.Browser(t, "vera", access.Viewer)
	site.Apply(t, webtest.Document)
	omar.Get("/origins").Want(t, http.StatusOK, "Drain")
	page := omar.Post("/origins/games/games-2/state", url.Values{"state": {"drain"}}).Want(t, http.StatusSeeOther)
	if got := page.Header.Get("Location"); got != "/origins?done=origin-drain" {
		t.Errorf("it leads to %s", got)
	}
	if o := site.Edge.Plan().Pools[0].Origins[1]; o.State != "drain" {
		t.Errorf("the origin is %s", o.State)
	}
	if r, err := site.Control.Current(); err != nil || r.Author != "omar" || r.Reason != "games-2: drain" {
		t.Errorf("the revision is %+v, %v", r, err)
	}
	omar.Post("/origins/games/none/state", url.Values{"state": {"drain"}}).Want(t, http.StatusNotFound)
	omar.Post("/origins/games/games-2/state", url.Values{"state": {"gone"}}).Want(t, http.StatusUnprocessableEntity)
	omar.Get("/origins/games/edit").Want(t, http.StatusForbidden)
	vera.Post("/origins/games/games-2/state", url.Values{"state": {"active"}}).Want(t, http.StatusForbidden)
	for _, path := range []string{"/services", "/origins", "/changes", "/changes/1"} {
		page := vera.Get(path).Want(t, http.StatusOK)
		for _, offered := range []string{"/new", "/edit", "/remove", "/state", "/import", "/rollback", "/test"} {
			if strings.Contains(page.Body, offered+`"`) {
				t.Errorf("%s offers %s to a viewer", path, offered)
			}
		}
	}
}

func TestTheTestShowsWhatTheOriginSaw(t *testing.T) {
	site := webtest.Start(t)
	omar := site.Browser(t, "omar", access.Operator)
	site.Apply(t, webtest.Document)
	site.Edge.Observe(status.Edge{Pools: []status.Pool{{Name: "games", Origins: []status.Origin{{Name: "games-1", Address: "10.0.0.20"}, {Name: "games-2", Address: "10.0.0.21"}}}}})
	site.Edge.Answer(func(try plan.Try) (status.Trial, error) {
		if strings.HasPrefix(try.Address, "10.0.0.21") {
			return status.Trial{Address: try.Address, Error: "The origin refused.", Reason: status.OriginRefused}, nil
		}
		return status.Trial{Address: try.Address, Connected: true, ConnectMS: 1.5, HeaderSent: []byte("\r\n\r\n\x00\r\nQUIT\n"), HeaderText: "PROXY v2 from " + try.Client.String(), Received: []byte("<i>hello</i>\x00\xff")}, nil
	})
	omar.Post("/services/everything/test", nil).Want(t, http.StatusOK, "connected in 1.5 ms", "PROXY v2 from 192.0.2.1:40000", "55 49 54 0a", "3c 69 3e 68", "The origin refused.")
	omar.Post("/services/none/test", nil).Want(t, http.StatusNotFound)
	site.Edge.Stop()
	omar.Post("/services/everything/test", nil).Want(t, http.StatusServiceUnavailable)
}

// TestKeepNeedsANewConnection: the first press comes over the connection that made the change, which is closed for it;
// the second one comes over a new one.
func TestKeepNeedsANewConnection(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	other := site.Browser(t, "otto", access.Admin)
	site.Apply(t, webtest.Document)
	other.Get("/").Want(t, http.StatusOK) // a connection from before the change
	values := shownForm(t, anna.Get("/system/network"), "/system/network")
	values.Set("addresses", "203.0.113.10")
	review := anna.Post("/system/network", values).Want(t, http.StatusOK, "This can cut you off")
	apply(t, anna, review, "/system/network")
	anna.Get("/").Want(t, http.StatusOK, "A change is waiting to be kept", "2001:db8::10")
	here := url.Values{"here": {"/services"}}
	other.Post("/changes/keep", here).Want(t, http.StatusConflict, "press once more")
	page := other.Post("/changes/keep", here).Want(t, http.StatusSeeOther)
	if got := page.Header.Get("Location"); got != "/services?done=kept" {
		t.Errorf("it leads to %s", got)
	}
	other.Post("/changes/keep", here).Want(t, http.StatusConflict, "There is no change to keep")
	other.Post("/changes/revert", url.Values{"here": {"https://evil.example/"}}).Want(t, http.StatusConflict, "There is no change", `href="/"`)
	if n := len(site.Edge.Plan().Steering.Addresses); n != 1 {
		t.Errorf("the kept plan has %d addresses", n)
	}
}

// TestKeepIsForTheChangeThatThePageShowed: it kept whatever waited by then, such as a change of somebody else.
func TestKeepIsForTheChangeThatThePageShowed(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	propose := func(author, pool string) {
		t.Helper()
		_, err := site.Control.Propose(t.Context(), []byte(strings.ReplaceAll(webtest.Document, "games", pool)), control.Meta{Author: author, Confirm: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
	}
	propose("anna", "arena")
	page := anna.Get("/")
	keep, revert := shownForm(t, page, "/changes/keep"), shownForm(t, page, "/changes/revert")
	if err := site.Control.Revert(t.Context(), "its time was over"); err != nil {
		t.Fatal(err)
	}
	propose("boris", "lobby")
	anna.Post("/changes/keep", keep).Want(t, http.StatusConflict, "There is no change to keep")
	anna.Post("/changes/revert", revert).Want(t, http.StatusConflict, "There is no change to keep")
	if p := site.Control.Pending(); p == nil || p.Author != "boris" {
		t.Fatalf("what waits is %+v, want the change of boris", p)
	}
	anna.Post("/changes/keep", shownForm(t, anna.Get("/"), "/changes/keep")).Want(t, http.StatusSeeOther)
}

func TestRevertAndASecondEditMeanwhile(t *testing.T) {
	site := webtest.Start(t)
	anna, otto := site.Browser(t, "anna", access.Admin), site.Browser(t, "otto", access.Admin)
	site.Apply(t, webtest.Document)
	values := shownForm(t, anna.Get("/services/everything/edit"), "/services/everything/edit")
	values.Set("ports", "1-1000")
	review := anna.Post("/services/everything/edit", values)
	form := shownForm(t, review, "/changes/apply")
	form.Set("confirm", "on")
	anna.Post("/changes/apply", form).Want(t, http.StatusSeeOther)
	busy := otto.Get("/services/everything/remove")
	otto.Post("/changes/apply", shownForm(t, busy, "/changes/apply")).Want(t, http.StatusConflict, "Another change is in the way", "anna")
	otto.Post("/changes/revert", url.Values{"here": {"/services"}}).Want(t, http.StatusSeeOther)
	otto.Get("/services?done=reverted").Want(t, http.StatusOK, "Reverted.")
	if p := site.Edge.Plan(); p.Routes[0].LastPort != 65535 {
		t.Errorf("after the revert the ports go to %d", p.Routes[0].LastPort)
	}
	apply(t, anna, review, "/services?done=applied")
	otto.Post("/changes/apply", shownForm(t, busy, "/changes/apply")).Want(t, http.StatusConflict, "1-1000", "Nothing of what you typed is lost")
}

func TestRollBackAndImport(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	site.Apply(t, strings.ReplaceAll(webtest.Document, "everything", "some"))
	anna.Get("/changes/2").Want(t, http.StatusOK, "Service some")
	anna.Get("/changes/1").Want(t, http.StatusOK, "Roll back to this")
	file := anna.Get("/changes/1/document").Want(t, http.StatusOK, `"everything"`)
	if !strings.Contains(file.Header.Get("Content-Disposition"), "breakwater-revision-1.json") {
		t.Errorf("the file is called %s", file.Header.Get("Content-Disposition"))
	}
	apply(t, anna, anna.Get("/changes/1/rollback"), "/changes?done=applied")
	if r, err := site.Control.Current(); err != nil || r.Number != 3 || r.Reason != "roll back to revision 1" || string(r.Document) != file.Body {
		t.Errorf("after the roll back: %d %q, %v", r.Number, r.Reason, err)
	}
	anna.Post("/changes/import", url.Values{"document": {""}}).Want(t, http.StatusUnprocessableEntity, "Choose a file or paste")
	wrong := strings.Replace(webtest.Document, `"1-65535"`, `"0-70000"`, 1)
	page := anna.Post("/changes/import", url.Values{"document": {wrong}}).Want(t, http.StatusUnprocessableEntity, "services[0].ports[0]")
	if shownForm(t, page, "/changes/import").Get("document") != wrong {
		t.Error("the document that was pasted is not kept")
	}
	anna.Post("/changes/import", url.Values{"document": {`{"schema": 1, "nonsense": "<script>alert(1)</script>"}`}}).Want(t, http.StatusUnprocessableEntity, "nonsense", "&lt;script&gt;")
	review := anna.Post("/changes/import", url.Values{"document": {strings.ReplaceAll(webtest.Document, "everything", "uploaded")}})
	apply(t, anna, review, "/changes?done=applied")
}
