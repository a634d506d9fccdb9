package pages_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

func TestShield(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	b.Get("/shield").Want(t, 200, "Nothing was turned away yet", "Nobody is banned", "1\u202f048\u202f576")
	site.Apply(t, webtest.Document)
	site.Edge.Observe(observed())
	page := b.Get("/shield").Want(t, 200, "Too many new flows in a second", "Ended normally", "5\u202f000 in force", "everything", "3 times")
	if strings.Contains(page.Body, "/shield/limits") {
		t.Error("an operator is offered to change limits")
	}
	site.Edge.Stop()
	b.Get("/shield").Want(t, 200, "The data plane does not answer", "Nobody is banned")
}

func TestBans(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	site.Apply(t, webtest.Document)
	b.Get("/shield?client=198.18.0.7").Want(t, 200, `value="198.18.0.7"`)
	page := b.Post("/shield/bans", url.Values{"client": {"198.18.0.7"}, "for": {"24h"}, "reason": {"cheats"}}).Want(t, 303)
	b.Get(page.Header.Get("Location")).Want(t, 200, "Banned.", "198.18.0.7/32", "cheats", "olga", "One ban in force")
	if bans := site.Edge.Bans(); len(bans) != 1 || time.Until(bans[0].Until) < 23*time.Hour {
		t.Errorf("edge has the bans %+v", bans)
	}
	b.Post("/shield/bans", url.Values{"client": {"2001:db8:1::/64"}, "for": {"ever"}}).Want(t, 303)
	b.Get("/shield?search=CHEAT").Want(t, 200, "198.18.0.7/32", `value="CHEAT"`)
	b.Get("/shield?search=nobody").Want(t, 200, "No ban matches")
	page = b.Post("/shield/bans/remove", url.Values{"prefix": {"198.18.0.7/32"}}).Want(t, 303)
	b.Get(page.Header.Get("Location")).Want(t, 200, "The ban is removed", "for ever")
	b.Post("/shield/bans/remove", url.Values{"prefix": {"198.18.0.7/32"}}).Want(t, 303)
	b.Post("/shield/bans/remove", url.Values{"prefix": {"x"}}).Want(t, 400)
}

func TestRefusedBansKeepWhatWasTyped(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	site.Apply(t, webtest.Document)
	for name, c := range map[string]struct{ client, lasts, want string }{
		"own address": {"127.0.0.0/8", "1h", "the address that you come from"},
		"origin":      {"10.0.0.20", "1h", "holds 10.0.0.20, origin games-1"},
		"too wide":    {"0.0.0.0/0", "1h", "too wide"},
		"no address":  {hostile, "1h", "is not an address or network"},
		"empty":       {"", "1h", "is not an address or network"},
		"no time":     {"198.18.0.1", "soon", "Choose how long"},
	} {
		page := b.Post("/shield/bans", url.Values{"client": {c.client}, "for": {c.lasts}, "reason": {"typed before"}}).Want(t, 422, c.want, "typed before", `aria-invalid="true"`)
		if strings.Contains(page.Body, "<img") {
			t.Errorf("%s: what was typed became markup", name)
		}
	}
	if n := len(site.Edge.Bans()); n != 0 {
		t.Errorf("edge has %d bans", n)
	}
}

func TestManyBans(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	for i := range 205 {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, 0, byte(i)}), 32)
		if err := site.Control.Ban(t.Context(), prefix, time.Time{}, "", "test"); err != nil {
			t.Fatal(err)
		}
	}
	b.Get("/shield").Want(t, 200, "205 bans in force", "The first 200 of 205 are shown")
}

func TestLimits(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	b.Get("/shield/limits").Want(t, 200, "no services yet")
	site.Apply(t, webtest.Document)
	b.Get("/shield/limits").Want(t, 200, "Service everything", `name="services[0].limits.maxSessions"`, `name="base" value="1"`)
	typed := url.Values{"base": {"1"}, "limits.maxSessions": {"5 000"}, "services[0].limits.name": {"everything"}, "services[0].limits.maxFlows": {"77"}}
	b.Post("/shield/limits", typed).Want(t, 200, "This would change", "5000", "77", `action="/changes/apply"`)

	typed.Set("services[0].limits.maxAmplification", "500")
	typed.Set("limits.newFlowsPerSecond", "many")
	b.Post("/shield/limits", typed).Want(t, 422, "is not a whole number", "500 is out of bounds", `value="many"`, `value="500"`, `value="77"`)
	typed.Set("limits.newFlowsPerSecond", "")
	b.Post("/shield/limits", typed).Want(t, 422, "500 is out of bounds", `id="p-services[0].limits.maxAmplification"`)
	typed.Set("base", "x")
	b.Post("/shield/limits", typed).Want(t, 400)
}

// TestLimitsOfAServiceThatMoved sends a form that was made when the services had another order.
func TestLimitsOfAServiceThatMoved(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	site.Apply(t, strings.Replace(webtest.Document, `"services": [`, `"services": [ { "name": "first", "protocols": ["tcp"], "ports": ["25565"], "pool": "games" },`, 1))
	typed := url.Values{"base": {"1"}, "services[0].limits.name": {"everything"}, "services[0].limits.maxFlows": {"-5"}}
	b.Post("/shield/limits", typed).Want(t, 422, `id="p-services[0].limits.maxFlows"`)
}

func TestEveryReasonHasWords(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "vera", access.Viewer)
	edge := observed()
	edge.Reasons = nil
	for r := range status.ReasonCount {
		edge.Reasons = append(edge.Reasons, status.ReasonCounter{Reason: r, Code: r.Code(), Count: 1})
	}
	site.Edge.Observe(edge)
	page := b.Get("/shield").Want(t, 200)
	for r := range status.ReasonCount {
		if !strings.Contains(page.Body, fmt.Sprintf("title=%q", r)) || strings.Contains(page.Body, "reason."+r.String()) {
			t.Errorf("%s has no row or no words", r)
		}
	}
}
