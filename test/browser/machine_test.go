//go:build e2e

package browser

import (
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/test/lab"
	"breakwater/web/webtest"
)

// machinePages begins the addresses of pages that only the appliance has.
const machinePages = "/system/network/interfaces/"

// machineSet is a machine with a port of each kind.
const machineSet = `{ "schema": 1,
  "edge": { "interfaces": ["players"], "addresses": ["203.0.113.10/32"] },
  "management": { "interfaces": ["office"] },
  "host": { "name": "breakwater-fra1", "timeServers": ["192.0.2.123"], "interfaces": [
    { "name": "office", "mac": "52:54:00:00:00:01", "addresses": ["192.0.2.10/24"], "gateways": ["192.0.2.1"], "mtu": 1400,
      "routes": [ { "to": "198.51.100.0/24", "via": "192.0.2.2", "metric": 10 } ] },
    { "name": "bond0", "bond": "802.3ad", "members": ["enp2s0f0", "enp2s0f1"] },
    { "name": "players", "vlan": 20, "parent": "bond0", "addresses": ["203.0.113.2/24", "2001:db8::2/64"] },
    { "name": "backup", "addresses": ["10.0.9.1/24"] } ] },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "games" } ] }`

// appliance runs a site that is a whole machine, with a stand-in for edge that sees its ports.
func appliance(t testing.TB) (*box, *webtest.Site) {
	t.Helper()
	site, _ := webtest.StartAppliance(t)
	port := func(name, mac, driver string, speed int, addresses ...string) status.Interface {
		i := status.Interface{Name: name, MAC: mac, Up: true, Running: speed > 0, Speed: speed, Driver: driver}
		for _, a := range addresses {
			i.Addresses = append(i.Addresses, netip.MustParsePrefix(a))
		}
		return i
	}
	site.Edge.Observe(status.Edge{Interfaces: []status.Interface{
		port("enp1s0", "52:54:00:00:00:01", "igb", 1000, "192.0.2.10/24", "127.0.0.1/8", "2001:db8:1234:5678:5054:ff:fe00:1/64", "fe80::5054:ff:fe00:1/64"),
		port("enp2s0f0", "52:54:00:00:00:02", "ixgbe", 10000), port("enp2s0f1", "52:54:00:00:00:02", "ixgbe", 10000),
		port("bond0", "52:54:00:00:00:02", "bonding", 20000, "fe80::5054:ff:fe00:2/64"),
		port("players", "52:54:00:00:00:02", "802.1Q VLAN Support", 20000, "203.0.113.2/24"),
		port("enp3s0", "52:54:00:00:00:05", "igb", 0),
	}})
	b := &box{Ready: lab.Ready{URL: site.URL}, access: lab.Access{Socket: filepath.Join(site.Dir, "c.sock"), Certificate: filepath.Join(site.Dir, "certificate.pem")}}
	b.connect(t)
	return b, site
}

// TestTheMachine: what only the appliance shows, which no lab is.
func TestTheMachine(t *testing.T) {
	b, site := appliance(t)
	p := b.signIn(t, "anna", "admin")
	p.visit("/welcome")
	p.press("2 Management")
	p.see("A fixed address for this box")
	p.inspect("machine-welcome")
	site.Apply(t, machineSet)
	pages := []string{"/system/network", "/system", "/system/update", "/system/power", machinePages + "new?kind=vlan&port=bond0", machinePages + "new?kind=bond", machinePages + "new?kind=port&port=enp3s0",
		machinePages + "bond0/edit", machinePages + "players/edit", machinePages + "backup/remove"}
	for _, path := range allPaths(t) {
		if strings.HasPrefix(path, machinePages) && path != machinePages+"new" {
			pages = append(pages, path)
		}
	}
	for _, path := range pages {
		name := "machine-" + strings.NewReplacer("?", "-", "&", "-", "=", "-").Replace(pageName(path))
		t.Run(name, func(t *testing.T) {
			defer func(outer testing.TB) { p.t = outer }(p.t)
			p.t = t
			p.visit(path)
			if p.code() != http.StatusOK {
				t.Errorf("status %d: %.500s", p.code(), p.text())
			}
			p.inspect(name)
		})
	}
	t.Run("a problem", func(t *testing.T) {
		defer func(outer testing.TB) { p.t = outer }(p.t)
		p.t = t
		p.visit(machinePages + "new?kind=port&port=enp3s0")
		p.fill("addresses", "192.0.2.77")
		p.press("Review the change")
		if problem := p.problemAt("addresses"); !strings.Contains(problem, "length of its network") {
			t.Errorf("at the addresses stands %q", problem)
		}
		p.inspect("machine-problem")
		p.fill("addresses", "192.0.2.77/24")
		p.press("Review the change")
		p.see("Interface enp3s0", "192.0.2.77/24", "This can cut you off")
		p.inspect("machine-review")
	})
	t.Run("a viewer", func(t *testing.T) {
		vera := b.signIn(t, string(access.Viewer), string(access.Viewer))
		vera.t = t
		vera.visit("/system/network")
		vera.see("Ports of this machine")
		vera.accessible("machine-viewer") // what cannot be used is not within reach of the keyboard
		vera.shoot("machine-viewer-light-1280")
	})
}
