package pages_test

import (
	"net/url"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// attacked is what edge tells in an attack.
func attacked(mode plan.ShieldMode) status.Edge {
	edge := observed()
	edge.Shield = status.Shield{
		Mode: mode,
		Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"}, {Interface: "wan1", Mode: "generic", Why: hostile},
			{Interface: "wan2", Mode: "none", Why: "no such device"}},
		Vectors: []status.VectorCounter{
			{Service: "everything", Vector: status.VectorUDP, Packets: 4000, Bytes: 4000 * 90},
			{Service: "everything", Vector: status.VectorACK, Packets: 2000, Bytes: 2000 * 60, Dropped: 1900, Armed: true},
			{Vector: status.VectorFragment, Packets: 3, Bytes: 4500, Would: 2},
		},
		Rules: []status.RuleCounter{{Service: "everything", Rule: "short", Action: plan.RuleDrop, Packets: 4321}},
		Would: []status.ReasonCounter{{Reason: status.Bogon, Code: status.Bogon.Code(), Protocol: "icmp", Count: 77}},
	}
	return edge
}

func TestTheShieldInAnAttack(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	anna.Get("/shield").Want(t, 200, "The filter is off", "None was seen yet")
	site.Apply(t, webtest.Document)
	site.Edge.Observe(attacked(plan.ShieldOn))
	page := anna.Get("/shield").Want(t, 200, `class="verdict warn"`, "Under pressure", "armed for everything", "in the driver", "in the kernel", "not attached",
		"no such device", "TCP out of nowhere", "no service", "What would have been dropped", "77", "4\u202f321", `href="/shield/mode/monitor"`, "Armed now for everything")
	if strings.Contains(page.Body, "<img") {
		t.Error("what edge said became markup")
	}
	if first, second := strings.Index(page.Body, "TCP out of nowhere"), strings.Index(page.Body, "Datagrams of new clients"); first > second {
		t.Error("what presses is not the first in the table")
	}
	site.Edge.Observe(attacked(plan.ShieldMonitor))
	anna.Get("/shield").Want(t, 200, "watching only", "Would be dropped", "has not taken that yet", "watching")
	edge := observed()
	edge.Shield = status.Shield{Mode: plan.ShieldOn, Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"}}}
	site.Edge.Observe(edge)
	anna.Get("/shield").Want(t, 200, `class="verdict good"`, "Quiet")
	site.Edge.Stop()
	anna.Get("/shield").Want(t, 200, `class="verdict bad"`, "Nobody knows")

	vera := site.Browser(t, "vera", access.Viewer)
	if page := vera.Get("/shield").Want(t, 200); strings.Contains(page.Body, "/shield/mode/") || strings.Contains(page.Body, "/shield/settings") {
		t.Error("a viewer is offered to change the filter")
	}
}

// TestTheDefenceOfCookies: the row of SYN cookies tells for which services they are armed, always and never, and what came of them.
func TestTheDefenceOfCookies(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	three := strings.Replace(webtest.Document, `"services": [`, `"services": [
		{ "name": "forever", "protocols": ["tcp"], "ports": ["1000"], "pool": "games", "shield": { "synCookies": "on" } },
		{ "name": "never", "protocols": ["tcp"], "ports": ["2000"], "pool": "games", "shield": { "synCookies": "off" } },
		{ "name": "voice", "protocols": ["udp"], "ports": ["3000"], "pool": "games", "shield": { "synCookies": "off" } },`, 1)
	site.Apply(t, three)
	edge := observed()
	edge.Shield = status.Shield{Mode: plan.ShieldOn, Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"}}}
	row := func(want ...string) {
		t.Helper()
		site.Edge.Observe(edge)
		page := anna.Get("/shield").Want(t, 200).Body
		_, page, _ = strings.Cut(page, `<ul class="conditions defences">`)
		for item := range strings.SplitSeq(page, "<li>") {
			if !strings.Contains(item, "Floods of connection attempts") {
				continue
			}
			for _, text := range want {
				if !strings.Contains(item, text) {
					t.Errorf("the row is without %q: %s", text, item)
				}
			}
			return
		}
		t.Error("there is no row")
	}
	row("on</span>", "Always for forever. Not for never.</b>")
	edge.Shield.Vectors = []status.VectorCounter{{Service: "forever", Vector: status.VectorSYN, Packets: 9, Armed: true}}
	row("on</span>")
	anna.Get("/shield").Want(t, 200, `class="verdict good"`) // that is how it should be
	edge.Shield.Cookies = status.Cookies{Sent: 12345, Accepted: 40, Refused: 7}
	edge.Shield.Vectors = append(edge.Shield.Vectors, status.VectorCounter{Service: "everything", Vector: status.VectorSYN, Packets: 90000, Armed: true})
	row("armed</span>", "Armed now for everything.", "12\u202f345 sent, 40 came back right, 7 wrong, since")
	edge.Conditions = []health.Condition{{Code: "no-syn-cookies", Severity: health.Warning, Title: "None", Detail: "Why"}}
	row("off</span>", "Not possible now")
	edge.Conditions = nil
	edge.Shield.Mode = plan.ShieldMonitor
	row("watching</span>", "only watches")
	edge.Shield.Mode = plan.ShieldOff
	row("off</span>")
	edge.Shield.Mode = plan.ShieldOn
	site.Apply(t, strings.Replace(webtest.Document, `"pool": "games", "tcp`, `"pool": "games", "shield": { "synCookies": "off" }, "tcp`, 1))
	row("off</span>", "Not for any service")
	site.Apply(t, webtest.Document)
	edge.Shield.Vectors = nil
	row("resting</span>", "12\u202f345 sent")
}

// TestTheDefenceOfKnownClients: the row tells how many are known, and how many sources had to share.
func TestTheDefenceOfKnownClients(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	edge := observed()
	edge.Shield = status.Shield{Mode: plan.ShieldOn}
	site.Edge.Observe(edge)
	anna.Get("/shield").Want(t, 200, "Players who were here", "No address is known yet")
	edge.Shield.Sources = status.ShieldSources{Known: 1}
	site.Edge.Observe(edge)
	anna.Get("/shield").Want(t, 200, "One address is known.</b>")
	edge.Shield.Sources = status.ShieldSources{Known: 1234, Kept: 56789, Shared: 43, Evicted: 21}
	site.Edge.Observe(edge)
	anna.Get("/shield").Want(t, 200, "1\u202f234 addresses are known.</b>", "56\u202f789 sources were measured one by one, 43 new clients of others together, and 21 sources forgotten")
	site.Edge.Stop()
	anna.Get("/shield").Want(t, 200, "Players who were here")
}

func TestTheModeOfTheFilter(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	apply(t, anna, anna.Get("/shield/mode/monitor").Want(t, 200, "Filter, mode", "monitor"), "/shield?done=applied")
	if got := site.Edge.Plan().Shield.Mode; got != plan.ShieldMonitor {
		t.Errorf("the plan has mode %q, want monitor", got)
	}
	anna.Get("/shield/mode/loud").Want(t, 422, "loud")
	values := shownForm(t, anna.Get("/shield/settings"), "/shield/settings")
	if got := values.Get("shield.mode"); got != "monitor" {
		t.Errorf("the form begins with %q, want monitor", got)
	}
	values.Set("shield.bogons", "on")
	values.Set("shield.fragments", "some")
	page := anna.Post("/shield/settings", values).Want(t, 422, `id="p-shield.fragments"`)
	values = shownForm(t, page, "/shield/settings")
	values.Set("shield.fragments", "drop")
	values.Set("shield.mode", "on")
	apply(t, anna, anna.Post("/shield/settings", values), "/shield?done=applied")
	if got := site.Edge.Plan().Shield; got.Mode != plan.ShieldOn || got.Fragments != plan.FragmentsDrop || !got.Bogons {
		t.Errorf("the plan has %+v", got)
	}
}

// TestPacketRules adds, moves and removes rules with the buttons of the form, as somebody without scripts does.
func TestPacketRules(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	site.Edge.Observe(attacked(plan.ShieldOn))
	const path = "/services/everything/edit"
	const rule = "shield.packetRules"
	values := shownForm(t, anna.Get(path), path)
	press := func(do string) {
		t.Helper()
		values.Set("do", do)
		values = shownForm(t, anna.Post(path, values).Want(t, 200, `<details class="more" id="rules" open>`), path)
		values.Del("do")
	}
	press("rule-add")
	values.Set(rule+"[0].name", "short")
	values.Set(rule+"[0].maxLength", "3")
	press("rule-add")
	values.Set(rule+"[1].name", "everything")
	press("rule-add") // left empty
	page := anna.Post(path, values).Want(t, 422, `id="p-shield.packetRules[1].action"`, "matches every packet", "matched 4\u202f321 packets")
	values = shownForm(t, page, path)
	values.Set(rule+"[1].payload", "ffffffff 54")
	values.Set(rule+"[1].minTtl", "many")
	values = shownForm(t, anna.Post(path, values).Want(t, 422, `id="p-shield.packetRules[1].minTtl"`), path)
	values.Set(rule+"[1].minTtl", "")
	press("rule-up 2")
	if got := values.Get(rule + "[0].name"); got != "everything" {
		t.Errorf("the second rule was moved up, and the first is %q", got)
	}
	press("rule-down 1")
	press("rule-up 2")
	apply(t, anna, anna.Post(path, values).Want(t, 200, "Packet rule", "short"), "/services?done=applied")
	rules := site.Edge.Plan().Services[0].Shield.PacketRules
	if len(rules) != 2 || rules[0].Name != "everything" || len(rules[0].Bytes) != 5 || rules[1].MaxLength != 3 {
		t.Fatalf("the plan has the rules %+v", rules)
	}
	values = shownForm(t, anna.Get(path), path)
	press("rule-remove 1")
	apply(t, anna, anna.Post(path, values), "/services?done=applied")
	if rules := site.Edge.Plan().Services[0].Shield.PacketRules; len(rules) != 1 || rules[0].Name != "short" {
		t.Errorf("the plan has the rules %+v", rules)
	}
	anna.Post(path, url.Values{"base": {"3"}, "rules": {"99999"}, "do": {"rule-remove 99999"}}).Want(t, 422)
}
