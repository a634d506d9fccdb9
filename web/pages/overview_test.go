package pages_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// hostile is what names may hold: nothing of it may become markup.
const hostile = `<img src=x onerror=alert(1)>"'`

// observed is an edge with something of everything.
func observed() status.Edge {
	return status.Edge{
		Version: "test", Started: time.Now().Add(-time.Hour),
		Conditions: []health.Condition{{Code: "return-path", Subject: hostile, Severity: health.Warning, Title: "Look at it", Detail: "Do this."}},
		Services:   []status.Service{{Name: "everything", Sessions: 3, Flows: 2, BytesToOrigin: 5e6}},
		Pools: []status.Pool{{Name: "games", Origins: []status.Origin{
			{Name: "games-1", Address: "10.0.0.20", State: plan.Active, Up: true, Sessions: 5},
			{Name: "games-2", Address: "10.0.0.21", State: plan.Active, Why: hostile},
		}}},
		Reasons: []status.ReasonCounter{
			{Reason: status.NoService, Code: 610, Protocol: plan.TCP, Count: 1234},
			{Reason: status.RateLimit, Code: 634, Protocol: plan.UDP, Count: 99},
			{Reason: status.Normal, Code: 200, Protocol: plan.TCP, Count: 7},
		},
		Limits:     plan.Limits{MaxSessions: 5000, MaxFlows: 5000, MaxFlowsPerSource: 1024, NewFlowsPerSec: 20000},
		Interfaces: []status.Interface{{Name: "wan0", MAC: "02:00:00:00:00:01", Up: true, Running: true, Speed: 1000, Driver: "ixgbe", Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/24")}}},
	}
}

func TestOverview(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Viewer)
	b.Get("/").Want(t, 200, "Not set up yet", "no services yet")

	site.Apply(t, webtest.Document)
	b.Get("/").Want(t, 200, `class="verdict good"`, "everything")

	site.Edge.Observe(observed())
	page := b.Get("/").Want(t, 200, `class="verdict warn"`, "Do this.", "1\u202f234", "No service takes this port", "games-2", "wan0", "1\u202f000 Mbit/s")
	if strings.Contains(page.Body, "<img") {
		t.Error("a name became markup")
	}
	if strings.Contains(page.Body, "Ended normally") {
		t.Error("a normal end is among the drops")
	}

	site.Edge.Stop()
	b.Get("/").Want(t, 200, `class="verdict bad"`, "The data plane does not answer")
}

func TestOverviewTellsRates(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Viewer)
	site.Apply(t, webtest.Document)
	for i := range 5 { // control samples once a second
		edge := observed()
		edge.Services[0].BytesToOrigin += uint64(i) * 3e6
		site.Edge.Observe(edge)
		time.Sleep(500 * time.Millisecond)
	}
	page := b.Get("/")
	if !strings.Contains(page.Body, "MB/s") {
		t.Errorf("no rate of traffic on the page: %s", page.Body)
	}
}
