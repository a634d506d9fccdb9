package host

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"breakwater/appliance/settings"
)

var update = flag.Bool("update", false, "write the golden files")

// machine is settings with this host, and whatever else; they have no problems.
func machine(t testing.TB, host string, rest ...string) settings.Settings {
	t.Helper()
	s, problems := settings.Read([]byte(`{ "schema": 1, "pools": [], "services": [], "host": ` + host + strings.Join(append([]string{""}, rest...), ", ") + ` }`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

// TestFiles holds what settings make to testdata.
func TestFiles(t *testing.T) {
	edge := `"edge": { "interfaces": ["wan0"], "addresses": [] }`
	tests := []struct {
		name string
		s    settings.Settings
	}{
		{"nothing", settings.Settings{}},
		{"everything", machine(t, `{ "name": "box.example.org", "timeServers": ["ntp.example.org", "192.0.2.123", "2001:db8::123"], "interfaces": [
			{ "name": "wan0", "mac": "52:54:00:00:00:02", "addresses": ["198.51.100.66/26", "2001:db8:f::10/64"], "gateways": ["198.51.100.65", "fe80::1"], "mtu": 1500 },
			{ "name": "lan0", "dhcp": "both", "addresses": ["10.1.0.2/16"] },
			{ "name": "lan0.5", "vlan": 5, "parent": "lan0", "addresses": ["10.5.0.2/24"], "mtu": 1400 },
			{ "name": "bond0", "bond": "802.3ad", "members": ["eth2", "eth3"], "dhcp": "ipv4", "mtu": 9000 },
			{ "name": "bond0.20", "vlan": 20, "parent": "bond0", "dhcp": "ipv6", "routes": [ { "to": "2001:db8:5::/48", "via": "fe80::5", "metric": 50 } ] },
			{ "name": "eth3", "mac": "52:54:00:00:00:03" } ] }`,
			edge, `"dns": { "servers": ["192.0.2.53", "[2001:db8::53]:5353"] }`)},
		{"provider", machine(t, `{ "interfaces": [ { "name": "wan0", "addresses": ["192.0.2.10/32"], "gateways": ["198.51.100.1"], "routes": [ { "to": "10.0.0.0/8", "via": "198.51.100.2" } ] } ] }`, edge)},
		{"unlisted", machine(t, `{ "interfaces": [ { "name": "v5", "vlan": 5, "parent": "eth9", "dhcp": "none" }, { "name": "b", "bond": "active-backup", "members": ["eth1"] } ] }`)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := Files(test.s)
			var b strings.Builder
			for _, name := range slices.Sorted(maps.Keys(files)) {
				fmt.Fprintf(&b, "== %s\n%s", name, files[name])
			}
			golden(t, test.name+".golden", b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestFirewall(t *testing.T) {
	ports := []Port{{Name: "enp1s0", MAC: "52:54:00:00:00:01"}, {Name: "enp2s0", MAC: "52:54:00:00:00:02"}}
	const (
		begin = "flush chain inet breakwater-host inside\nflush chain inet breakwater-host page\n"
		all   = "add rule inet breakwater-host inside goto box\n"
		page  = "add rule inet breakwater-host page tcp dport 443 accept\n"
	)
	edge := func(names string) string { return `"edge": { "interfaces": [` + names + `], "addresses": [] }` }
	tests := []struct {
		name  string
		s     settings.Settings
		ports []Port
		want  string
	}{
		{"nothing", settings.Settings{}, ports, all + page},
		{"all but the edge", machine(t, `{}`, edge(`"enp2s0"`)), ports, `add rule inet breakwater-host inside iifname != { "enp2s0" } goto box` + "\n" + page},
		{"no others", machine(t, `{}`, edge(`"enp2s0", "enp1s0"`)), ports, all + page},
		{"ports are not known yet", machine(t, `{}`, edge(`"enp2s0"`)), nil, all + page},
		{"another is listed", machine(t, `{ "interfaces": [ { "name": "v5", "vlan": 5, "parent": "enp2s0" } ] }`, edge(`"enp2s0"`)), ports[1:], `add rule inet breakwater-host inside iifname != { "enp2s0" } goto box` + "\n" + page},
		{"the edge is a bond of all", machine(t, `{ "interfaces": [ { "name": "bond0", "bond": "802.3ad", "members": ["enp1s0", "enp2s0"] } ] }`, edge(`"bond0"`)), ports, all + page},
		{"the edge is a VLAN", machine(t, `{ "interfaces": [ { "name": "v5", "vlan": 5, "parent": "enp2s0" } ] }`, edge(`"v5"`)), ports[1:], `add rule inet breakwater-host inside iifname != { "v5" } goto box` + "\n" + page},
		{"named", machine(t, `{}`, edge(`"enp2s0"`), `"management": { "interfaces": ["v5", "enp2s0"] }`), ports, `add rule inet breakwater-host inside iifname { "enp2s0", "v5" } goto box` + "\n" + page},
		{"another name of a MAC", machine(t, `{ "interfaces": [ { "name": "wan0", "mac": "52:54:00:00:00:02" } ] }`, edge(`"wan0"`)), ports, `add rule inet breakwater-host inside iifname != { "enp2s0" } goto box` + "\n" + page},
		{"networks", machine(t, `{}`, `"management": { "networks": ["10.0.0.0/8", "192.0.2.1", "10.2.0.0/16", "10.0.0.0/8", "2001:db8::/32"] }`), ports, all +
			"add rule inet breakwater-host page ip saddr { 10.0.0.0/8, 192.0.2.1 } tcp dport 443 accept\nadd rule inet breakwater-host page ip6 saddr { 2001:db8::/32 } tcp dport 443 accept\n"},
		{"networks of one family", machine(t, `{}`, `"management": { "networks": ["2001:db8::/32"] }`), ports, all + "add rule inet breakwater-host page ip6 saddr { 2001:db8::/32 } tcp dport 443 accept\n"},
		{"networks with ACME", machine(t, `{}`, `"management": { "networks": ["10.0.0.0/8"], "names": ["box.example.org"], "acme": { "email": "a@example.org" } }`), ports, all + page},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(begin+test.want, Firewall(test.s, test.ports)); diff != "" {
				t.Errorf("nft (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	s := machine(t, `{ "interfaces": [ { "name": "lan0", "mac": "52:54:00:00:00:01" }, { "name": "lan1", "mac": "52:54:00:00:00:09" },
		{ "name": "v5", "vlan": 5, "parent": "enp2s0" }, { "name": "v6", "vlan": 6, "parent": "enp7s0" }, { "name": "bond0", "bond": "802.3ad", "members": ["enp8s0"] } ] }`)
	ports := []Port{{Name: "enp1s0", MAC: "52:54:00:00:00:01"}, {Name: "enp2s0", MAC: "52:54:00:00:00:02"}}
	want := []string{"enp7s0", "enp8s0", "lan1 (52:54:00:00:00:09)"}
	if diff := cmp.Diff(want, Missing(s, ports)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if got := Missing(settings.Settings{}, ports); len(got) > 0 {
		t.Errorf("of nothing: got %q", got)
	}
}

func TestExpected(t *testing.T) {
	s := machine(t, `{ "interfaces": [ { "name": "lan0", "mac": "52:54:00:00:00:01", "addresses": ["192.0.2.2/24"] }, { "name": "gone", "addresses": ["192.0.3.2/24"] },
		{ "name": "a.6", "vlan": 6, "parent": "lan0.5" }, { "name": "lan0.5", "vlan": 5, "parent": "lan0", "dhcp": "none" }, { "name": "gone.5", "vlan": 5, "parent": "gone" },
		{ "name": "bond0", "bond": "802.3ad", "members": ["enp2s0"], "dhcp": "ipv4" } ] }`)
	ports := []Port{{Name: "enp1s0", MAC: "52:54:00:00:00:01"}, {Name: "enp2s0", MAC: "52:54:00:00:00:02"}}
	want := []Expected{{"a.6", true, false}, {"bond0", true, false}, {"enp2s0", false, true}, {"enp1s0", false, true}, {"lan0.5", true, true}}
	if diff := cmp.Diff(want, expected(s, ports), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("expected (-want +got):\n%s", diff)
	}
}
