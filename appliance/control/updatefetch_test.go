package control

import (
	"crypto/ed25519"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/host"
	"breakwater/appliance/plan"
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

// TestServersOfThisBox: nothing is fetched from any address that the box has, on whichever interface; from its networks it is.
func TestServersOfThisBox(t *testing.T) {
	var c Control
	c.wanted = &plan.Plan{Steering: plan.Steering{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.8/29")}}}
	guard := func(a netip.Addr) error {
		return c.guardServer(t.Context(), "tcp", netip.AddrPortFrom(a, 443).String(), nil)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own := map[netip.Addr]bool{netip.MustParseAddr("203.0.113.9"): true}
	for _, a := range all {
		own[netip.MustParsePrefix(a.String()).Addr()] = true
	}
	for a := range own {
		if guard(a) == nil || guard(netip.AddrFrom16(a.As16())) == nil {
			t.Errorf("the box may fetch from its own address %s", a)
		}
		next := a.Next()
		if special := refuseServer(next, nil, ""); special != nil || own[next] || next == netip.MustParseAddr("203.0.113.10") {
			continue
		}
		if err := guard(next); err != nil {
			t.Errorf("%s, beside the box: %v", next, err)
		}
	}
}

func TestRefuseServer(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("203.0.113.10/32"), netip.MustParsePrefix("2001:db8::/64")}
	tests := []struct{ address, want string }{
		{"198.51.100.7", ""}, {"10.0.0.1", ""}, {"2001:db8:1::1", ""},
		{"127.0.0.1", "is loopback"}, {"::1", "is loopback"}, {"::ffff:127.0.0.1", "is loopback"}, {"0.0.0.0", "is unspecified"}, {"::", "is unspecified"},
		{"169.254.169.254", "is link-local"}, {"fe80::1%eth0", "is link-local"}, {"224.0.0.1", "is multicast"}, {"ff02::1", "is multicast"}, {"255.255.255.255", "is "},
		{"203.0.113.10", "is this box's own"}, {"::ffff:203.0.113.10", "is this box's own"}, {"2001:db8::5", "is this box's own"},
	}
	for _, test := range tests {
		err := refuseServer(netip.MustParseAddr(test.address), own, "where no update is fetched from")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.address, err, test.want)
		}
	}
}
