package pages_test

import (
	"net/url"
	"strings"
	"testing"

	"breakwater/appliance/access"
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
