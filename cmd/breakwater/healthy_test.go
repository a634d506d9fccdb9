package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
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
