package pages_test

import (
	"net/http"
	"testing"

	"breakwater/appliance/access"
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
		anna.Get(path).Want(t, http.StatusNotFound)
	}
}

// TestWhatAFormShowsIsWhatItSends: sending a form back unchanged changes nothing.
func TestWhatAFormShowsIsWhatItSends(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, everythingSet)
	for _, path := range []string{"/services/web/edit", "/origins/games/edit", "/system/network"} {
		page := anna.Get(path).Want(t, http.StatusOK)
		anna.Post(path, shownForm(t, page, path)).Want(t, http.StatusOK, "Nothing: the settings are like this already.")
	}
}

const everythingSet = `{ "schema": 1,
  "edge": { "interfaces": ["wan0", "wan1"], "addresses": ["203.0.113.0/28", "2001:db8::10/128"] },
  "management": { "networks": ["127.0.0.0/8", "10.0.5.0/24"], "names": ["box.example.org"], "acme": { "email": "a@example.org" } },
  "dns": { "servers": ["192.0.2.53", "192.0.2.54:5353"] },
  "pools": [ { "name": "games", "choice": "round-robin", "health": { "check": "tcp", "port": 99, "interval": "7s", "rise": 4 },
      "origins": [ { "address": "10.0.0.20", "state": "active", "weight": 3 }, { "name": "b", "address": "b.example.org", "record": "srv", "state": "drain", "maxSessions": 7 } ] } ],
  "services": [ { "name": "web", "protocols": ["tcp", "udp"], "addresses": ["203.0.113.4/32"], "ports": ["80", "1000-2000"], "pool": "games", "path": "auto",
      "tcpHeader": "v2", "udpHeader": "none", "headerTlvs": ["crc32c"], "transparent": true, "upstreams": ["198.51.100.0/24"],
      "timeouts": { "idle": "90m" }, "limits": { "maxSessions": 5, "maxAmplification": -1 } } ] }`
