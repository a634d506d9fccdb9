package proxy

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// serveUDP answers each datagram to a port of 127.0.0.1 with what handle makes of it; nil: no answer.
func serveUDP(t *testing.T, handle func(from netip.AddrPort, datagram []byte) [][]byte) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			for _, reply := range handle(from, buffer[:n]) {
				_, _ = c.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

func echoDatagram(_ netip.AddrPort, d []byte) [][]byte { return [][]byte{d} }

func dialUDP(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func clientOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func mustAnswer(t *testing.T, c *net.UDPConn, send, want []byte) {
	t.Helper()
	mustWrite(t, c, send)
	buffer := make([]byte, 65536)
	n, err := c.Read(buffer)
	if err != nil || !bytes.Equal(buffer[:n], want) {
		t.Fatalf("answer of %d bytes %.80q, %v; want %d bytes %.80q", n, buffer[:max(n, 0)], err, len(want), want)
	}
}

func TestDatagramsBothFamilies(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), nil)
	for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		c := dialUDP(t, edge)
		for _, size := range []int{1, 0, 1200, 9000, 1472} { // a zero-length datagram is one too
			data := random(size, byte(size))
			mustAnswer(t, c, data, data)
		}
	}
	if flows := b.all(); len(flows) != 2 || flows[0].Protocol != plan.UDP || flows[0].BytesToOrigin != 1+1200+9000+1472 {
		t.Errorf("flows: %+v", flows)
	}
}

func TestDatagramHeaders(t *testing.T) {
	for _, test := range []struct {
		mode   plan.UDPHeader
		headed []bool // which of three datagrams carry a header
	}{
		{plan.UDPNone, []bool{false, false, false}},
		{plan.UDPV2Each, []bool{true, true, true}},
		{plan.UDPV2First, []bool{true, false, false}},
	} {
		t.Run(string(test.mode), func(t *testing.T) {
			b := start(t, serveUDP(t, func(_ netip.AddrPort, d []byte) [][]byte {
				h, payload, err := header.ParseDatagram(d)
				if err != nil {
					return [][]byte{append([]byte("none "), d...)}
				}
				return [][]byte{fmt.Appendf(nil, "%v %v %s", h.Source, h.Destination, payload)}
			}), func(p *plan.Plan) { p.Services[0].UDPHeader = test.mode })
			for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
				c := dialUDP(t, edge)
				for i, headed := range test.headed {
					want := fmt.Appendf(nil, "none %d", i)
					if headed {
						want = fmt.Appendf(nil, "%v %v %d", clientOf(c), edge, i)
					}
					mustAnswer(t, c, fmt.Append(nil, i), want)
				}
			}
		})
	}
}

func TestSPPBothWays(t *testing.T) {
	b := start(t, serveUDP(t, func(_ netip.AddrPort, d []byte) [][]byte {
		src, dst, payload, ok := header.ParseSPP(d)
		if !ok {
			return nil
		}
		right, wrong := header.SPP(src, dst), header.SPP(dst, src)
		return [][]byte{[]byte("no header"), append(wrong[:], "of another"...), append(right[:], payload...)}
	}), func(p *plan.Plan) { p.Services[0].UDPHeader = plan.UDPSPP })
	for i, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		c := dialUDP(t, edge)
		mustAnswer(t, c, []byte("hello"), []byte("hello"))
		if got, want := b.count(plan.UDP, status.BadSPP), uint64(2*(i+1)); got != want {
			t.Errorf("%d answers counted as bad-spp, want %d", got, want)
		}
	}
}

// TestAmplification: an origin that answers with much more than it was asked must not reach a client that has proven
// nothing, and must reach one that has.
func TestAmplification(t *testing.T) {
	large := random(1400, 9)
	asked := 0
	b := start(t, serveUDP(t, func(_ netip.AddrPort, d []byte) [][]byte {
		if string(d) != "large" {
			return [][]byte{d}
		}
		switch asked++; {
		case asked < 20: // an answer now would make what the client says next a proof
			return nil
		case asked == 20:
			return slices.Repeat([][]byte{large}, 20)
		}
		return [][]byte{large}
	}), func(p *plan.Plan) { p.Services[0].Limits.MaxAmplification = 3 })
	spoofed := dialUDP(t, b.edge4)
	for range 20 {
		mustWrite(t, spoofed, []byte("large"))
		eventually(t, "the flow is open", func() bool { return len(b.all()) == 1 }) // see TestFlowLimits
	}
	eventually(t, "20 answers dropped or passed", func() bool {
		f := b.all()
		return len(f) == 1 && f[0].BytesToClient/1400+b.count(plan.UDP, status.Amplification) == 20
	})
	in, out := 20*wireBytes(5, true), b.all()[0].BytesToClient/1400*wireBytes(1400, true)
	if out > 3*in {
		t.Errorf("%d bytes out for %d in", out, in)
	}
	real := dialUDP(t, b.edge4)
	for range provenRounds + 1 {
		mustAnswer(t, real, []byte("x"), []byte("x"))
	}
	mustAnswer(t, real, []byte("large"), large)
}

func TestFlowsEnd(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), func(p *plan.Plan) { p.Services[0].Timeouts.FlowIdle = time.Second })
	events, end := b.Events()
	defer end()
	c := dialUDP(t, b.edge4)
	mustAnswer(t, c, []byte("x"), []byte("x"))
	eventually(t, "the flow is gone", func() bool { return len(b.all()) == 0 })
	if first, second := <-events, <-events; first.Type != status.Connect || second.Type != status.Disconnect || *second.Reason != status.Normal || first.ID != second.ID {
		t.Errorf("events %+v and %+v", first, second)
	}
	mustAnswer(t, c, []byte("again"), []byte("again"))
	if id := b.all()[0].ID; !b.Kill(id) {
		t.Error("a flow can be killed")
	}
	if len(b.all()) != 0 {
		t.Error("the killed flow is still there")
	}
}

func TestFlowLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*plan.Plan)
		reason status.Reason
		most   int
	}{
		{"of the service", func(p *plan.Plan) { p.Services[0].Limits.MaxFlows = 10 }, status.ServiceLimit, 10},
		{"of the box", func(p *plan.Plan) { p.Limits.MaxFlows = 10 }, status.FlowLimit, 10},
		{"of a source", func(p *plan.Plan) { p.Limits.MaxFlowsPerSource = 10 }, status.SourceLimit, 10},
		{"by rate", func(p *plan.Plan) { p.Limits.NewFlowsPerSec = 10 }, status.RateLimit, 20},
		{"by rate of the service", func(p *plan.Plan) { p.Services[0].Limits.NewFlowsPerSec = 10 }, status.RateLimit, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, serveUDP(t, echoDatagram), test.change)
			first := dialUDP(t, b.edge4)
			mustAnswer(t, first, []byte("x"), []byte("x"))
			// Without TPROXY, which passes sockets that are not connected by, the socket that answers from the edge
			// address would take what comes while the second worker opens it. So nothing comes then.
			release := b.hold(t)
			const more = 60
			for range more {
				mustWrite(t, dialUDP(t, b.edge4), []byte("x"))
			}
			release()
			eventually(t, "all are answered or counted", func() bool {
				return uint64(len(b.all()))+b.count(plan.UDP, test.reason) == more+1
			})
			if n := len(b.all()); n > test.most+1 || n < 2 { // two workers may both take the last place
				t.Errorf("%d flows, want at most %d", n, test.most)
			}
			mustAnswer(t, first, []byte("still"), []byte("still"))
		})
	}
}

// TestQuarantine: no source port is used for a second client within the time a receiver remembers the first.
func TestQuarantine(t *testing.T) {
	var q quarantine
	at := way{origin: netip.MustParseAddrPort("198.18.2.2:19132")}
	seen := map[uint16]bool{}
	const ports = lastSourcePort - firstSourcePort + 1
	for n := range ports {
		port := q.take(at, int64(n))
		if port < firstSourcePort || seen[port] {
			t.Fatalf("port %d after %d", port, n)
		}
		seen[port] = true
	}
	if port := q.take(at, 0); port != 0 {
		t.Fatalf("port %d, though all are taken", port)
	}
	q.giveBack(at, 4711, int64(time.Hour))
	if port := q.take(at, int64(time.Hour)+quarantineTime-1); port != 0 {
		t.Errorf("port %d out of quarantine too early", port)
	}
	if port := q.take(at, int64(time.Hour)+quarantineTime); port != 4711 {
		t.Errorf("port %d, want 4711 again", port)
	}
	if port := q.take(way{origin: netip.MustParseAddrPort("198.18.2.3:19132")}, 0); port == 0 {
		t.Error("another origin has ports of its own")
	}
	if port := q.take(way{netip.MustParseAddr("198.18.2.1"), at.origin}, 0); port == 0 {
		t.Error("another source has ports of its own")
	}
}

func TestOriginThatRefusesEndsTheFlow(t *testing.T) {
	b := start(t, freePort(t), nil)
	c := dialUDP(t, b.edge4)
	mustWrite(t, c, []byte("anyone?"))
	eventually(t, "the flow ends", func() bool { return b.count(plan.UDP, status.OriginRefused) == 1 && len(b.all()) == 0 })
}

func TestNoAllocationForADatagram(t *testing.T) {
	b := start(t, serveUDP(t, func(_ netip.AddrPort, d []byte) [][]byte { return nil }), func(p *plan.Plan) {
		p.Services[0].UDPHeader = plan.UDPV2Each
	})
	c := dialUDP(t, b.edge4)
	data := random(64, 1)
	mustWrite(t, c, data)
	eventually(t, "the flow is open", func() bool { return len(b.all()) == 1 })
	shard := func() (n uint64) {
		for i := range b.stats["test"].shards {
			n += b.stats["test"].shards[i].datagramsToOrigin.Load()
		}
		return n
	}
	const datagrams = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range uint64(datagrams) {
		mustWrite(t, c, data)
		for shard() < n+2 {
			runtime.Gosched()
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > datagrams/10 {
		t.Errorf("%d allocations for %d datagrams", n, datagrams)
	}
}

func TestWireBytes(t *testing.T) {
	for _, test := range []struct {
		size int
		v4   bool
		want uint64
	}{
		{0, true, 84}, {5, true, 84}, {25, true, 91}, {5, false, 91}, {1472, true, 1538}, {1473, true, 1539 + 58},
	} {
		if got := wireBytes(test.size, test.v4); got != test.want {
			t.Errorf("%d bytes (IPv4 %v) are %d on the wire, want %d", test.size, test.v4, got, test.want)
		}
	}
}
