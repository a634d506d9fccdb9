package proxy

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// edgesAt makes edge addresses of the addresses that clients of these tests have, but for 127.0.0.2.
func (b *box) edgesAt(t *testing.T, prefixes ...string) {
	t.Helper()
	p := b.plan
	for _, text := range prefixes {
		p.Steering.Addresses = append(p.Steering.Addresses, netip.MustParsePrefix(text))
	}
	if err := b.Apply(&p); err != nil {
		t.Fatal(err)
	}
}

// TestSessionsFromEdgeAddresses: who claims to be an edge address is reset and counted once. A session that is there goes on.
func TestSessionsFromEdgeAddresses(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	before := dial(t, b.edge4)
	mustWrite(t, before, []byte("x"))
	mustRead(t, before, "x")
	b.edgesAt(t, "127.0.0.1/32", "::1/128")
	wantNoEntry(t, b.edge4)
	wantNoEntry(t, b.edge6)
	if n := b.count(plan.TCP, status.Bogon); n != 2 {
		t.Errorf("%d counted as bogon, want 2", n)
	}
	mustWrite(t, before, []byte("y"))
	mustRead(t, before, "y")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 10 * time.Second}
	other, err := d.Dial("tcp", b.edge4.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	mustWrite(t, other, []byte("x"))
	mustRead(t, other, "x")
}

// TestFlowsFromEdgeAddresses is the same for UDP, where nothing is answered.
func TestFlowsFromEdgeAddresses(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), nil)
	before := dialUDP(t, b.edge4)
	mustAnswer(t, before, []byte("x"), []byte("x"))
	b.edgesAt(t, "::ffff:127.0.0.0/127", "::/16") // as settings may write them
	for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		mustWrite(t, dialUDP(t, edge), []byte("x"))
	}
	eventually(t, "both are counted", func() bool { return b.count(plan.UDP, status.Bogon) == 2 })
	mustAnswer(t, before, []byte("y"), []byte("y"))
	other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, net.UDPAddrFromAddrPort(b.edge4))
	if err != nil {
		t.Fatal(err)
	}
	_ = other.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _ = other.Close() })
	mustAnswer(t, other, []byte("x"), []byte("x"))
	if n := len(b.all()); n != 2 {
		t.Errorf("there are %d flows, want 2", n)
	}
}

// TestUpstreamsThatNameEdgeAddresses: when a load balancer said so, origins were told that an edge address is a player, and those of
// transparent services were dialled from it.
func TestUpstreamsThatNameEdgeAddresses(t *testing.T) {
	b := start(t, serveTCP(t, echo), func(p *plan.Plan) {
		p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	b.edgesAt(t, "203.0.113.7/32", "2001:db8:7::/48")
	session := func(to netip.AddrPort, client string) *net.TCPConn {
		t.Helper()
		from, at := netip.MustParseAddrPort(client), "198.51.100.1:25565"
		if from.Addr().Is6() {
			at = "[2001:db8:1::1]:25565"
		}
		said, err := header.V2(plan.TCP, from, netip.MustParseAddrPort(at), header.TLVs{})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, to)
		mustWrite(t, c, append(said, "x"...))
		return c
	}
	for i, client := range []string{"203.0.113.7:1234", "[2001:db8:7::abcd]:1234"} {
		for n, edge := range []netip.AddrPort{b.edge4, b.edge6} {
			wantReset(t, session(edge, client))
			if want := uint64(2*i + n + 1); b.count(plan.TCP, status.Bogon) != want {
				t.Errorf("%s over %s: %d counted as bogon, want %d", client, edge, b.count(plan.TCP, status.Bogon), want)
			}
		}
	}
	for _, client := range []string{"203.0.113.8:1234", "[2001:db8:8::1]:1234"} {
		mustRead(t, session(b.edge4, client), "x")
	}
	own := dial(t, b.edge4)
	mustWrite(t, own, append(header.Local(), "x"...)) // the load balancer's own check
	mustRead(t, own, "x")
}
