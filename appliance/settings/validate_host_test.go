package settings

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestValidateHost reads the smallest document with a host, or something else, in it.
func TestValidateHost(t *testing.T) {
	const (
		lan   = `{ "name": "lan0", "addresses": ["192.0.2.10/24"] }`
		bond  = `{ "name": "bond0", "bond": "802.3ad", "members": ["eth2", "eth3"] }`
		vlan  = `{ "name": "lan0.5", "vlan": 5, "parent": "lan0", "dhcp": "none" }`
		names = ` is not the name of a network interface; it is 1 to 15 letters, digits, dots, hyphens and underscores, like "eth0"`
	)
	interfaces := func(list ...string) string { return `"host": { "interfaces": [` + strings.Join(list, ", ") + `] }` }
	at := func(fields string) string { return interfaces(`{ "name": "lan0", ` + fields + ` }`) }
	tests := []struct {
		name, add string
		want      []string
	}{
		{"a port", interfaces(lan), nil},
		{"everything", interfaces(lan, bond, vlan, `{ "name": "eth2" }`, `{ "name": "eth3", "mac": "52:54:00:00:00:03" }`, `{ "name": "b5", "vlan": 5, "parent": "bond0", "dhcp": "both" }`), nil},
		{"VLAN in a VLAN", interfaces(lan, vlan, `{ "name": "lan0.5.6", "vlan": 6, "parent": "lan0.5" }`), nil},
		{"VLAN on a port that is not listed", interfaces(`{ "name": "v5", "vlan": 4094, "parent": "eth9" }`), nil},

		// names
		{"machine", `"host": { "name": "Box-1.example.org" }`, nil},
		{"machine with an underscore", `"host": { "name": "my_box" }`, []string{`host.name: "my_box" is not the name of a machine; it is letters, digits and hyphens, at most 64 in all, like "breakwater" or "box.example.org"`}},
		{"machine of 65", `"host": { "name": "` + strings.Repeat("a", 60) + `.abcd" }`, []string{`host.name: "` + strings.Repeat("a", 60) + `…" is not the name of a machine; it is letters, digits and hyphens, at most 64 in all, like "breakwater" or "box.example.org"`}},
		{"machine localhost", `"host": { "name": "localhost" }`, []string{`host.name: "localhost" is not the name of a machine; it is letters, digits and hyphens, at most 64 in all, like "breakwater" or "box.example.org"`}},
		{"no name", interfaces(`{ "name": "" }`), []string{`host.interfaces[0].name: ""` + names}},
		{"name too long", interfaces(`{ "name": "abcdefghijklmnop" }`), []string{`host.interfaces[0].name: "abcdefghijklmnop"` + names}},
		{"name of digits", interfaces(`{ "name": "10" }`), []string{`host.interfaces[0].name: "10" has a meaning of its own in Linux; give the interface another name, like "lan0"`}},
		{"name of a directory", interfaces(`{ "name": "default" }`), []string{`host.interfaces[0].name: "default" has a meaning of its own in Linux; give the interface another name, like "lan0"`}},
		{"name twice", interfaces(lan, `{ "name": "lan0" }`), []string{`host.interfaces[1].name: "lan0" is the name of host.interfaces[0].name already; give each a name of its own`}},
		{"MAC", at(`"mac": "52-54-00-AB-CD-EF"`), nil},
		{"MAC of a group", at(`"mac": "01:00:5e:00:00:01"`), []string{`host.interfaces[0].mac: "01:00:5e:00:00:01" is not the address of a network port; write it like "52:54:00:12:34:56"`}},
		{"MAC twice", interfaces(`{ "name": "a", "mac": "52:54:00:00:00:01" }`, `{ "name": "b", "mac": "52:54:00:00:00:01" }`), []string{`host.interfaces[1].mac: "52:54:00:00:00:01" is given twice; keep this or host.interfaces[0].mac`}},
		{"MAC of a VLAN", interfaces(`{ "name": "v5", "vlan": 5, "parent": "lan0", "mac": "52:54:00:00:00:01" }`), []string{`host.interfaces[0].mac: is given for a VLAN or bond, which has the address of what it is made of; leave it out`}},

		// VLANs
		{"VLAN beyond", interfaces(`{ "name": "v", "vlan": 4095, "parent": "lan0" }`), []string{`host.interfaces[0].vlan: 4095 is out of bounds; it must be 1 to 4094`}},
		{"VLAN without a parent", interfaces(`{ "name": "v", "vlan": 5 }`), []string{`host.interfaces[0].parent: is missing; write the interface that carries the VLAN`}},
		{"parent without a VLAN", interfaces(`{ "name": "v", "parent": "lan0" }`), []string{`host.interfaces[0].vlan: 0 is out of bounds; it must be 1 to 4094`}},
		{"VLAN in a circle", interfaces(`{ "name": "a", "vlan": 5, "parent": "b" }`, `{ "name": "b", "vlan": 6, "parent": "a" }`, `{ "name": "c", "vlan": 7, "parent": "a" }`), []string{
			`host.interfaces[0].parent: "b" leads back to "a" itself; write the port or bond that carries the VLAN`,
			`host.interfaces[1].parent: "a" leads back to "b" itself; write the port or bond that carries the VLAN`}},
		{"VLAN on itself", interfaces(`{ "name": "a", "vlan": 5, "parent": "a" }`), []string{`host.interfaces[0].parent: "a" leads back to "a" itself; write the port or bond that carries the VLAN`}},
		{"VLAN larger than its parent", interfaces(`{ "name": "lan0", "mtu": 1500 }`, `{ "name": "v", "vlan": 5, "parent": "lan0", "mtu": 9000 }`), []string{`host.interfaces[1].mtu: 9000 is more than the 1500 that "lan0" carries; make that larger or this smaller`}},

		// bonds
		{"bond of nothing", interfaces(`{ "name": "b", "bond": "802.3ad" }`), []string{`host.interfaces[0].members: is empty; write the ports that make up the bond`}},
		{"members of nothing", interfaces(`{ "name": "b", "members": ["eth2"] }`), []string{`host.interfaces[0].bond: "" is not known here; write one of active-backup, 802.3ad, balance-xor`}},
		{"bond and VLAN", interfaces(`{ "name": "b", "bond": "802.3ad", "members": ["eth2"], "vlan": 5, "parent": "lan0" }`), []string{`host.interfaces[0]: is a VLAN and a bond at once; make an interface for the bond, and one for the VLAN with the bond as its parent`}},
		{"member of two", interfaces(bond, `{ "name": "bond1", "bond": "active-backup", "members": ["eth3"] }`), []string{`host.interfaces[1].members[0]: "eth3" is given twice; keep this or host.interfaces[0].members[1]`}},
		{"member is a bond", interfaces(bond, `{ "name": "bond1", "bond": "active-backup", "members": ["bond0"] }`), []string{`host.interfaces[1].members[0]: "bond0" is a VLAN or bond itself (host.interfaces[0]); write ports only`}},
		{"member with an address", interfaces(bond, `{ "name": "eth2", "addresses": ["192.0.2.3/24"] }`), []string{`host.interfaces[1]: is a member of a bond (host.interfaces[0].members[0]) and can have no addresses, gateways, routes or DHCP; give them to the bond`}},
		{"member with DHCP", interfaces(bond, `{ "name": "eth2", "dhcp": "ipv4" }`), []string{`host.interfaces[1]: is a member of a bond (host.interfaces[0].members[0]) and can have no addresses, gateways, routes or DHCP; give them to the bond`}},
		{"member with a VLAN", interfaces(bond, `{ "name": "v", "vlan": 5, "parent": "eth2" }`), []string{`host.interfaces[1].parent: "eth2" is a member of a bond (host.interfaces[0].members[0]); write the bond, so that the VLAN is on all of its members`}},
		{"member that manages", interfaces(bond) + `, "management": { "interfaces": ["eth2"] }`, []string{`management.interfaces[0]: "eth2" is a member of a bond (host.interfaces[0].members[0]), where packets arrive on the bond; write the bond`}},
		{"edge is a member", interfaces(`{ "name": "bond0", "bond": "802.3ad", "members": ["wan0"] }`), []string{`edge.interfaces[0]: "wan0" is a member of a bond (host.interfaces[0].members[0]), where packets arrive on the bond; write the bond`}},

		// addresses
		{"DHCP", at(`"dhcp": "yes"`), []string{`host.interfaces[0].dhcp: "yes" is not known here; write one of none, ipv4, ipv6, both`}},
		{"length missing", at(`"addresses": ["192.0.2.10"]`), []string{`host.interfaces[0].addresses[0]: "192.0.2.10" is not an address with the length of its network; write it like "192.0.2.10/24" or "2001:db8::10/64"`}},
		{"network for an address", at(`"addresses": ["192.0.2.0/24"]`), []string{`host.interfaces[0].addresses[0]: "192.0.2.0/24" is the network itself; write an address inside it`}},
		{"broadcast", at(`"addresses": ["192.0.2.63/26"]`), []string{`host.interfaces[0].addresses[0]: "192.0.2.63/26" is the broadcast address of its network; write another address inside it`}},
		{"point to point", at(`"addresses": ["192.0.2.0/31", "192.0.2.9/32", "2001:db8::/127"]`), nil},
		{"everybody", at(`"addresses": ["192.0.2.1/0"]`), []string{`host.interfaces[0].addresses[0]: "192.0.2.1/0" makes every address there is a neighbour; write the length of its network, like "192.0.2.10/24"`}},
		{"mapped", at(`"addresses": ["::ffff:192.0.2.1/120"]`), []string{`host.interfaces[0].addresses[0]: "::ffff:192.0.2.1/120" is an IPv4 address in IPv6 notation; write it like "192.0.2.10/24" or "2001:db8::10/64"`}},
		{"loopback", at(`"addresses": ["127.0.0.1/8"]`), []string{`host.interfaces[0].addresses[0]: "127.0.0.1/8" is special (loopback, 127.0.0.0/8) and cannot be an address of the box`}},
		{"multicast", at(`"addresses": ["ff02::5/16"]`), []string{`host.interfaces[0].addresses[0]: "ff02::5/16" is special (multicast, ff00::/8) and cannot be an address of the box`}},
		{"address twice", interfaces(lan, `{ "name": "lan1", "addresses": ["192.0.2.10/32"] }`), []string{`host.interfaces[1].addresses[0]: "192.0.2.10" is given twice; keep this or host.interfaces[0].addresses[0]`}},
		{"edge address is the box's own", at(`"addresses": ["203.0.113.10/24"]`), nil},

		// gateways and routes
		{"gateways", at(`"addresses": ["192.0.2.10/24", "2001:db8:1::2/64"], "gateways": ["192.0.2.1", "fe80::1"]`), nil},
		{"gateway of an address alone", at(`"addresses": ["192.0.2.10/32"], "gateways": ["198.51.100.1"]`), nil},
		{"gateway elsewhere", at(`"addresses": ["192.0.2.10/24"], "gateways": ["192.0.3.1"]`), []string{`host.interfaces[0].gateways[0]: "192.0.3.1" is in no network of this interface, so it cannot be reached; write the router of one of its addresses' networks, or correct the lengths of those`}},
		{"gateway of the other family", at(`"addresses": ["192.0.2.10/32"], "gateways": ["2001:db8::1"]`), []string{`host.interfaces[0].gateways[0]: "2001:db8::1" is in no network of this interface, so it cannot be reached; write the router of one of its addresses' networks, or correct the lengths of those`}},
		{"gateway is the box", at(`"addresses": ["192.0.2.10/24"], "gateways": ["192.0.2.10"]`), []string{`host.interfaces[0].gateways[0]: "192.0.2.10" is the address of the box itself; write that of the router`}},
		{"gateway is many", at(`"addresses": ["192.0.2.10/24"], "gateways": ["224.0.0.1"]`), []string{`host.interfaces[0].gateways[0]: "224.0.0.1" is not the address of one router; write it like "192.0.2.1" or "2001:db8::1"`}},
		{"gateway is an edge address", at(`"addresses": ["203.0.113.9/24"], "gateways": ["203.0.113.10"]`), []string{`host.interfaces[0].gateways[0]: "203.0.113.10" is an edge address (edge.addresses[0]), which the box would take for itself; make that narrower`}},
		{"two gateways", interfaces(`{ "name": "lan0", "addresses": ["192.0.2.10/24"], "gateways": ["192.0.2.1"] }`, `{ "name": "lan1", "addresses": ["198.51.100.10/24"], "gateways": ["198.51.100.1"] }`), []string{
			`host.interfaces[1].gateways[0]: "198.51.100.1" is a second gateway for IPv4 (host.interfaces[0].gateways[0] is one); keep one, and write what leads elsewhere as routes`}},
		{"routes", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "10.0.0.0/8", "via": "192.0.2.1" }, { "to": "0.0.0.0/0", "via": "192.0.2.2", "metric": 500 } ]`), nil},
		{"route of two families", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "2001:db8:5::/48", "via": "192.0.2.1" } ]`), []string{`host.interfaces[0].routes[0].via: "192.0.2.1" is of another IP version than "2001:db8:5::/48"; write a router of the same`}},
		{"route without a router", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "10.0.0.0/8" } ]`), []string{`host.interfaces[0].routes[0].via: "invalid IP" is not the address of one router; write it like "192.0.2.1" or "2001:db8::1"`}},
		{"route with host bits", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "10.0.0.1/8", "via": "192.0.2.1" } ]`), []string{`host.interfaces[0].routes[0].to: "10.0.0.1/8" is an address inside a network; write "10.0.0.1/32" for the one address or "10.0.0.0/8" for the network`}},
		{"route to loopback", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "127.0.1.0/24", "via": "192.0.2.1" } ]`), []string{`host.interfaces[0].routes[0].to: "127.0.1.0/24" is special (loopback, 127.0.0.0/8) and has no routes`}},
		{"metric", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "10.0.0.0/8", "via": "192.0.2.1", "metric": -1 } ]`), []string{`host.interfaces[0].routes[0].metric: -1 is out of bounds; it must be 0 to 4294967295; left out it is the kernel's`}},
		{"route twice", at(`"addresses": ["192.0.2.10/24"], "routes": [ { "to": "10.0.0.0/8", "via": "192.0.2.1" }, { "to": "10.0.0.0/8", "via": "192.0.2.2" } ]`), []string{`host.interfaces[0].routes[1]: is a second route to "10.0.0.0/8" with the same metric (host.interfaces[0].routes[0] is one); keep one of them, or give one a higher metric`}},
		{"MTU", at(`"mtu": 1279`), []string{`host.interfaces[0].mtu: 1279 is out of bounds; it must be 1280 to 9216; left out it is the port's own`}},

		// the rest
		{"time servers", `"host": { "timeServers": ["ntp.example.org", "192.0.2.123", "2001:db8::123"] }`, nil},
		{"no time server", `"host": { "timeServers": ["ntp_1", "0.0.0.0", "192.0.2.256", "ntp.example.org iburst"] }`, []string{
			`host.timeServers[0]: "ntp_1" is not the name or address of a time server; write it like "ntp.example.org" or "192.0.2.123"`,
			`host.timeServers[1]: "0.0.0.0" is not the name or address of a time server; write it like "ntp.example.org" or "192.0.2.123"`,
			`host.timeServers[2]: "192.0.2.256" is not the name or address of a time server; write it like "ntp.example.org" or "192.0.2.123"`,
			`host.timeServers[3]: "ntp.example.org iburst" is not the name or address of a time server; write it like "ntp.example.org" or "192.0.2.123"`}},
		{"time server twice", `"host": { "timeServers": ["a", "a"] }`, []string{`host.timeServers[1]: "a" is given twice; keep this or host.timeServers[0]`}},
		{"management interfaces", `"management": { "interfaces": ["lan0", "lan0", "eth+"] }`, []string{
			`management.interfaces[1]: "lan0" is given twice; keep this or management.interfaces[0]`,
			`management.interfaces[2]: "eth+"` + names}},
		{"updates", `"updates": { "url": "http://192.0.2.1:8080/breakwater.update?channel=stable" }`, nil},
		{"updates with a password", `"updates": { "url": "https://anna:secret@updates.example.org/" }`, []string{`updates.url: "https://anna:secret@updates.example.org/" is not where update files come from; it begins with https:// or http:// and has no password in it, like "https://updates.example.org/breakwater.update"`}},
		{"updates from a file", `"updates": { "url": "file:///etc/passwd" }`, []string{`updates.url: "file:///etc/passwd" is not where update files come from; it begins with https:// or http:// and has no password in it, like "https://updates.example.org/breakwater.update"`}},
		{"several problems", `"host": { "name": "-", "interfaces": [ { "name": "lan0", "dhcp": "x", "mtu": 1 } ], "timeServers": [""] }`, []string{
			`host.name: "-" is not the name of a machine; it is letters, digits and hyphens, at most 64 in all, like "breakwater" or "box.example.org"`,
			`host.interfaces[0].dhcp: "x" is not known here; write one of none, ipv4, ipv6, both`,
			`host.interfaces[0].mtu: 1 is out of bounds; it must be 1280 to 9216; left out it is the port's own`,
			`host.timeServers[0]: "" is not the name or address of a time server; write it like "ntp.example.org" or "192.0.2.123"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Read(with(t, `"schema": 1`, `"schema": 1, `+tt.add))
			if diff := cmp.Diff(tt.want, lines(problems), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateHostCounts(t *testing.T) {
	s := mustRead(t, "smallest.json")
	s.Host.Interfaces = repeat(65, func(i int) Interface { return Interface{Name: fmt.Sprint("eth", i)} })
	s.Host.TimeServers = repeat(17, func(i int) string { return fmt.Sprint("ntp", i) })
	want := []string{"host.interfaces: has 65 interfaces; at most 64 are allowed", "host.timeServers: has 17 servers; at most 16 are allowed"}
	if diff := cmp.Diff(want, lines(s.Validate())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestHostDefaults(t *testing.T) {
	s := mustRead(t, "schema-1.json").WithDefaults()
	var got []string
	for _, f := range s.Host.Interfaces {
		got = append(got, f.Name+" "+f.DHCP)
	}
	want := []string{"wan0 none", "wan0.100 none", "bond0 none", "bond0.20 ipv6", "mgmt0 both"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DHCP (-want +got):\n%s", diff)
	}
	h := (Settings{}).WithDefaults().Host
	if h.Name != "breakwater" || len(h.TimeServers) != 1 || h.TimeServers[0] != "2.debian.pool.ntp.org" {
		t.Errorf("of nothing: got %+v", h)
	}
}
