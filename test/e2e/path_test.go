//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// onKernelPath puts a service on the kernel path, whichever engine the suite is run for.
func onKernelPath(s settings.Service) settings.Service {
	s.Path = "kernel"
	return s
}

// echoes expects that a session goes on.
func echoes(t *testing.T, c net.Conn, word string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(word)); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != word {
		t.Errorf("got %q (%v), want %q", got, err, word)
	}
}

// TestPathOfASession: automatic is the kernel path where nothing needs bytes, and the records say so.
func TestPathOfASession(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		kernel, user, tlvs := onKernelPath(service("kernel", "4001")), service("user", "4002"), service("tlvs", "4003")
		user.Path, tlvs.Path, tlvs.TCPHeader, tlvs.HeaderTLVs = "user", "auto", "v2", []string{"unique-id"}
		automatic := service("automatic", "4004")
		automatic.Path = "auto"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, kernel, user, tlvs, automatic))
		want := map[string]plan.Path{"kernel": plan.PathKernel, "user": plan.PathUser, "tlvs": plan.PathUser, "automatic": plan.PathKernel}
		for port := uint16(4001); port <= 4004; port++ {
			if _, err := askTCP(connect(t, f.at(port)), "hello"); err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		for _, s := range sessions(t) {
			if path, ours := want[s.Service]; ours {
				seen++
				if s.Path != path {
					t.Errorf("the session of %s is on the path %q, want %q", s.Service, s.Path, path)
				}
			}
		}
		if seen != len(want) {
			t.Errorf("got %d sessions, want %d", seen, len(want))
		}
	})
}

// TestRefusalIsSeenAtOnce: on the kernel path a player sees that the origin refuses, and after a few the others get another
// origin.
func TestRefusalIsSeenAtOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games, _, b := twoOrigins(t, f, "none")
		for i := range games.Origins { // a refusal counts where an origin has one port
			games.Origins[i].Port = settings.Ports{First: 1310, Last: 1310}
		}
		named(t, netip.AddrPortFrom(b, 1310), "b")
		apply(t, document([]settings.Pool{games}, onKernelPath(service("games", "1310"))))
		refused, before := 0, reasons(t, plan.TCP)[status.OriginRefused]
		for range 20 {
			name, err := askName(f, 1310)
			switch {
			case errors.Is(err, syscall.ECONNREFUSED):
				refused++
			case err != nil || name != "b":
				t.Fatalf("got an answer of %q (%v), want b, or a refusal", name, err)
			}
		}
		if refused < 1 || refused > 10 {
			t.Errorf("%d of 20 players were refused, want a few, until the origin counts as down", refused)
		}
		counted(t, plan.TCP, status.OriginRefused, before, uint64(refused))
		waitForOrigin(t, "a", false)
		onlyFrom(t, f, 1310, "b", 10)
	})
}

// TestSilentOriginIsLeft: a player who waits for an origin that says nothing gets another, without dialling again.
func TestSilentOriginIsLeft(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games, a, b := twoOrigins(t, f, "none")
		games.Health.Fall = 1
		named(t, netip.AddrPortFrom(b, 1311), "b")
		iptables := map[bool]string{true: "iptables", false: "ip6tables"}[f.edge.Is4()]
		rule := " INPUT -d " + a.String() + " -j DROP"
		change(t, lab.Origin, iptables+" -A"+rule, iptables+" -D"+rule)
		apply(t, document([]settings.Pool{games}, onKernelPath(service("games", "1311"))))
		for range 3 { // one of them meets the silent one first
			c, err := net.DialTimeout("tcp", f.at(1311).String(), patience)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		waitForOrigin(t, "a", false)
	})
}

// TestSessionsOutliveEdge: sessions and flows of the kernel path go on while edge is dead, new ones begin, and the next edge
// knows them all.
func TestSessionsOutliveEdge(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		outlives := onKernelPath(service("outlives", "1312"))
		outlives.Pool = "outlives"
		games := pool("outlives", f.origin)
		games.Origins[0].Name = "outlives-" + map[bool]string{true: "4", false: "6"}[f.edge.Is4()] // nobody else's flows are there
		apply(t, document([]settings.Pool{games}, outlives))
		tcp, udp := connect(t, f.at(1312)), connectUDP(t, f.at(1312))
		if _, err := askTCP(tcp, "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := askUDP(udp, "hello"); err != nil {
			t.Fatal(err)
		}
		back := withoutEdge(t)
		echoes(t, tcp, "still")
		if _, err := askUDP(udp, "still"); err != nil {
			t.Errorf("without edge: %v", err)
		}
		if _, err := askTCP(connect(t, f.at(1312)), "new"); err != nil {
			t.Errorf("a new player without edge: %v", err)
		}
		back()
		eventually(t, func() error {
			found := 0
			for _, s := range sessions(t) {
				if s.Service == "outlives" && s.Path == plan.PathKernel && s.Edge.Addr() == f.edge {
					found++
				}
			}
			if found != 3 {
				return fmt.Errorf("the next edge knows %d sessions and flows, want 3", found)
			}
			return nil
		})
		echoes(t, tcp, "again")
		has := func(want int64) {
			t.Helper()
			eventually(t, func() error {
				if o, _ := originUp(t, games.Origins[0].Name); o.Sessions != want {
					return fmt.Errorf("the origin has %d sessions and flows, want %d", o.Sessions, want)
				}
				return nil
			})
		}
		has(3)
		if err := tcp.Close(); err != nil {
			t.Error(err)
		}
		has(2)
	})
}

// TestNextHops: answers of the kernel path find players on the link, behind the gateway (which the lab has), and behind a router that only the
// kernel's tables know; the box follows when those change.
func TestNextHops(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		hops := onKernelPath(service("hops", "4701"))
		hops.TCPHeader = "v2"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, hops))
		far, network, command := netip.MustParseAddr("203.0.113.77"), "203.0.113.0/24", "ip -4"
		if f.edge.Is6() {
			far, network, command = netip.MustParseAddr("2001:db8:77::77"), "2001:db8:77::/64", "ip -6"
		}
		change(t, lab.Client, fmt.Sprintf("ip addr add %s dev lo", far), fmt.Sprintf("ip addr del %s dev lo", far))
		for _, by := range []string{"gateway", "router", "gateway again"} {
			t.Run(by, func(t *testing.T) {
				if by == "router" {
					route := fmt.Sprintf("%s via %s dev wan0", network, f.client)
					change(t, lab.Edge, command+" route add "+route, command+" route del "+route)
				}
				var player net.Conn
				within(t, patience, func() (err error) { // as soon as the box has heard of it
					player, err = dialFrom("tcp", far, f.at(4701), time.Second)
					return err
				})
				t.Cleanup(func() { _ = player.Close() })
				neighbour := connectFrom(t, "tcp", f.client, f.at(4701))
				for _, c := range []net.Conn{player, neighbour} {
					if got, err := askTCP(c, "hello"); err != nil || got.Source != local(c) {
						t.Errorf("got %+v (%v), want a header that says %s", got, err, local(c))
					}
				}
				udp := connectFrom(t, "udp", far, f.at(4701))
				if _, err := askUDP(udp, "hello"); err != nil {
					t.Error(err)
				}
				for _, s := range sessions(t) {
					if s.Service == "hops" && s.Path != plan.PathKernel {
						t.Errorf("%s is on the path %q", s.Client, s.Path)
					}
				}
			})
		}
	})
}
