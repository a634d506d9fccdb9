package settings

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestValidate changes one thing of the smallest document, which has no problem, and reads it.
func TestValidate(t *testing.T) {
	const (
		origin   = `{ "address": "10.0.0.20" }`
		services = `"protocols": ["tcp", "udp"]`
		headers  = `"tcpHeader": "v2", "udpHeader": "none"`
		ports    = `"ports": ["1-65535"]`
		edge     = `"203.0.113.10/32"`
		wan      = `"wan0"`
		games    = `"name": "games"`
		limits   = `"schema": 1`

		noPageName  = ` is not a DNS name; one is letters, digits and hyphens between dots (other scripts in their xn-- form), like "box.example.org"`
		noDirectory = ` is not the URL of an ACME directory; it begins with https:// and has no password in it, like "https://acme-v02.api.letsencrypt.org/directory"`
		noTLVs      = `services[0].path: "kernel" cannot write headerTlvs into the header, which only the user path does; choose auto or user, or leave headerTlvs out`
		noUpstreams = `services[0].path: "kernel" cannot read the PROXY header of upstreams, which only the user path does; choose auto or user, or leave upstreams out`
	)
	// twice are the problems of n names after the first one that are the same.
	twice := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`management.names[%d]: "a" is given twice; keep this or management.names[0]`, i+1)
		}
		return list
	}
	tests := []struct {
		name, old, new string
		want           []string
	}{
		// names
		{"name missing", `"name": "everything"`, `"name": ""`, []string{"services[0].name: is missing; a name is 1 to 40 of a-z, 0-9 and hyphens"}},
		{"name in capitals", `"name": "everything"`, `"name": "Every thing"`, []string{`services[0].name: "Every thing" is not a name; a name is 1 to 40 of a-z, 0-9 and hyphens`}},
		{"name of 40", `"name": "everything"`, `"name": "` + strings.Repeat("a", 40) + `"`, nil},
		{"name of 41", `"name": "everything"`, `"name": "` + strings.Repeat("a", 41) + `"`, []string{`services[0].name: "` + strings.Repeat("a", 41) + `" is not a name; a name is 1 to 40 of a-z, 0-9 and hyphens`}},
		{"pool without a name", games, `"name": ""`, []string{"pools[0].name: is missing; a name is 1 to 40 of a-z, 0-9 and hyphens"}},
		{"two pools of a name", `{ "name": "games"`, `{ "name": "games", "origins": [{"address":"10.0.0.1"}] }, { "name": "games"`, []string{`pools[1].name: "games" is the name of pools[0].name already; give each a name of its own`}},
		{"two origins of a name", origin, `{ "name": "a", "address": "10.0.0.1" }, { "name": "a", "address": "10.0.0.2" }`, []string{`pools[0].origins[1].name: "a" is the name of pools[0].origins[0].name already; give each a name of its own`}},
		{"name that another has by default", origin, `{ "name": "games-2", "address": "10.0.0.1" }, { "address": "10.0.0.2" }`, []string{`pools[0].origins[1].name: "games-2" is the name of pools[0].origins[0].name already; give each a name of its own`}},

		// edge
		{"interface missing", wan, ``, []string{"edge.interfaces: is empty, so no client can reach a service; name the interface where clients arrive"}},
		{"interface twice", wan, `"wan0", "wan0"`, []string{`edge.interfaces[1]: "wan0" is given twice; keep this or edge.interfaces[0]`}},
		{"interface too long", wan, `"abcdefghijklmnop"`, []string{`edge.interfaces[0]: "abcdefghijklmnop" is not the name of a network interface; it is 1 to 15 letters, digits, dots, hyphens and underscores, like "eth0"`}},
		{"interface wildcard", wan, `"eth+"`, []string{`edge.interfaces[0]: "eth+" is not the name of a network interface; it is 1 to 15 letters, digits, dots, hyphens and underscores, like "eth0"`}},
		{"interface path", wan, `".."`, []string{`edge.interfaces[0]: ".." is not the name of a network interface; it is 1 to 15 letters, digits, dots, hyphens and underscores, like "eth0"`}},
		{"loopback interface", wan, `"lo"`, []string{`edge.interfaces[0]: "lo" is the box's own loopback, where no client arrives; write the interface of a network card`}},
		{"no edge address", `"203.0.113.10/32", "2001:db8::10/128"`, ``, []string{"edge.addresses: is empty, so no client can reach a service; write the addresses that clients dial"}},
		{"host bits", edge, `"203.0.113.10/24"`, []string{`edge.addresses[0]: "203.0.113.10/24" is an address inside a network; write "203.0.113.10/32" for the one address or "203.0.113.0/24" for the network`}},
		{"overlap", edge, `"203.0.113.10", "203.0.113.0/24"`, []string{`edge.addresses[1]: "203.0.113.0/24" overlaps with "203.0.113.10/32" (edge.addresses[0]); keep one of them`}},
		{"mapped", edge, `"::ffff:203.0.113.10"`, []string{`edge.addresses[0]: "::ffff:203.0.113.10/128" is an IPv4 address in IPv6 notation; write it as "203.0.113.10"`}},
		{"loopback", edge, `"127.0.0.1"`, []string{`edge.addresses[0]: "127.0.0.1/32" has loopback addresses (127.0.0.0/8), which clients cannot dial; write an address of the box`}},
		{"multicast", edge, `"ff02::1"`, []string{`edge.addresses[0]: "ff02::1/128" has multicast addresses (ff00::/8), which clients cannot dial; write an address of the box`}},
		{"unspecified", edge, `"0.0.0.0"`, []string{`edge.addresses[0]: "0.0.0.0/32" has unspecified addresses (0.0.0.0/8), which clients cannot dial; write an address of the box`}},
		{"link-local", edge, `"fe80::1"`, []string{`edge.addresses[0]: "fe80::1/128" has link-local addresses (fe80::/10), which clients cannot dial; write an address of the box`}},
		{"everything", `"203.0.113.10/32", `, `"0.0.0.0/0", `, []string{
			`edge.addresses[0]: "0.0.0.0/0" has unspecified addresses (0.0.0.0/8), which clients cannot dial; write an address of the box`,
			`pools[0].origins[0].address: "10.0.0.20" is an edge address (edge.addresses[0]), so the origin is the box itself and sessions would run in a circle; write the address of the server behind the box`}},

		// management, DNS, limits
		{"management", limits, limits + `, "management": { "networks": ["192.168.0.0/16", "fd00::1"] }`, nil},
		{"names", limits, limits + `, "management": { "names": ["box", "BOX.example.org", "box.local", "localhost", "xn--bx-fka.example"] }`, nil},
		{"name of the page is empty", limits, limits + `, "management": { "names": [""] }`, []string{`management.names[0]: is empty; write a DNS name like "box.example.org"`}},
		{"name of the page is an address", limits, limits + `, "management": { "names": ["192.0.2.1", "::1"] }`, []string{
			`management.names[0]: "192.0.2.1" is an address; the page can be opened under each address of the box, so leave it out`,
			`management.names[1]: "::1" is an address; the page can be opened under each address of the box, so leave it out`}},
		{"name of the page with a dot", limits, limits + `, "management": { "names": ["box.example."] }`, []string{`management.names[0]: "box.example." ends with a dot; write it without`}},
		{"name of the page is none", limits, limits + `, "management": { "names": ["https://box.example", "box.example:8443", "*.example", "192.0.2.300"] }`, []string{
			`management.names[0]: "https://box.example"` + noPageName, `management.names[1]: "box.example:8443"` + noPageName,
			`management.names[2]: "*.example"` + noPageName, `management.names[3]: "192.0.2.300"` + noPageName}},
		{"name of the page twice", limits, limits + `, "management": { "names": ["box.example", "BOX.example"] }`, []string{`management.names[1]: "box.example" is given twice; keep this or management.names[0]`}},
		{"17 names of the page", limits, limits + `, "management": { "names": ["a` + strings.Repeat(`", "a`, 16) + `"] }`, append([]string{`management.names: has 17 names; at most 16 are allowed`}, twice(15)...)},
		{"ACME by email", limits, limits + `, "management": { "names": ["box.example"], "acme": { "email": "a.b+c@example.org" } }`, nil},
		{"ACME by directory", limits, limits + `, "management": { "names": ["box.example"], "acme": { "directory": "https://127.0.0.1:14000/dir" } }`, nil},
		{"ACME without a name", limits, limits + `, "management": { "acme": { "email": "a@example.org" } }`, []string{`management.names: is empty, and a certificate by ACME (management.acme) is for names; write the DNS names of this box, or leave ACME out`}},
		{"ACME with no email", limits, limits + `, "management": { "names": ["box.example"], "acme": { "email": "A <a@example.org>" } }`, []string{`management.acme.email: "A <a@example.org>" is not an email address; write it like "admin@example.org", or leave it out`}},
		{"ACME without TLS", limits, limits + `, "management": { "names": ["box.example"], "acme": { "directory": "http://ca.example/dir" } }`, []string{`management.acme.directory: "http://ca.example/dir"` + noDirectory}},
		{"ACME with a password", limits, limits + `, "management": { "names": ["box.example"], "acme": { "directory": "https://a:b@ca.example/dir" } }`, []string{`management.acme.directory: "https://a:b@ca.example/dir"` + noDirectory}},
		{"ACME at a file", limits, limits + `, "management": { "names": ["box.example"], "acme": { "directory": "https:///etc/passwd" } }`, []string{`management.acme.directory: "https:///etc/passwd"` + noDirectory}},
		{"management overlaps the edge", limits, limits + `, "management": { "networks": ["203.0.113.0/24"] }`, []string{`management.networks[0]: "203.0.113.0/24" overlaps with the edge address "203.0.113.10/32" (edge.addresses[0]); clients must not be able to manage the box, so keep the two apart`}},
		{"DNS server of many", limits, limits + `, "dns": { "servers": ["224.0.0.251"] }`, []string{`dns.servers[0]: "224.0.0.251" is not the address of one DNS server; write it like "192.0.2.53" or "192.0.2.53:5353"`}},
		{"negative limit", limits, limits + `, "limits": { "maxSessions": -1 }`, []string{"limits.maxSessions: -1 is out of bounds; it must be 1 to 1048576"}},
		{"rates of one source", limits, limits + `, "limits": { "packetsPerAddress": 1000, "bytesPerNetwork": 1000000000, "newClientsPerAddress": -1 }`, nil},
		{"rates of one source are wrong", limits, limits + `, "limits": { "packetsPerAddress": 5, "bytesPerAddress": 100, "newClientsPerNetwork": -2 }`, []string{
			"limits.packetsPerAddress: 5 is out of bounds; it must be 10 to 12500000000, or -1 for no limit",
			"limits.bytesPerAddress: 100 is out of bounds; it must be 10000 to 12500000000, or -1 for no limit",
			"limits.newClientsPerNetwork: -2 is out of bounds; it must be 1 to 12500000000, or -1 for no limit"}},
		{"limit too high", limits, limits + `, "limits": { "newFlowsPerSecond": 10000001 }`, []string{"limits.newFlowsPerSecond: 10000001 is out of bounds; it must be 1 to 10000000"}},

		// pools
		{"empty pool", origin, ``, []string{"pools[0].origins: is empty; a pool needs at least one origin"}},
		{"choice", games, games + `, "choice": "random"`, []string{`pools[0].choice: "random" is not known here; write one of source-hash, round-robin, least-sessions`}},
		{"sources", games, games + `, "sourceAddresses": ["10.0.0.2", "192.168.7.1", "2001:db8::2", "fd00::1"]`, nil},
		{"source twice", games, games + `, "sourceAddresses": ["10.0.0.2", "2001:db8::2", "2001:DB8:0::2"]`, []string{`pools[0].sourceAddresses[2]: "2001:db8::2" is given twice; keep this or pools[0].sourceAddresses[1]`}},
		{"source at the edge", games, games + `, "sourceAddresses": ["203.0.113.10"]`, []string{
			`pools[0].sourceAddresses[0]: "203.0.113.10" is an edge address (edge.addresses[0]), where answers of origins would be taken for clients; write another address of the box`}},
		{"sources of no machine", games, games + `, "sourceAddresses": ["127.0.0.1", "224.0.0.9", "::", "fe80::1", "::ffff:10.0.0.2"]`, []string{
			`pools[0].sourceAddresses[0]: "127.0.0.1" is special (loopback, 127.0.0.0/8) and cannot be a source address; write an address that the box has on the way to the origins`,
			`pools[0].sourceAddresses[1]: "224.0.0.9" is special (multicast, 224.0.0.0/4) and cannot be a source address; write an address that the box has on the way to the origins`,
			`pools[0].sourceAddresses[2]: "::" is special (unspecified, ::/128) and cannot be a source address; write an address that the box has on the way to the origins`,
			`pools[0].sourceAddresses[3]: "fe80::1" is special (link-local, fe80::/10) and cannot be a source address; write an address that the box has on the way to the origins`,
			`pools[0].sourceAddresses[4]: "::ffff:10.0.0.2/128" is an IPv4 address in IPv6 notation; write it as "10.0.0.2"`}},
		{"check", games, games + `, "health": { "check": "http" }`, []string{`pools[0].health.check: "http" is not known here; write one of tcp, none`}},
		{"check port", games, games + `, "health": { "port": 70000 }`, []string{"pools[0].health.port: 70000 is out of bounds; it must be 0 to 65535; left out it is the origin's own port"}},
		{"interval", games, games + `, "health": { "interval": "1ms", "timeout": "200ms" }`, []string{
			`pools[0].health.interval: "1ms" is out of bounds; it must be "500ms" to "1h"`,
			`pools[0].health.timeout: "200ms" is longer than the interval of "1ms"; a check must end before the next begins`}},
		{"short interval alone", games, games + `, "health": { "interval": "1s" }`, nil},
		{"rise and fall", games, games + `, "health": { "rise": -1, "fall": 101 }`, []string{
			"pools[0].health.rise: -1 is out of bounds; it must be 1 to 100",
			"pools[0].health.fall: 101 is out of bounds; it must be 1 to 100"}},

		// origins
		{"weight", origin, `{ "address": "10.0.0.20", "weight": 257 }`, []string{"pools[0].origins[0].weight: 257 is out of bounds; it must be 1 to 256"}},
		{"state", origin, `{ "address": "10.0.0.20", "state": "down" }`, []string{`pools[0].origins[0].state: "down" is not known here; write one of active, drain, maintenance`}},
		{"record of an address", origin, `{ "address": "10.0.0.20", "record": "a" }`, []string{`pools[0].origins[0].record: "a" is given for an IP address; leave it out, or write a DNS name as the address`}},
		{"record", origin, `{ "address": "example.net", "record": "mx" }`, []string{`pools[0].origins[0].record: "mx" is not known here; write one of any, a, aaaa, srv`}},
		{"SRV with a port", origin, `{ "address": "_game._udp.example.net", "record": "srv", "port": "80" }`, []string{`pools[0].origins[0].port: "80" is given, but an SRV record brings the port; leave the port out`}},
		{"DNS name", origin, `{ "address": "a-1.Example.net." }`, nil},
		{"underscore", origin, `{ "address": "_game._udp.example.net" }`, []string{`pools[0].origins[0].address: "_game._udp.example.net" is neither an IP address nor a DNS name; a name is letters, digits and hyphens between dots (other scripts in their xn-- form)`}},
		{"hyphen at the end", origin, `{ "address": "a-.net" }`, []string{`pools[0].origins[0].address: "a-.net" is neither an IP address nor a DNS name; a name is letters, digits and hyphens between dots (other scripts in their xn-- form)`}},
		{"name of 254", origin, `{ "address": "` + strings.Repeat("abcdefghi.", 25) + `abcd" }`, []string{`pools[0].origins[0].address: "` + strings.Repeat("abcdefghi.", 6) + `…" is not a DNS name; one has 1 to 253 characters`}},
		{"name of 253", origin, `{ "address": "` + strings.Repeat("abcdefghi.", 25) + `abc." }`, nil},
		{"mistyped address", origin, `{ "address": "10.0.0.256" }`, []string{`pools[0].origins[0].address: "10.0.0.256" is not an IP address; write it like "10.0.0.20"`}},
		{"address missing", origin, `{ }`, []string{"pools[0].origins[0].address: is missing; write the IP address or the DNS name of the origin"}},
		{"address with a port", origin, `{ "address": "10.0.0.20:80" }`, []string{`pools[0].origins[0].address: "10.0.0.20:80" has a port in it; write "10.0.0.20" here, and the port in the field port`}},
		{"name with ports", origin, `{ "address": "mc.example.org:1000-2000" }`, []string{`pools[0].origins[0].address: "mc.example.org:1000-2000" has a port in it; write "mc.example.org" here, and the port in the field port`}},
		{"IPv6 address with a port", origin, `{ "address": "[2001:db8::1]:80" }`, []string{`pools[0].origins[0].address: "[2001:db8::1]:80" has a port in it; write "2001:db8::1" here, and the port in the field port`}},
		{"address with a port that is none", origin, `{ "address": "10.0.0.20:70000" }`, []string{`pools[0].origins[0].address: "10.0.0.20:70000" is neither an IP address nor a DNS name; a name is letters, digits and hyphens between dots (other scripts in their xn-- form)`}},
		{"network", origin, `{ "address": "10.0.0.0/24" }`, []string{`pools[0].origins[0].address: "10.0.0.0/24" is a network; an origin is one address, written without a length`}},
		{"origin with a zone", origin, `{ "address": "fe80::1%eth0" }`, []string{`pools[0].origins[0].address: "fe80::1%eth0" is an address of one link; an origin needs an address without a zone`}},
		{"origin is loopback", origin, `{ "address": "127.0.0.2" }`, []string{`pools[0].origins[0].address: "127.0.0.2" is special (loopback, 127.0.0.0/8) and cannot be an origin; write the address of the server behind the box`}},
		{"origin is metadata", origin, `{ "address": "169.254.169.254" }`, []string{`pools[0].origins[0].address: "169.254.169.254" is special (link-local, 169.254.0.0/16) and cannot be an origin; write the address of the server behind the box`}},
		{"origin is multicast", origin, `{ "address": "224.0.0.1" }`, []string{`pools[0].origins[0].address: "224.0.0.1" is special (multicast, 224.0.0.0/4) and cannot be an origin; write the address of the server behind the box`}},
		{"origin is unspecified", origin, `{ "address": "::" }`, []string{`pools[0].origins[0].address: "::" is special (unspecified, ::/128) and cannot be an origin; write the address of the server behind the box`}},
		{"origin is mapped", origin, `{ "address": "::ffff:127.0.0.1" }`, []string{`pools[0].origins[0].address: "::ffff:127.0.0.1/128" is an IPv4 address in IPv6 notation; write it as "127.0.0.1"`}},
		{"origin is localhost", origin, `{ "address": "game.localhost" }`, []string{`pools[0].origins[0].address: "game.localhost" is the box itself (RFC 6761); write the name of the origin`}},
		{"origin is the box", origin, `{ "address": "2001:db8::10" }`, []string{`pools[0].origins[0].address: "2001:db8::10" is an edge address (edge.addresses[1]), so the origin is the box itself and sessions would run in a circle; write the address of the server behind the box`}},
		{"origin is management", limits, limits + `, "management": { "networks": ["10.0.0.0/24"] }`, []string{`pools[0].origins[0].address: "10.0.0.20" is in a management network (management.networks[0]), where no origin may be; move the origin or make that network narrower`}},

		// ports
		{"offset mapping", ports + `, "pool": "games"`, `"ports": ["1000-1009", "443", "2000-2010"], "pool": "games"`, nil},
		{"no ports", ports, `"ports": []`, []string{`services[0].ports: is empty; write a list like ["443", "1000-2000"]`}},
		{"single port of the origin", origin, `{ "address": "10.0.0.20", "port": "25565" }`, nil},
		{"origin's range of another length", origin, `{ "address": "10.0.0.20", "port": "3000-3009" }`, []string{`services[0].ports[0]: "1-65535" is 65535 ports, but "3000-3009" of the origin (pools[0].origins[0].port) is 10; a range that is mapped to a range must be equally long`}},
		{"ranges of a pool differ", origin, `{ "address": "10.0.0.20" }, { "address": "10.0.0.21", "port": "1-65535" }, { "address": "10.0.0.22", "port": "1-10" }`, []string{`pools[0].origins[2].port: "1-10" is 10 ports, but "1-65535" (pools[0].origins[1].port) is 65535; the port ranges of a pool must be equally long`}},

		// services
		{"no protocol", services, `"protocols": []`, []string{`services[0].protocols: is empty; write "tcp", "udp" or both`, `services[0].tcpHeader: "v2" is given, but the service has no tcp; add tcp to its protocols or leave the header out`}},
		{"protocol", services, `"protocols": ["tcp", "sctp"]`, []string{`services[0].protocols[1]: "sctp" is not known here; write one of tcp, udp`}},
		{"protocol twice", services, `"protocols": ["tcp", "tcp"]`, []string{`services[0].protocols[1]: "tcp" is given twice; keep this or services[0].protocols[0]`}},
		{"address of its own", services, services + `, "addresses": ["203.0.113.10"]`, nil},
		{"address not of the edge", services, services + `, "addresses": ["203.0.113.0/24"]`, []string{`services[0].addresses[0]: "203.0.113.0/24" is not within the edge addresses; add it there first, or leave addresses out to take all of them`}},
		{"pool missing", `"pool": "games"`, `"pool": ""`, []string{"services[0].pool: is missing; write the name of a pool"}},
		{"pool unknown", `"pool": "games"`, `"pool": "game"`, []string{`services[0].pool: there is no pool "game"; write the name of one of the pools, or add it`}},
		{"path", headers, headers + `, "path": "fast"`, []string{`services[0].path: "fast" is not known here; write one of auto, kernel, user`}},
		{"kernel path with PROXY v2", headers, `"tcpHeader": "v2", "path": "kernel"`, nil},
		{"kernel path with PROXY v1", headers, `"tcpHeader": "v1", "path": "kernel"`, nil},
		{"kernel path without a header", headers, `"tcpHeader": "none", "path": "kernel"`, nil},
		{"kernel path with transparent", headers, headers + `, "transparent": true, "path": "kernel"`, nil},
		{"kernel path with upstreams", headers, headers + `, "upstreams": ["192.0.2.0/24"], "path": "kernel"`, []string{noUpstreams}},
		{"kernel path with TLVs", headers, headers + `, "headerTlvs": ["crc32c"], "path": "kernel"`, []string{noTLVs}},
		{"kernel path with both", headers, headers + `, "headerTlvs": ["crc32c"], "upstreams": ["192.0.2.0/24"], "path": "kernel"`, []string{noTLVs, noUpstreams}},
		{"automatic path with both", headers, headers + `, "headerTlvs": ["crc32c"], "upstreams": ["192.0.2.0/24"], "path": "auto"`, nil},
		{"TCP header", headers, `"tcpHeader": "v3"`, []string{`services[0].tcpHeader: "v3" is not known here; write one of none, v1, v2`}},
		{"UDP header", headers, `"udpHeader": "v2"`, []string{`services[0].udpHeader: "v2" is not known here; write one of none, v2-each, v2-first, spp`}},
		{"TCP header without TCP", services, `"protocols": ["udp"]`, []string{`services[0].tcpHeader: "v2" is given, but the service has no tcp; add tcp to its protocols or leave the header out`}},
		{"UDP header without UDP", services + `, "ports": ["1-65535"], "pool": "games",`, `"protocols": ["tcp"], "ports": ["1-65535"], "pool": "games", "udpHeader": "spp"} , { "name": "b", "protocols": ["tcp"], "ports": ["1"], "pool": "games",`, []string{`services[0].udpHeader: "spp" is given, but the service has no udp; add udp to its protocols or leave the header out`}},
		{"transparent with a header", headers, headers + `, "transparent": true`, nil},
		{"TLVs", headers, headers + `, "headerTlvs": ["unique-id", "crc32c"]`, nil},
		{"TLVs on UDP", headers, `"udpHeader": "v2-each", "headerTlvs": ["unique-id"]`, nil},
		{"TLVs without v2", headers, `"tcpHeader": "v1", "headerTlvs": ["unique-id"]`, []string{"services[0].headerTlvs: is given, but only PROXY v2 carries these; set tcpHeader to v2 or udpHeader to v2-each or v2-first, or leave them out"}},
		{"TLV", headers, headers + `, "headerTlvs": ["alpn"]`, []string{`services[0].headerTlvs[0]: "alpn" is not known here; write one of unique-id, authority, crc32c`}},
		{"upstreams", headers, headers + `, "upstreams": ["192.0.2.0/24", "2001:db8:f::/48"]`, nil},
		{"upstreams without TCP", services + `, "ports": ["1-65535"], "pool": "games",`, `"protocols": ["udp"], "ports": ["1-65535"], "pool": "games", "upstreams": ["192.0.2.1"]} , { "name": "b", "protocols": ["tcp"], "ports": ["1"], "pool": "games",`, []string{"services[0].upstreams: is given, but only tcp sessions begin with a PROXY header of an upstream; add tcp to the protocols or leave upstreams out"}},
		{"upstream of everyone", headers, headers + `, "upstreams": ["0.0.0.0/0"]`, []string{`services[0].upstreams[0]: "0.0.0.0/0" is everyone, and each could claim any address; list the load balancers alone`}},
		{"upstream of the other family", services, services + `, "addresses": ["203.0.113.10"], "upstreams": ["2001:db8:f::1"]`, []string{`services[0].upstreams[0]: "2001:db8:f::1/128" can never arrive, because the service has no address of that IP version; add one or leave this network out`}},
		{"timeouts", headers, headers + `, "timeouts": { "connect": "0.01s", "idle": "200h", "flowIdle": "-1s" }`, []string{
			`services[0].timeouts.connect: "10ms" is out of bounds; it must be "100ms" to "1m"`,
			`services[0].timeouts.idle: "200h" is out of bounds; it must be "1s" to "168h"`,
			`services[0].timeouts.flowIdle: "-1s" is out of bounds; it must be "1s" to "24h"`}},
		{"limits", headers, headers + `, "limits": { "maxSessions": -2, "maxAmplification": -2 }`, []string{
			"services[0].limits.maxSessions: -2 is out of bounds; it must be 0 to 1048576; left out there is no limit",
			"services[0].limits.maxAmplification: -2 is out of bounds; it must be 1 to 100, or -1 for no limit"}},
		{"limits of one source", headers, headers + `, "limits": { "maxSessionsPerAddress": 5, "maxSessionsPerNetwork": 5, "newSessionsPerAddress": 1, "newClientsPerSecond": 1 }`, nil},
		{"limits of one source are wrong", headers, headers + `, "limits": { "maxSessionsPerAddress": 9, "maxSessionsPerNetwork": 5, "newSessionsPerAddress": -1 }`, []string{
			"services[0].limits.maxSessionsPerNetwork: 5 is fewer than the 9 of one address (maxSessionsPerAddress), which could never be reached; raise this one or lower the other",
			"services[0].limits.newSessionsPerAddress: -1 is out of bounds; it must be 0 to 10000000; left out there is no limit"}},
		{"first byte", headers, headers + `, "timeouts": { "firstByte": "10s" }`, nil},
		{"first byte too soon", headers, headers + `, "timeouts": { "firstByte": "1ms" }`, []string{
			`services[0].timeouts.firstByte: "1ms" is out of bounds; it must be "100ms" to "1h"`}},
		{"amplification without limit", headers, headers + `, "limits": { "maxAmplification": -1 }`, nil},
		{"hidden service", `"services": [`, `"services": [ { "name": "hidden", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "games" }, `, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Read(with(t, tt.old, tt.new))
			if diff := cmp.Diff(tt.want, lines(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// Settings made by a program instead of a document are judged as strictly.
func TestValidateZeroValues(t *testing.T) {
	s := Settings{
		Edge:     Edge{Interfaces: []string{""}, Addresses: []Prefix{{}}},
		DNS:      DNS{Servers: []Server{{}}},
		Pools:    []Pool{{}},
		Services: []Service{{Addresses: []Prefix{{}}, Ports: []Ports{{}, {First: 5, Last: 2}}, Upstreams: []Prefix{{}}}},
	}
	want := []string{
		"schema", "edge.interfaces[0]", "edge.addresses[0]", "dns.servers[0]", "pools[0].name", "pools[0].origins", "services[0].name",
		"services[0].protocols", "services[0].pool", "services[0].ports[0]", "services[0].ports[1]", "services[0].upstreams", "services[0].upstreams[0]",
	}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Field)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestValidateCounts(t *testing.T) {
	tests := []struct {
		name string
		grow func(*Settings)
		want string
	}{
		{"interfaces", func(s *Settings) {
			s.Edge.Interfaces = repeat(65, func(i int) string { return "eth" + strconv.Itoa(i) })
		},
			"edge.interfaces: has 65 interfaces; at most 64 are allowed"},
		{"edge addresses", func(s *Settings) { s.Edge.Addresses = repeat(1025, single) },
			"edge.addresses: has 1025 addresses; at most 1024 are allowed"},
		{"pools", func(s *Settings) {
			s.Pools = repeat(1025, func(i int) Pool { return Pool{Name: "p" + strconv.Itoa(i), Origins: s.Pools[0].Origins} })
			s.Services[0].Pool = "p0"
		}, "pools: has 1025 pools; at most 1024 are allowed"},
		{"origins", func(s *Settings) {
			s.Pools[0].Origins = repeat(4097, func(int) Origin { return Origin{Address: "10.0.0.1"} })
		},
			"pools: has 4097 origins in all; at most 4096 are allowed"},
		{"IPv4 source addresses", func(s *Settings) {
			s.Pools[0].SourceAddresses = append(repeat(9, func(i int) Addr { return Addr{single(i).Addr()} }), Addr{netip.MustParseAddr("2001:db8::1")})
		}, "pools[0].sourceAddresses: has 9 IPv4 addresses; at most 8 are allowed"},
		{"IPv6 source addresses", func(s *Settings) {
			s.Pools[0].SourceAddresses = append(repeat(8, func(i int) Addr { return Addr{single(i).Addr()} }), repeat(1000, func(i int) Addr {
				return Addr{netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})}
			})...)
		}, "pools[0].sourceAddresses: has 1000 IPv6 addresses; at most 8 are allowed"},
		{"services", func(s *Settings) {
			s.Services = repeat(4097, func(i int) Service {
				return Service{Name: strconv.Itoa(i), Protocols: []string{"tcp"}, Ports: []Ports{{1, 1}}, Pool: "games"}
			})
		}, "services: has 4097 services; at most 4096 are allowed"},
		{"ranges", func(s *Settings) {
			s.Services[0].Ports = repeat(16385, func(i int) Ports { return Ports{uint16(i + 1), uint16(i + 1)} })
		}, "services: has 16385 port ranges in all; at most 16384 are allowed"},
		{"routes", func(s *Settings) {
			s.Edge.Addresses = repeat(1000, single)
			s.Services[0].Ports = repeat(200, func(i int) Ports { return Ports{uint16(i + 1), uint16(i + 1)} })
		}, "services: has 400000 routes in all (addresses × port ranges × protocols); at most 262144 are allowed"},
		{"bytes", func(s *Settings) {
			s.Pools[0].Origins = repeat(4096, func(i int) Origin { return Origin{Address: strings.Repeat("abcdefghi.", 25) + "net"} })
		}, "the document has 1221075 bytes when written with indents; at most 1048576 are allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustRead(t, "smallest.json")
			tt.grow(&s)
			if diff := cmp.Diff([]string{tt.want}, lines(s.Validate())); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func repeat[T any](n int, element func(int) T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = element(i)
	}
	return list
}

// single is the i-th address of 198.18.0.0/15.
func single(i int) Prefix {
	return Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)}
}

// A large document that is wrong everywhere must not occupy the box.
func TestValidateIsQuick(t *testing.T) {
	fill := func(element func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < 250_000; i++ {
			fmt.Fprintf(&b, "%q,", element(i))
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	addresses := fill(func(i int) string { return single(i).Addr().String() })
	tests := []struct{ name, text string }{
		{"interfaces", `{"edge":{"interfaces":[` + fill(func(i int) string { return strconv.Itoa(i) }) + `]}}`},
		{"protocols", `{"services":[{"protocols":[` + fill(func(i int) string { return strconv.Itoa(i) }) + `]}]}`},
		{"management", `{"edge":{"addresses":[` + addresses + `]},"management":{"networks":[` + addresses + `]}}`},
		{"service addresses", `{"edge":{"addresses":[` + addresses + `]},"services":[{"addresses":[` + addresses + `]}]}`},
		{"services", `{"edge":{"addresses":[` + addresses + `]},"services":[{}` + strings.Repeat(`,{}`, 40_000) + `]}`},
		{"origins", `{"edge":{"addresses":[` + addresses + `]},"pools":[{"origins":[{}` + strings.Repeat(`,{"address":"1.1.1.1"}`, 20_000) + `]}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			_, problems := Read([]byte(tt.text))
			if n := len(problems); n == 0 || n > 2*(maxProblems+1) {
				t.Errorf("got %d problems", n)
			}
			// Quadratic work on such lists takes minutes; the bound leaves room for a slow machine and the race detector.
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}
