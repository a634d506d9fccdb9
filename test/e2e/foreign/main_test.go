//go:build e2e

// Package foreign puts servers and clients that nobody here wrote on both sides of the box: what they understand of
// our headers, and what they see of the client, is their opinion and not ours.
//
//	make e2e
//	go test -tags e2e -run TestMinecraft ./test/e2e/foreign
//
// One lab without an origin of its own serves all cases; the tests run in bw-client. Each case starts the servers it
// needs in bw-origin, with a configuration from testdata, and ends them.
package foreign

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// patience is how long to wait for something that must happen. No case measures with it.
const patience = time.Minute

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "breakwater-foreign-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "settings.json")
	if err := os.WriteFile(file, settings.Encode(document()), 0o600); err != nil {
		return 1, err
	}
	return lab.Main(m, lab.Options{Settings: file, NoOrigin: true}), nil
}

// family is the lab's addresses of one IP version. player is a second address that a case may give to bw-client.
type family struct {
	version                           string
	client, player, edge, box, origin netip.Addr
}

var families = []family{
	{
		version: "IPv4",
		client:  netip.MustParseAddr("198.18.1.2"), player: netip.MustParseAddr("198.18.1.77"),
		edge: netip.MustParseAddr("198.18.1.10"), box: netip.MustParseAddr("198.18.2.1"),
		origin: netip.MustParseAddr("198.18.2.2"),
	},
	{
		version: "IPv6",
		client:  netip.MustParseAddr("2001:db8:1::2"), player: netip.MustParseAddr("2001:db8:1::77"),
		edge: netip.MustParseAddr("2001:db8:1::10"), box: netip.MustParseAddr("2001:db8:2::1"),
		origin: netip.MustParseAddr("2001:db8:2::2"),
	},
}

// eachFamily runs f once for IPv4 and once for IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, f family)) {
	for _, family := range families {
		t.Run(family.version, func(t *testing.T) { f(t, family) })
	}
}

// at is where clients reach a port of the box.
func (f family) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(f.edge, port) }

// service is in the document once for each IP version, each with a pool of its own. Its first port is checked.
type service struct {
	settings.Service
	listens  uint16 // the server's port, when it is not the one that clients dial
	crosses  bool   // the server has the other IP version
	balanced bool   // the lab's client is a load balancer
}

var services = []service{
	{Service: tcp("haproxy-v1", "v1", 7001)},
	{Service: tcp("haproxy-v2", "v2", 7002)},
	{Service: withTLVs(tcp("haproxy-tlv", "v2", 7003), "unique-id", "crc32c")},
	{Service: tcp("haproxy-v1-crosses", "v1", 7004), crosses: true},
	{Service: tcp("haproxy-v2-crosses", "v2", 7005), crosses: true},
	{Service: tcp("nginx-stream-v1", "v1", 7011)},
	{Service: tcp("nginx-stream-v2", "v2", 7012)},
	{Service: tcp("nginx-http-v1", "v1", 7021)},
	{Service: tcp("nginx-http-v2", "v2", 7022)},
	{Service: transparent(tcp("nginx-transparent", "none", 7031))},
	{Service: tcp("behind-balancer", "v2", 7041), balanced: true},
	{Service: withUDP(tcp("dns", "v2", 53), "v2-each")},
	{Service: transparent(withUDP(tcp("dns-transparent", "none", 5300), "none")), listens: 53},
	{Service: transparent(tcp("ftp", "none", 2121, 30000, 30001, 30002, 30003))},
	{Service: tcp("minecraft", "none", 25565)},
	{Service: tcp("minecraft-v2", "v2", 25566)},
	{Service: transparent(tcp("minecraft-transparent", "none", 25567)), listens: 25565},
}

func tcp(name, header string, ports ...uint16) settings.Service {
	s := settings.Service{Name: name, Protocols: []string{"tcp"}, TCPHeader: header}
	for _, p := range ports {
		s.Ports = append(s.Ports, settings.Ports{First: p, Last: p})
	}
	return s
}

func withUDP(s settings.Service, header string) settings.Service {
	s.Protocols, s.UDPHeader = append(s.Protocols, "udp"), header
	return s
}

func withTLVs(s settings.Service, tlvs ...string) settings.Service {
	s.HeaderTLVs = tlvs
	return s
}

func transparent(s settings.Service) settings.Service {
	s.Transparent = true
	return s
}

func document() settings.Settings {
	s := settings.Settings{Schema: settings.Schema, Edge: settings.Edge{Interfaces: []string{"wan0"}}}
	for i, f := range families {
		s.Edge.Addresses = append(s.Edge.Addresses, single(f.edge))
		other := families[1-i]
		for _, service := range services {
			s.Services = append(s.Services, service.of(f))
			s.Pools = append(s.Pools, service.pool(f, other))
		}
	}
	lab.OnPath(s.Services)
	return s
}

// of is the service of one IP version.
func (s service) of(f family) settings.Service {
	one := s.Service
	one.Name = f.name(s.Name)
	one.Pool = one.Name
	one.Addresses = []settings.Prefix{single(f.edge)}
	if s.balanced {
		one.Upstreams = []settings.Prefix{single(f.client)}
	}
	return one
}

// pool has the one server of the service.
func (s service) pool(f, other family) settings.Pool {
	origin := settings.Origin{Address: f.origin.String()}
	if s.crosses {
		origin.Address = other.origin.String()
	}
	checked := s.Ports[0].First
	if s.listens != 0 {
		checked = s.listens
		origin.Port = settings.Ports{First: s.listens, Last: s.listens}
	}
	return settings.Pool{
		Name: f.name(s.Name), Origins: []settings.Origin{origin},
		Health: settings.Health{Port: int(checked), Interval: settings.Duration(time.Second)},
	}
}

// name is the name that a service and its pool have in the document.
func (f family) name(service string) string { return service + "-" + strings.ToLower(f.version) }

func single(a netip.Addr) settings.Prefix {
	return settings.Prefix{Prefix: netip.PrefixFrom(a, a.BitLen())}
}
