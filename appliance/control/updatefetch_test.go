package control

import (
	"crypto/ed25519"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/host"
	"breakwater/appliance/store"
	"breakwater/appliance/update"
)

// TestTheDailyLook: a condition tells of a version that is newer than all that is here, and goes when it is no more.
func TestTheDailyLook(t *testing.T) {
	dir := t.TempDir()
	s, _, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const offered = "20261129.090833"
	broken := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			http.NotFound(w, r)
			return
		}
		name := "breakwater_" + offered
		_ = update.Write(w, key, update.Release{Version: offered, Schema: 1}, fstest.MapFS{ // the reader stops before its end
			name + ".efi": {}, name + ".root." + strings.Repeat("1", 32) + ".raw": {Data: make([]byte, 8<<20)}, name + ".verity." + strings.Repeat("2", 32) + ".raw.gz": {}})
	}))
	defer server.Close()
	runs := host.System{Version: "20261101.000000", Slot: "A"}
	c, err := New(Options{Store: s, Edge: edgelink.New(filepath.Join(dir, "none")), Update: UpdateOptions{Dir: filepath.Join(dir, "update"), Key: public,
		System: func() host.System { return runs }, Dial: (&net.Dialer{}).DialContext}})
	if err != nil {
		t.Fatal(err)
	}
	codes := func() string {
		c.updates.look(t.Context())
		var list []string
		for _, each := range c.conditions.List() {
			list = append(list, each.Code)
		}
		return strings.Join(list, " ")
	}
	want := func(want string) {
		t.Helper()
		if got := codes(); got != want {
			t.Errorf("conditions are %q, want %q", got, want)
		}
	}
	want("") // no URL
	document := `{ "schema": 1, "updates": { "url": "` + server.URL + `" }, "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" } ] } ], "services": [ { "name": "all", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "games" } ] }`
	if _, err := s.Commit(store.Revision{Document: []byte(document)}); err != nil {
		t.Fatal(err)
	}
	want(updateAvailable)
	broken = true
	want(updateAvailable + " " + updateUnknown)
	broken = false
	want(updateAvailable)
	runs.Other = offered // it is installed
	want("")
	runs = host.System{Version: offered, Slot: "B"}
	want("")
	if c.updates.release != nil || c.updates.state != UpdateNone {
		t.Errorf("the look has received %+v", c.updates.release)
	}
}
