//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// sourceOf is an address of the box towards origins.
func sourceOf(f family, n byte) settings.Addr { return settings.Addr{Addr: host(f.origin, n)} }

// hasSource gives bw-edge an address towards origins until the test ends.
func hasSource(t *testing.T, f family, n byte) {
	t.Helper()
	a := sourceOf(f, n)
	option := ""
	if a.Is6() {
		option = " nodad"
	}
	address := fmt.Sprintf("%s/%d dev lan0", a, a.BitLen())
	change(t, lab.Edge, "ip addr add "+address+option, "ip addr del "+address)
}

// raised finds a condition of the box.
func raised(t *testing.T, code, subject string) (c health.Condition, found bool) {
	t.Helper()
	list := boxStatus(t).Conditions
	i := slices.IndexFunc(list, func(c health.Condition) bool { return c.Code == code && c.Subject == subject })
	if i < 0 {
		return c, false
	}
	return list[i], true
}

// peers asks through new sessions and flows and counts the addresses that the origin saw.
func peers(t *testing.T, at netip.AddrPort, n int) map[netip.Addr]int {
	t.Helper()
	seen := make(map[netip.Addr]int)
	for range n {
		tcp, err := askTCP(connect(t, at), "hello")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := askUDP(connectUDP(t, at), "hello")
		if err != nil {
			t.Fatal(err)
		}
		seen[tcp.Peer.Addr().Unmap()]++
		seen[udp.Peer.Addr().Unmap()]++
	}
	return seen
}

// TestSources: an origin sees all source addresses of its pool, on both paths and for each kind of header, and answers come back. A
// source that the box does not have is told, and used when the box gets it.
func TestSources(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		const both = 24 // that one of two source addresses is never chosen by chance has less than one chance in 10^14
		games := pool("games", f.origin)
		games.SourceAddresses = []settings.Addr{sourceOf(f, 41), sourceOf(f, 42)}
		kernel, user, first := service("kernel", "1800"), service("user", "1801"), service("first", "1802")
		kernel.Path, user.Path, first.Path = "kernel", "user", "user"
		first.TCPHeader, first.UDPHeader = "v2", "v2-first"
		hasSource(t, f, 41)
		apply(t, document([]settings.Pool{games}, kernel, user, first))
		one, other := games.SourceAddresses[0].Addr, games.SourceAddresses[1].Addr
		for port := uint16(1800); port <= 1802; port++ {
			if seen := peers(t, f.at(port), 3); seen[one] != 6 {
				t.Errorf("port %d: the origin saw %v, want %s alone", port, seen, one)
			}
		}
		c, found := raised(t, "source-missing", "games")
		if !found || !strings.Contains(c.Detail, "No interface of this box has "+other.String()) {
			t.Errorf("%s is not the box's, told is %+v", other, c)
		}
		hasSource(t, f, 42)
		eventually(t, func() error {
			if c, found := raised(t, "source-missing", "games"); found {
				return fmt.Errorf("%+v is told still", c)
			}
			return nil
		})
		for port := uint16(1800); port <= 1802; port++ {
			if seen := peers(t, f.at(port), both); seen[one] == 0 || seen[other] == 0 || seen[one]+seen[other] != 2*both {
				t.Errorf("port %d: the origin saw %v, want %s and %s", port, seen, one, other)
			}
		}
	})
}

// TestSourcesRunOut: with two ports at each of two addresses there is room for four sessions of the user path, and the fifth is told
// with the name of its origin.
func TestSourcesRunOut(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		const name = "/proc/sys/net/ipv4/ip_local_port_range"
		before := strings.Join(strings.Fields(inside(t, lab.Edge, "cat", name)), " ")
		games := pool("games", f.origin)
		games.SourceAddresses = []settings.Addr{sourceOf(f, 41), sourceOf(f, 42)}
		s := service("games", "1803")
		s.Path, s.Protocols = "user", []string{"tcp"}
		hasSource(t, f, 41)
		hasSource(t, f, 42)
		apply(t, document([]settings.Pool{games}, s))
		inside(t, lab.Edge, "sh", "-c", "echo 60000 60001 > "+name)
		t.Cleanup(func() { inside(t, lab.Edge, "sh", "-c", "echo "+before+" > "+name) })
		was := reasons(t, plan.TCP)[status.NoSourcePort]
		seen := make(map[netip.AddrPort]bool)
		for range 4 {
			answer, err := askTCP(connect(t, f.at(1803)), "hello")
			if err != nil {
				t.Fatal(err)
			}
			seen[answer.Peer] = true
		}
		if len(seen) != 4 {
			t.Errorf("four sessions came from %v", seen)
		}
		if _, err := askTCP(connect(t, f.at(1803)), "hello"); err == nil {
			t.Error("there was a fifth port")
		}
		counted(t, plan.TCP, status.NoSourcePort, was, 1)
		eventually(t, func() error {
			c, found := raised(t, "origin-portless", "games/games-1")
			if !found || !strings.Contains(c.Detail, "none of the 4 source ports free that there are towards it (source addresses: 2, ports of each: 2)") {
				return fmt.Errorf("told is %+v", c)
			}
			return nil
		})
	})
}
