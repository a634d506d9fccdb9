//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// moment is how long to wait for what must not happen.
const moment = 300 * time.Millisecond

// decoys are services of the box itself, on all its addresses, that nobody outside may reach by an edge address.
type decoys struct {
	port uint16
	hits atomic.Int64
}

func newDecoys(t *testing.T, port uint16) *decoys {
	t.Helper()
	d := &decoys{port: port}
	for network, any := range map[string]netip.Addr{"4": netip.IPv4Unspecified(), "6": netip.IPv6Unspecified()} {
		at := netip.AddrPortFrom(any, port).String()
		c := wildcardUDP(t, "udp"+network, at, unix.SO_REUSEADDR)
		answering(c, func([]byte, netip.AddrPort) []byte {
			d.hits.Add(1)
			return []byte("decoy")
		})
		var l net.Listener
		err := lab.Inside(lab.Edge, func() (err error) {
			l, err = net.Listen("tcp"+network, at)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		accepting(l.(*net.TCPListener), func(c *net.TCPConn) {
			d.hits.Add(1)
			_, _ = c.Write([]byte("decoy"))
		})
	}
	return d
}

// wildcardUDP opens a UDP socket of the box itself with some options of SOL_SOCKET set.
func wildcardUDP(t *testing.T, network, at string, options ...int) *net.UDPConn {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) {
			for _, o := range options {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o, 1))
			}
		})
		return err
	}}
	var c net.PacketConn
	err := lab.Inside(lab.Edge, func() (err error) {
		c, err = lc.ListenPacket(t.Context(), network, at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

// TestUDPPortThatAProgramOfTheBoxHas: where a program holds a port on all addresses and shares it with nobody, the
// kernel lets nobody else answer from there. Players get no answer; the operator sees why.
func TestUDPPortThatAProgramOfTheBoxHas(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games := service("games", "2223")
		games.Path = "user" // the kernel path answers without a socket
		apply(t, document([]settings.Pool{pool("games", f.origin)}, games))
		at := netip.AddrPortFrom(netip.IPv6Unspecified(), 2223)
		network := "udp6"
		if f.edge.Is4() {
			at, network = netip.AddrPortFrom(netip.IPv4Unspecified(), 2223), "udp4"
		}
		theirs := wildcardUDP(t, network, at.String())
		before := reasons(t, plan.UDP)[status.NoSourcePort]
		c := connectUDP(t, f.at(2223))
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		counted(t, plan.UDP, status.NoSourcePort, before, 1)
		if err := theirs.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := askUDP(c, "hello"); err != nil {
			t.Errorf("after the program has gone: %v", err)
		}
	})
}

// try knocks at an address from a namespace, over TCP and UDP, without a look at what comes within the limit.
func (d *decoys) try(t *testing.T, ns string, from, addr netip.Addr, limit time.Duration) {
	t.Helper()
	at, source := netip.AddrPortFrom(addr, d.port), netip.AddrPortFrom(from, 0)
	err := lab.Inside(ns, func() error {
		dialer := net.Dialer{Timeout: limit, LocalAddr: net.TCPAddrFromAddrPort(source)}
		if c, err := dialer.Dial("tcp", at.String()); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(limit))
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(source), net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = c.Write([]byte("hello"))
		_ = c.SetReadDeadline(time.Now().Add(limit))
		_, _ = c.Read(make([]byte, 16))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLocalServicesAreOutOfReach: by an edge address nobody reaches what listens on the box, with edge alive, dead,
// starting and draining, on mapped ports and others.
func TestLocalServicesAreOutOfReach(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		d := newDecoys(t, 2222)
		server := ownAddress(t, f, 58) // the lab's origin has no address that it could send from
		d.try(t, lab.Client, f.client, host(f.client, 1), patience)
		d.try(t, lab.Origin, server, host(f.origin, 1), patience)
		if d.hits.Load() != 4 {
			t.Fatalf("the decoys of the box's own addresses were reached %d times, want 4, or they prove nothing", d.hits.Load())
		}
		d.hits.Store(0)
		none := func(when string) {
			t.Helper()
			var trying sync.WaitGroup
			trying.Go(func() { d.try(t, lab.Client, f.client, f.edge, moment) })
			trying.Go(func() { d.try(t, lab.Origin, server, f.edge, moment) })
			trying.Wait()
			if n := d.hits.Load(); n > 0 {
				t.Errorf("%s: local services were reached %d times by an edge address", when, n)
			}
		}
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "3000")))
		none("a port of no service")
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1-65535")))
		none("a port of a service")
		if err := servedBy(f.at(2222), "games-1"); err != nil {
			t.Errorf("the same port of the origin: %v", err)
		}
		back := withoutEdge(t)
		none("edge is dead")
		var knocking sync.WaitGroup
		over := make(chan struct{})
		knocking.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					d.try(t, lab.Client, f.client, f.edge, moment)
				}
			}
		})
		back()
		close(over)
		knocking.Wait()
		none("edge was started again")
	})
}

// countToOrigins counts the SYNs and datagrams that arrive at the origins from the box, as long as the test goes on: sessions of
// the cases before may still say that they end. The box itself would not count all: the kernel path is in front of its rules.
func countToOrigins(t *testing.T, f family) func() int {
	t.Helper()
	iptables := map[bool]string{true: "iptables", false: "ip6tables"}[f.edge.Is4()]
	for _, protocol := range []string{"tcp --syn", "udp"} {
		rule := " PREROUTING -i eth0 -p " + protocol + " -m comment --comment e2e"
		change(t, lab.Origin, iptables+" -t mangle -I"+rule, iptables+" -t mangle -D"+rule) // in front of the rule that takes all
	}
	return func() int {
		packets := 0
		for line := range strings.Lines(inside(t, lab.Origin, iptables, "-t", "mangle", "-L", "PREROUTING", "-v", "-n", "-x")) {
			if strings.Contains(line, "e2e") {
				n, err := strconv.Atoi(strings.Fields(line)[0])
				if err != nil {
					t.Fatal(err)
				}
				packets += n
			}
		}
		return packets
	}
}

// TestNoOpenProxy: what has no service goes nowhere, whatever address and port is asked for.
func TestNoOpenProxy(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "3001")))
		count := countToOrigins(t, f)
		// The client's default route is the box, so all of these reach it.
		others := []netip.Addr{f.origin, host(f.origin, 1), host(f.origin, 99), host(f.client, 1)}
		outside := netip.MustParsePrefix("203.0.113.0/24").Addr()
		if f.edge.Is6() {
			outside = netip.MustParseAddr("2001:db8:ffff::")
		}
		// Many at a time, as most get no answer: the shield tells few in a second that there is no service.
		onEach(t, 128, upTo(2000), func(i int) error {
			at := f.at(uint16(1 + rand.IntN(3000)))
			switch i % 20 {
			case 18:
				at = netip.AddrPortFrom(others[i%len(others)], uint16(3001))
			case 19:
				at = netip.AddrPortFrom(host(outside, byte(i)), 3001)
			}
			if c, err := net.Dial("udp", at.String()); err == nil {
				_, _ = c.Write([]byte("hello"))
				_ = c.Close()
			}
			c, err := net.DialTimeout("tcp", at.String(), moment)
			if err != nil {
				return nil
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = c.Write([]byte("hello"))
			if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
				return fmt.Errorf("%s: got %q (%w), want an end without a byte", at, got, err)
			}
			return nil
		})
		if n := count(); n != 0 {
			t.Errorf("got %d sessions and datagrams towards the origins, want none", n)
		}
		if err := servedBy(f.at(3001), "games-1"); err != nil {
			t.Error(err)
		}
		if count() == 0 {
			t.Error("what goes to the origin was not counted, so the count proves nothing")
		}
	})
}

// TestOwnConnectionsOfTheBox go out and come back as if there were no steering.
func TestOwnConnectionsOfTheBox(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := service("games", "1-65535")
		s.Transparent = true
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		outside := netip.AddrPortFrom(f.client, 3002)
		accepting(listen(t, lab.Client, outside), func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
		answering(listenUDP(t, lab.Client, outside), func(d []byte, _ netip.AddrPort) []byte { return slices.Clone(d) })
		for _, network := range []string{"tcp", "udp"} {
			err := lab.Inside(lab.Edge, func() error {
				c, err := net.DialTimeout(network, outside.String(), patience)
				if err != nil {
					return err
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if _, err := c.Write([]byte("hello")); err != nil {
					return err
				}
				got := make([]byte, 5)
				_, err = io.ReadFull(c, got)
				return err
			})
			if err != nil {
				t.Errorf("%s from the box to %s: %v", network, outside, err)
			}
		}
	})
}

// TestNoConnectionTracking: its table is the first thing a flood fills.
func TestNoConnectionTracking(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1-65535")))
		h := hold(t, f, 3003, 50, 50)
		h.verify(t)
		got, err := tryInside(lab.Edge, "cat", "/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil && strings.Contains(got, "No such file") {
			return // this kernel does not even have a table
		}
		if err != nil || strings.TrimSpace(got) != "0" {
			t.Errorf("the box tracks %q connections (%v), want none", got, err)
		}
	})
}
