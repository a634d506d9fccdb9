package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// TestHealthy: a version stays if page, control and edge answer and the settings, if there are any, are in force.
func TestHealthy(t *testing.T) {
	b := newBox(t)
	healthy := func(wantCode int, wantText, page string) {
		t.Helper()
		expect(t, wantCode, wantText, "", "healthy", "--socket", filepath.Join(b.dir, "control.sock"), "--page", page)
	}
	broken := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer broken.Close()
	healthy(0, "Breakwater is healthy.", b.tls)
	expect(t, 0, "Applied as revision 1.", documentOne, "apply", "-")
	healthy(0, "Breakwater is healthy.", b.tls)
	healthy(1, "not healthy: the web page does not answer: 502 Bad Gateway", broken.URL)
	healthy(1, "not healthy: the web page does not answer: ", "https://"+freeAddress(t))
	b.edge.Stop()
	healthy(1, "not healthy: The data plane does not answer.", b.tls)
	b.edge.Restart() // without the plan, which control sends again
	expect(t, 0, "Breakwater is healthy.", "", "healthy", "--socket", filepath.Join(b.dir, "control.sock"), "--page", b.tls, "--within", "30s")
	expect(t, 1, "not healthy: control does not answer: ", "", "healthy", "--socket", filepath.Join(b.dir, "none.sock"))
}

// TestAVersionThatLosesTheOriginsIsNotHealthy: one of those that were up before has to be up. The reason is left for the
// version that comes back.
func TestAVersionThatLosesTheOriginsIsNotHealthy(t *testing.T) {
	site, machine := webtest.StartAppliance(t)
	report := filepath.Join(t.TempDir(), "unhealthy")
	healthy := func(wantCode int, wantText string) {
		t.Helper()
		expect(t, wantCode, wantText, "", "healthy", "--socket", filepath.Join(site.Dir, "c.sock"), "--page", site.URL, "--report", report)
	}
	origins := func(one, two bool) {
		site.Edge.Observe(status.Edge{Pools: []status.Pool{{Name: "games", Origins: []status.Origin{{Name: "one", Up: one, Checks: 3}, {Name: "two", Up: two, Checks: 3}}}}})
	}
	origins(true, true)
	machine.Runs(host.System{Version: webtest.Running, Slot: "A", Other: webtest.Newer})
	if _, ok := errors.AsType[*control.HostFailed](site.Control.Restart(t.Context())); !ok { // the test has no systemd
		t.Fatal("the machine was restarted")
	}
	machine.Runs(host.System{Version: webtest.Newer, Slot: "B", Other: webtest.Running})
	origins(false, true)
	healthy(0, "Breakwater is healthy.")
	origins(false, false)
	const reason = "not healthy: none of the origins that were up before is up: games/one, games/two"
	healthy(1, reason)
	var said control.Unhealthy
	content, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(content, &said)
	}
	if err != nil || !strings.HasSuffix(said.Reason, reason) {
		t.Errorf("the report is %+v, %v", said, err)
	}
}
