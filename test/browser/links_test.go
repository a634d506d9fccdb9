//go:build e2e

package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/status"
	"breakwater/test/lab"
	"breakwater/web/webtest"
)

// TestLinks: nothing on a page leads nowhere, and nobody is offered what their role may not open.
func TestLinks(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin")
	b.furnish(t)
	for _, role := range []string{"admin", "operator", "auditor", "viewer"} {
		t.Run(role, func(t *testing.T) {
			if role != "admin" {
				p = b.signIn(t, role, role)
			}
			defer func(outer testing.TB) { p.t = outer }(p.t)
			p.t = t
			for _, link := range p.links(t) {
				if code := ask[int](p, fmt.Sprintf(`fetch(%q, {redirect: "manual"}).then(r => r.type === "opaqueredirect" ? 303 : r.status)`, link)); code >= http.StatusBadRequest {
					t.Errorf("a link to %s is answered with %d", link, code)
				}
			}
		})
	}
}

// links are those on all pages that this person finds from the first one.
func (p *browser) links(t testing.TB) []string {
	t.Helper()
	seen := []string{"/"}
	for i := 0; i < len(seen); i++ {
		if !strings.HasPrefix(p.kind(seen[i]), "text/html") {
			continue
		}
		list, err := json.Marshal(seen[i])
		must(t, err)
		for _, link := range ask[[]string](p, fmt.Sprintf(`fetch(%s).then(r => r.text()).then(html => [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("a[href^='/']")].map(a => a.getAttribute("href").split("#")[0]))`, list)) {
			if !slices.Contains(seen, link) {
				seen = append(seen, link)
			}
		}
	}
	t.Logf("found %d pages", len(seen))
	return seen
}

// TestWithoutEdge: every page says that the data plane does not answer and can be read all the same, and one can go back
// to the settings with which it did.
func TestWithoutEdge(t *testing.T) {
	edge := edgetest.Start(t)
	edge.Observe(status.Edge{}, session(0))
	b, _ := standIn(t, edge)
	p := b.signIn(t, "anna", "admin")
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": "victor", "role": "viewer", "password": password}, nil)
	settings := strings.Replace(webtest.Document, `"pools": [`, `"pools": [ { "name": "spare", "origins": [ { "address": "10.0.0.30" } ] },`, 1)
	must(t, b.put(settings))
	must(t, b.put(strings.ReplaceAll(settings, "1-65535", "1-1000")))
	edge.Stop()
	p.lose(true)
	for _, path := range paths(t) {
		if path == "/login" || !strings.HasPrefix(p.kind(path), "text/html") {
			continue
		}
		p.visit(path)
		if p.code() != http.StatusOK {
			t.Errorf("%s: status %d: %.300s", path, p.code(), p.text())
		}
		p.see("The data plane does not answer")
	}
	p.visit("/")
	p.inspect("overview-without-edge")
	p.visit("/changes/1/rollback")
	p.press("Apply")
	p.see("Rolled back. The data plane does not answer")
	edge.Restart()
	b.inForce(t)
	if plan := edge.Plan(); plan.Revision != 3 {
		t.Errorf("edge runs revision %d, want the roll back, 3", plan.Revision)
	}
}
