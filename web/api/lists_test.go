package api_test

import (
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/lists/mmdbtest"
	"breakwater/web/api"
)

const plain = "text/plain; charset=utf-8"

// TestLists: a list is uploaded, its broken lines are told with their numbers, and the former one stays.
func TestLists(t *testing.T) {
	b := newBox(t)
	ci, eye := b.token("ci", access.Admin), b.token("eye", access.Viewer)
	const path = "/api/v1/shield/lists/drop"
	ci.call("PUT", path, "192.0.2.1\n", "Content-Type", plain).want(404, "not-found")
	ci.call("PUT", "/api/v1/settings", `{ "schema": 1, "edge": { "interfaces": [], "addresses": [] }, "management": { "networks": ["127.0.0.0/8"] }, "pools": [], "services": [],
		"shield": { "lists": [ { "name": "drop" } ], "countries": { "deny": ["AQ"] } } }`).want(200, "")
	ci.call("PUT", path, "192.0.2.1\n", "Content-Type", plain).want(200, "", `"entries":1`)
	b.wantAudit("list-upload", "drop", "1 entries")
	ci.call("PUT", path, "192.0.2.1\nexample.org\n\n1.2.3.4/40\n", "Content-Type", plain).want(422, "list-refused", "line 2", "line 4", "example.org")
	ci.call("PUT", path, "192.0.2.1\n", "Content-Type", "application/x-www-form-urlencoded").want(415, "media-type")
	eye.call("PUT", path, "192.0.2.1\n", "Content-Type", plain).want(403, "forbidden")
	eye.call("PUT", "/api/v1/shield/geo", "x", "Content-Type", octets).want(403, "forbidden")
	ci.call("PUT", "/api/v1/shield/geo", "not one", "Content-Type", octets).want(422, "list-refused")
	file := mmdbtest.Write("Test-Country", "free for all", map[string]any{"198.51.100.0/24": mmdbtest.Map{"country_code": "AQ"}})
	ci.call("PUT", "/api/v1/shield/geo", string(file), "Content-Type", octets).want(200, "", "free for all")
	b.wantAudit("geo-upload", "countries", "Test-Country")
	eventually(t, "both are in use", func() bool {
		var all api.ListFiles
		eye.call("GET", "/api/v1/shield/lists", "").want(200, "").into(&all)
		return len(all.Lists) == 1 && len(all.Geo) == 2 && all.Lists[0].InUse && all.Geo[0].InUse && !all.Geo[1].InUse && all.Lists[0].Lines == 2
	})
	if got := len(b.Edge.Lists().V4); got != 5 {
		t.Errorf("the table of edge has %d spans", got)
	}
	ci.call("PUT", path, strings.Repeat("x", 65<<20), "Content-Type", plain).want(413, "too-large")
}
