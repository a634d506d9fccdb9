package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func ban(prefix string, until time.Time) plan.Ban {
	return plan.Ban{Prefix: netip.MustParsePrefix(prefix), Until: until}
}

func TestBanList(t *testing.T) {
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	l := newBanList([]plan.Ban{
		ban("203.0.113.0/24", future), ban("198.51.100.7/32", time.Time{}), ban("::ffff:192.0.2.0/120", time.Time{}),
		ban("2001:db8:1::/48", time.Time{}), ban("10.0.0.0/8", past), ban("10.1.0.0/16", future),
		ban("172.16.0.0/12", future), ban("172.16.0.0/12", past), ban("192.168.0.0/16", past), ban("192.168.0.0/16", time.Time{}),
	})
	for addr, want := range map[string]bool{
		"203.0.113.9": true, "203.0.114.0": false, "198.51.100.7": true, "198.51.100.8": false,
		"192.0.2.200": true, "::ffff:203.0.113.9": true, "::ffff:198.51.100.8": false,
		"2001:db8:1:2::3": true, "2001:db8:2::": false, "::": false,
		"10.2.0.1": false, "10.1.0.1": true, "172.20.0.1": true, "192.168.3.4": true,
	} {
		if got := l.has(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is banned: %v, want %v", addr, got, want)
		}
	}
	if l.has(netip.Addr{}) || (*banList)(nil).has(netip.MustParseAddr("203.0.113.9")) || newBanList(nil) != nil {
		t.Error("no address, or no list, is banned")
	}
}

// TestBanEndsAndRefuses: what is open ends with a reset, what comes is reset, the others go on.
func TestBanEndsAndRefuses(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	banned, other := dial(t, b.edge4), dial(t, b.edge6)
	for _, c := range []*net.TCPConn{banned, other} {
		mustWrite(t, c, []byte("x"))
		mustRead(t, c, "x")
	}
	b.SetBans([]plan.Ban{ban("127.0.0.0/8", time.Time{})})
	wantReset(t, banned)
	wantNoEntry(t, b.edge4)
	mustWrite(t, other, []byte("still"))
	mustRead(t, other, "still")
	if n := b.count(plan.TCP, status.Banned); n != 2 {
		t.Errorf("%d counted as banned, want 2", n)
	}
	b.SetBans(nil)
	again := dial(t, b.edge4)
	mustWrite(t, again, []byte("back"))
	mustRead(t, again, "back")
}

func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes and %v, want a reset", n, err)
	}
}

// wantNoEntry expects a new client to be reset, be it before or after its connect has returned.
func wantNoEntry(t *testing.T, edge netip.AddrPort) {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(edge))
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		wantReset(t, c)
		_ = c.Close()
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connect: %v, want a reset", err)
	}
}

func TestBanIsOver(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	b.SetBans([]plan.Ban{ban("127.0.0.1/32", time.Now().Add(200*time.Millisecond))})
	eventually(t, "the client is let in again", func() bool {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(b.edge4))
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return err == nil
	})
}

func TestBanOfFlows(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), nil)
	banned, other := dialUDP(t, b.edge4), dialUDP(t, b.edge6)
	mustAnswer(t, banned, []byte("x"), []byte("x"))
	mustAnswer(t, other, []byte("x"), []byte("x"))
	b.SetBans([]plan.Ban{ban("127.0.0.1/32", time.Time{})})
	if flows := b.all(); len(flows) != 1 || flows[0].Edge != b.edge6 {
		t.Errorf("the flows %+v are left, want that over IPv6", flows)
	}
	mustWrite(t, banned, []byte("x"))
	eventually(t, "the datagram is counted", func() bool { return b.count(plan.UDP, status.Banned) == 2 })
	mustAnswer(t, other, []byte("still"), []byte("still"))
}

// TestBanBehindALoadBalancer: the client counts that the header names, and also who sends the header.
func TestBanBehindALoadBalancer(t *testing.T) {
	b := start(t, serveTCP(t, echo), func(p *plan.Plan) {
		p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	through := func(edge netip.AddrPort, client string) *net.TCPConn {
		c := dial(t, edge)
		h, err := header.V2(plan.TCP, netip.MustParseAddrPort(client), netip.MustParseAddrPort("198.51.100.1:443"), header.TLVs{})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, c, append(h, "x"...))
		return c
	}
	open, other := through(b.edge4, "203.0.113.9:1000"), through(b.edge4, "203.0.114.9:1000")
	mustRead(t, open, "x")
	mustRead(t, other, "x")
	b.SetBans([]plan.Ban{ban("203.0.113.0/24", time.Time{}), ban("::1/128", time.Time{})})
	wantReset(t, open)
	wantReset(t, through(b.edge4, "203.0.113.10:1000"))
	wantNoEntry(t, b.edge6)
	mustWrite(t, other, []byte("still"))
	mustRead(t, other, "still")
}

// TestBanIsFast: one client among many sessions is gone at once.
func TestBanIsFast(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), func(p *plan.Plan) { p.Limits.MaxFlows, p.Limits.MaxFlowsPerSource = 1<<16, 1<<16 })
	banned := dialUDP(t, b.edge6)
	mustAnswer(t, banned, []byte("x"), []byte("x"))
	for range 200 {
		mustAnswer(t, dialUDP(t, b.edge4), []byte("x"), []byte("x"))
	}
	list := []plan.Ban{ban("::1/128", time.Time{})}
	for i := range plan.MaxBans - 1 {
		list = append(list, ban(fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255), time.Time{}))
	}
	began := time.Now()
	b.SetBans(list)
	took := time.Since(began)
	t.Logf("%d bans took %s", len(list), took)
	if took > 3*time.Second { // on an idle machine it is a hundredth of that, and with the race detector a tenth
		t.Errorf("%d bans took %s", len(list), took)
	}
	if n := len(b.all()); n != 200 {
		t.Errorf("%d flows are left, want 200", n)
	}
}

// TestNoAllocationForALookup: a flood of banned clients must not keep the collector busy.
func TestNoAllocationForALookup(t *testing.T) {
	l := newBanList([]plan.Ban{ban("203.0.113.0/24", time.Now().Add(time.Hour)), ban("2001:db8::/32", time.Time{}), ban("10.0.0.0/8", time.Time{})})
	for _, addr := range []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		if n := testing.AllocsPerRun(100, func() { l.has(addr) }); n != 0 {
			t.Errorf("%s: %v allocations", addr, n)
		}
	}
}
