//go:build e2e

package steering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/steering"
)

// The edge addresses: singles, and prefixes that are routed to the box, or (IPv4) just lie on the link.
var edge = []netip.Prefix{
	netip.MustParsePrefix("198.18.1.10/32"), netip.MustParsePrefix("2001:db8:1::10/128"),
	netip.MustParsePrefix("198.18.50.0/24"), netip.MustParsePrefix("2001:db8:50::/64"),
	netip.MustParsePrefix("198.18.1.64/28"),
}

// dialled are addresses in them.
var dialled = []string{"198.18.1.10", "[2001:db8:1::10]", "198.18.50.77", "[2001:db8:50::77]", "198.18.1.70"}

// own are the box's addresses on the edge interface.
var own = []string{"198.18.1.1", "[2001:db8:1::1]"}

// network makes client, box and origin, and applies c.
func network(t *testing.T, c plan.Steering) (client, origin machine) {
	t.Helper()
	sh(t, "ip link set lo up")
	client, origin = start(t, "wan0", 1), start(t, "lan0", 2)
	s, err := steering.New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Clear(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Apply(c); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(c.Addresses, netip.MustParsePrefix("2001:db8:1::10/128")) {
		eventually(t, "the box joins the group of its new neighbours' questions", func() bool {
			return strings.Contains(sh(t, "cat /proc/net/igmp6"), "ff0200000000000000000001ff000010")
		})
	}
	return client, origin
}

// eventually waits for what the kernel does in the background. A new IPv6 address answers neighbours some
// milliseconds late (addrconf_dad_work), and a question that is lost is repeated after a second only.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func edgeOn(interfaces ...string) plan.Steering {
	return plan.Steering{Interfaces: interfaces, Addresses: edge}
}

// targets are all addresses with both protocols on one port.
func targets(addresses []string, port int) []string {
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf("tcp/%s:%d", a, port), fmt.Sprintf("udp/%s:%d", a, port))
	}
	return list
}

// expect compares the answer of each target.
func expect(t *testing.T, who string, targets, got []string, want func(target string) string) {
	t.Helper()
	if len(got) != len(targets) {
		t.Fatalf("%s: got %d answers to %d targets: %q", who, len(got), len(targets), got)
	}
	for i, target := range targets {
		if want := want(target); got[i] != want {
			t.Errorf("%s asks %s: got %q, want %q", who, target, got[i], want)
		}
	}
}

func always(answer string) func(string) string { return func(string) string { return answer } }

// byListener is the answer of the transparent listener, which has to know what was dialled.
func byListener(target string) string {
	_, address, _ := strings.Cut(target, "/")
	return "listener at " + address
}

func TestEveryPortReachesTheListener(t *testing.T) {
	client, _ := network(t, edgeOn("wan0"))
	defer listen(t)()
	ports := []int{1, 22, 53, 67, 123, 443, 546, 5353, 7777, 8443, 61000, 65535}
	for range 12 {
		ports = append(ports, 1+rand.IntN(65535))
	}
	for _, port := range ports {
		list := targets(dialled, port)
		expect(t, "client", list, client.dial(t, list...), byListener)
	}
}

// decoy is a service of the box on all its addresses.
func decoy(t *testing.T) {
	t.Helper()
	tcp, udp := serve("2222", func(string) string { return "decoy" })
	t.Cleanup(func() { tcp.Close(); udp.Close() })
}

func TestLocalServicesAreNotReachable(t *testing.T) {
	client, origin := network(t, edgeOn("wan0"))
	decoy(t)
	exact, err := net.Listen("tcp", "198.18.1.10:3333")
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Close()
	go accept(exact, func(net.Conn) string { return "decoy" })
	list := append(targets(dialled, 2222), "tcp/198.18.1.10:3333")

	expect(t, "client without a listener", list, client.try(t, list...), always(silence))
	stop := listen(t)
	expect(t, "client", list, client.dial(t, list...), byListener)
	expect(t, "origin", list, origin.try(t, list...), always(silence))
	expect(t, "the box", list, askAll(net.Dialer{Timeout: moment}, list), always(silence))
	stop()
	expect(t, "client after the listener", list, client.try(t, list...), always(silence))
}

func TestManagementIsNotIntercepted(t *testing.T) {
	client, origin := network(t, edgeOn("wan0"))
	decoy(t)
	defer listen(t)()
	list := targets(own, 2222)
	expect(t, "client", list, client.dial(t, list...), always("decoy"))
	list = targets([]string{"198.18.2.1", "[2001:db8:2::1]"}, 2222)
	expect(t, "origin", list, origin.dial(t, list...), always("decoy"))

	list = targets([]string{"198.18.1.1", "[2001:db8:1::1]"}, int(steering.ListenPort))
	expect(t, "client at the listener's own port", list, client.dial(t, list...), always("connection refused"))
}

func TestOwnTrafficIsNotIntercepted(t *testing.T) {
	shared := edgeOn("wan0")
	shared.Addresses = append(slices.Clone(edge), netip.MustParsePrefix("198.18.1.1/32"), netip.MustParsePrefix("2001:db8:1::1/128"))
	single := edgeOn("wan0", "lan0")
	single.Addresses = shared.Addresses
	for name, c := range map[string]plan.Steering{"edge addresses": edgeOn("wan0"), "own addresses as well": shared, "all interfaces": single} {
		t.Run(name, func(t *testing.T) {
			client, _ := network(t, c)
			defer listen(t)()
			for _, side := range []int{1, 2} {
				v4, v6 := fmt.Sprintf("198.18.%d", side), fmt.Sprintf("2001:db8:%d:", side)
				for _, target := range targets([]string{v4 + ".2", "[" + v6 + ":2]"}, 7777) {
					want := "host asked by " + v4 + ".1"
					if strings.Contains(target, "[") {
						want = "host asked by " + v6 + ":1"
					}
					if got := ask(net.Dialer{}, target); got != want {
						t.Errorf("the box asks %s: got %q, want %q", target, got, want)
					}
				}
			}
			list := targets(dialled, 7777)
			expect(t, "client", list, client.dial(t, list...), byListener)
		})
	}
}

// An address that is both: the box's services are out of reach, the listener answers.
func TestServicesOnASharedAddress(t *testing.T) {
	c := edgeOn("wan0")
	c.Addresses = []netip.Prefix{netip.MustParsePrefix("198.18.1.1/32"), netip.MustParsePrefix("2001:db8:1::1/128")}
	client, origin := network(t, c)
	decoy(t)
	list := targets(own, 2222)
	expect(t, "client without a listener", list, client.try(t, list...), always(silence))
	defer listen(t)()
	expect(t, "client", list, client.dial(t, list...), byListener)
	expect(t, "origin", list, origin.try(t, list...), always(silence))
}

func TestPingAndNeighbours(t *testing.T) {
	client, _ := network(t, edgeOn("wan0"))
	var addresses []string
	for _, a := range dialled {
		addresses = append(addresses, strings.Trim(a, "[]"))
	}
	client.sh(t, "ip neigh flush all; ip -6 neigh flush all")
	expect(t, "client", addresses, client.run(t, "ping", addresses...), always("pong"))
	for _, a := range []string{"198.18.1.10", "2001:db8:1::10", "198.18.1.70"} {
		if out := client.sh(t, "ip neigh show "+a); !strings.Contains(out, "lladdr") {
			t.Errorf("the client found no neighbour %s: %q", a, out)
		}
	}
	// Later probes go to the address itself, not to the multicast group (RFC 4861 section 7.3.3).
	client.sh(t, "ip neigh change 2001:db8:1::10 dev eth0 nud probe")
	eventually(t, "the edge address answers a unicast probe", func() bool {
		return strings.Contains(client.sh(t, "ip neigh show 2001:db8:1::10"), "REACHABLE")
	})
}

// foreign is a dialer with the client's address as source, as a transparent session has it.
func foreign(network, address string, limit time.Duration) net.Dialer {
	a := netip.AddrPortFrom(netip.MustParseAddr(address), 0)
	if network == "udp" {
		return net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(a), Control: transparent, Timeout: limit}
	}
	return net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(a), Control: transparent, Timeout: limit}
}

func TestTransparentSource(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			c := edgeOn("wan0")
			c.Transparent = on
			network(t, c)
			for _, proto := range []string{"tcp", "udp"} {
				for source, origin := range map[string]string{"198.18.1.2": "198.18.2.2", "2001:db8:1::2": "[2001:db8:2::2]"} {
					answer, refusal, limit := "host asked by "+source, "connection refused", patience
					if !on {
						answer, refusal, limit = silence, silence, moment
					}
					if got := ask(foreign(proto, source, limit), proto+"/"+origin+":7777"); got != answer {
						t.Errorf("%s from %s: got %q, want %q", proto, source, got, answer)
					}
					// UDP: the refusal is an ICMP error, addressed to the client.
					if got := ask(foreign(proto, source, limit), proto+"/"+origin+":9"); got != refusal {
						t.Errorf("%s from %s to a closed port: got %q, want %q", proto, source, got, refusal)
					}
				}
			}
		})
	}
}

// An ICMP error about a packet from an edge address reaches the socket that sent it.
func TestErrorsReachTheSocket(t *testing.T) {
	network(t, edgeOn("wan0"))
	for source, client := range map[string]string{"198.18.1.10": "198.18.1.2", "2001:db8:50::5": "[2001:db8:1::2]"} {
		if got := ask(foreign("udp", source, patience), "udp/"+client+":9"); got != "connection refused" {
			t.Errorf("from %s: got %q, want a refusal", source, got)
		}
	}
}

func TestProbeReturn(t *testing.T) {
	c := edgeOn("wan0")
	c.Transparent = true
	_, origin := network(t, c)
	probe := func(address string, limit time.Duration, want error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := steering.ProbeReturn(ctx, netip.MustParseAddrPort(address)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", address, err, want)
		}
	}
	for _, address := range []string{"198.18.2.2:7777", "198.18.2.2:9", "[2001:db8:2::2]:7777", "[2001:db8:2::2]:9"} {
		probe(address, patience, nil)
	}
	origin.sh(t, "ip route del default; ip -6 route del default")
	probe("198.18.2.2:7777", moment, steering.ErrNoReturn)
	probe("[2001:db8:2::2]:7777", moment, steering.ErrNoReturn)
}

// A mark is worth nothing by itself, wherever it comes from.
func TestMarksOpenNoDoor(t *testing.T) {
	client, origin := network(t, edgeOn("wan0"))
	decoy(t)
	defer listen(t)()
	sh(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	defer sh(t, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
	elsewhere := targets([]string{"203.0.113.9", "[2001:db8:ffff::9]", "198.18.1.2", "[2001:db8:1::2]"}, 2222)

	// The box itself.
	list := append(targets(dialled, 2222), elsewhere...)
	for range 8 {
		mark := int(steering.Mark | rand.Uint32()&^steering.Mask)
		for i, got := range askAll(net.Dialer{Control: withMark(mark), Timeout: moment}, list) {
			if got == "decoy" {
				t.Errorf("the box asks %s with mark %#x: got the decoy", list[i], mark)
			}
		}
	}
	// A neighbour, as if marks could travel.
	for _, iptables := range []string{"iptables", "ip6tables"} {
		for _, proto := range []string{"tcp", "udp"} { // not of ICMP, or there would be no neighbours
			forge := fmt.Sprintf("%s -t raw -%%s PREROUTING -p %s -j MARK --set-mark %#x", iptables, proto, steering.Mark)
			sh(t, fmt.Sprintf(forge, "A"))
			defer sh(t, fmt.Sprintf(forge, "D"))
		}
	}
	edges := len(targets(dialled, 2222))
	for i, got := range origin.try(t, list...) {
		if got == "decoy" || i < edges && got != silence {
			t.Errorf("origin asks %s with the mark: got %q", list[i], got)
		}
	}
	list = targets(dialled, 2222)
	expect(t, "client with the mark", list, client.dial(t, list...), byListener)
}

// Why Apply refuses src_valid_mark, even where rp_filter is off.
func TestSourceCheckOfMarkedPackets(t *testing.T) {
	client, _ := network(t, edgeOn("wan0"))
	defer listen(t)()
	v4 := targets([]string{"198.18.1.10"}, 2222)
	conf := func(mark, filter int) {
		sh(t, fmt.Sprintf("cd /proc/sys/net/ipv4/conf; echo %d >all/src_valid_mark; echo %d >wan0/rp_filter", mark, filter))
	}
	defer conf(0, 0)
	for _, tt := range []struct {
		mark, filter int
		ask          func(*testing.T, ...string) []string
		want         func(string) string
	}{{0, 2, client.dial, byListener}, {1, 0, client.try, always(silence)}, {1, 2, client.try, always(silence)}} {
		conf(tt.mark, tt.filter)
		expect(t, fmt.Sprintf("client, src_valid_mark %d, rp_filter %d,", tt.mark, tt.filter), v4, tt.ask(t, v4...), tt.want)
	}
}

func TestNoConnectionTracking(t *testing.T) {
	c := edgeOn("wan0")
	c.Transparent = true
	client, _ := network(t, c)
	defer listen(t)()
	list := targets(dialled, 4321)
	expect(t, "client", list, client.dial(t, list...), byListener)
	count, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, os.ErrNotExist) {
		return // the module is not even there
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(count)); got != "0" {
		t.Errorf("got %s tracked connections, want 0", got)
	}
}
