package proxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestCrowd: both engines' sessions count together, an IPv6 client with its /64, and a rate comes back with time.
func TestCrowd(t *testing.T) {
	l := plan.ServiceLimits{MaxSessionsPerAddress: 2, MaxSessionsPerNetwork: 3, NewSessionsPerAddress: 1}
	for _, family := range []struct{ name, one, same, near, far string }{
		{"IPv4", "198.51.100.1", "198.51.100.1", "198.51.100.200", "198.51.101.1"},
		{"IPv6", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "2001:db8:2:2::1"},
	} {
		t.Run(family.name, func(t *testing.T) {
			var c crowd
			enter := func(addr string, now time.Duration, want status.Reason) {
				t.Helper()
				if got := c.enter(netip.MustParseAddr(addr), &l, now); got != want {
					t.Errorf("%s at %s: %s, want %s", addr, now, got, want)
				}
			}
			enter(family.one, time.Hour, status.Normal)
			c.other(netip.MustParseAddr(family.same), 1, time.Hour, 1) // by the kernel path
			enter(family.same, time.Hour, status.AddressLimit)
			enter(family.near, time.Hour, status.Normal)
			enter(family.near, time.Hour, status.NetworkLimit)
			enter(family.far, time.Hour, status.Normal)

			for range 3 {
				c.leave(netip.MustParseAddr(family.one))
				enter(family.one, time.Hour, status.Normal)
			}
			c.leave(netip.MustParseAddr(family.one))
			enter(family.one, time.Hour, status.AddressRate) // two, and three more: five at once
			enter(family.one, time.Hour+900*time.Millisecond, status.AddressRate)
			enter(family.one, time.Hour+time.Second, status.Normal)

			for range 2 {
				c.leave(netip.MustParseAddr(family.far)) // one more than there were
				c.leave(netip.MustParseAddr(family.near))
				c.leave(netip.MustParseAddr(family.one))
			}
			c.other(netip.MustParseAddr(family.same), 1, time.Hour, -1)
			if len(c.sessions) > 0 {
				t.Errorf("without sessions these are counted: %v", c.sessions)
			}
		})
	}
}

// TestCrowdForgets: the rates of a million addresses do not stay for ever.
func TestCrowdForgets(t *testing.T) {
	var c crowd
	for i := range 1_000_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		c.pay(plan.ClientAddress(addr), 10, time.Duration(i)*time.Millisecond)
	}
	if len(c.paid) > 4096 {
		t.Errorf("%d addresses are remembered that came 1000 a second, each for 100 ms", len(c.paid))
	}
}

func TestSourceLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits plan.ServiceLimits
		reason status.Reason
	}{
		{"of an address", plan.ServiceLimits{MaxSessionsPerAddress: 3}, status.AddressLimit},
		{"of a network", plan.ServiceLimits{MaxSessionsPerNetwork: 3}, status.NetworkLimit},
	} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, " v6=", v6), func(t *testing.T) {
				b := start(t, serveTCP(t, echo), func(p *plan.Plan) { p.Services[0].Limits = test.limits })
				edge := b.edge4
				if v6 {
					edge = b.edge6
				}
				var kept []*net.TCPConn
				for range 3 {
					c := dial(t, edge)
					mustWrite(t, c, []byte("x"))
					mustRead(t, c, "x")
					kept = append(kept, c)
				}
				if got, err := io.ReadAll(dial(t, edge)); err != nil || len(got) > 0 {
					t.Errorf("the fourth client read %q, %v", got, err)
				}
				if n := b.count(plan.TCP, test.reason); n != 1 {
					t.Errorf("%d counted as %s, want 1", n, test.reason)
				}
				_ = kept[0].Close()
				eventually(t, "there is room again", func() bool { return len(b.all()) == 2 })
				c := dial(t, edge)
				mustWrite(t, c, []byte("y"))
				mustRead(t, c, "y")
			})
		}
	}
}

// TestSourceRate: five seconds' worth come at once, and those of the other engine have used up as much.
func TestSourceRate(t *testing.T) {
	b := start(t, serveTCP(t, echo), func(p *plan.Plan) { p.Services[0].Limits.NewSessionsPerAddress = 1 })
	for range 2 {
		b.CountOtherSource("test", netip.MustParseAddr("127.0.0.1"), 1)
	}
	for i := range 4 {
		c := dial(t, b.edge4)
		if i < 3 {
			mustWrite(t, c, []byte("x"))
			mustRead(t, c, "x")
			continue
		}
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			t.Errorf("the sixth session of five is served: %q, %v", got, err)
		}
	}
	if n := b.count(plan.TCP, status.AddressRate); n != 1 {
		t.Errorf("%d counted as address-rate, want 1", n)
	}
}

// TestSourcesBehindALoadBalancer: it is the client that counts, not the load balancer.
func TestSourcesBehindALoadBalancer(t *testing.T) {
	var shared []string
	b := open(t, serveTCP(t, echo), func(p *plan.Plan) {
		p.Services[0].Limits.MaxSessionsPerAddress = 1
		p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	told := make(chan string, 16)
	b.ShareSource = func(service string, client netip.Addr, n int) { told <- fmt.Sprint(service, " ", client, " ", n) }
	b.run(t)
	var last *net.TCPConn
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		last = dial(t, b.edge4)
		mustWrite(t, last, []byte("PROXY TCP4 "+client+" 198.51.100.1 4000 5000\r\nx"))
		mustRead(t, last, "x")
		shared = append(shared, <-told)
	}
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("PROXY TCP4 192.0.2.2 198.51.100.1 4001 5000\r\nx"))
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("the second session of 192.0.2.2 read %q, %v", got, err)
	}
	if n := b.count(plan.TCP, status.AddressLimit); n != 1 {
		t.Errorf("%d counted as address-limit, want 1", n)
	}
	_ = last.Close()
	shared = append(shared, <-told)
	if got := fmt.Sprint(shared); got != "[test 192.0.2.1 1 test 192.0.2.2 1 test 192.0.2.2 -1]" {
		t.Errorf("the other engine was told %s", got)
	}
}
