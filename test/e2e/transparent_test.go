//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// TestTransparent: the packets themselves carry the player's address and port, on every kind of port.
func TestTransparent(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := service("transparent", "1-65535")
		s.Transparent = true
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		for _, port := range []uint16{1, 22, 53, 25565, 61000, 65535} {
			tcp := connect(t, f.at(port))
			if got, err := askTCP(tcp, "hello"); err != nil || got.Peer != local(tcp) || got.Header != "none" {
				t.Errorf("TCP port %d: got %+v (%v), want the peer %s and no header", port, got, err, local(tcp))
			}
			udp := connectUDP(t, f.at(port))
			if got, err := askUDP(udp, "hello"); err != nil || got.Peer != local(udp) || got.Header != "none" {
				t.Errorf("UDP port %d: got %+v (%v), want the peer %s and no header", port, got, err, local(udp))
			}
		}
	})
}

// probeInterval is more than the time from one probe of the return path to the end of the next.
const probeInterval = 45 * time.Second

// TestBrokenReturnPathIsTold: players' replies that leave by another way are a black hole; the box says so, names the
// origin, and sees when it is mended. Both families wait for the same probes.
func TestBrokenReturnPathIsTold(t *testing.T) {
	routes := []string{"default via 198.18.2.1 dev eth0", "default via 2001:db8:2::1 dev eth0"}
	var services []settings.Service
	var pools []settings.Pool
	for i, f := range families {
		p := pool("games", f.origin)
		s := service(f.pool(), "1-65535")
		p.Name, s.Pool, s.Transparent = f.pool(), f.pool(), true
		s.Addresses = networks(f.edge.String())
		pools, services = append(pools, p), append(services, s)
		change(t, lab.Origin, "ip route del "+routes[i], "ip route replace "+routes[i])
	}
	apply(t, document(pools, services...))
	t.Run("broken", func(t *testing.T) { eachFamily(t, returnPathIsTold) })
	for _, r := range routes {
		inside(t, lab.Origin, strings.Fields("ip route replace "+r)...)
	}
	t.Run("mended", func(t *testing.T) { eachFamily(t, returnPathIsFine) })
}

func returnPathIsTold(t *testing.T, f family) {
	subject := f.pool() + "/" + f.pool() + "-1"
	within(t, probeInterval, func() error {
		c, raised := condition(t, "return-path", subject)
		if !raised {
			return fmt.Errorf("no condition about %s", subject)
		}
		if c.Severity != health.Critical || !strings.Contains(c.Detail, f.origin.String()) {
			return fmt.Errorf("got %+v, want it critical and with the address", c)
		}
		return nil
	})
}

func returnPathIsFine(t *testing.T, f family) {
	within(t, probeInterval, func() error {
		if c, raised := condition(t, "return-path", f.pool()+"/"+f.pool()+"-1"); raised {
			return fmt.Errorf("still %+v", c)
		}
		return nil
	})
	c := connect(t, f.at(700))
	if got, err := askTCP(c, "hello"); err != nil || got.Peer != local(c) {
		t.Errorf("got %+v (%v), want the peer %s", got, err, local(c))
	}
}

// pool is a name that settings take.
func (f family) pool() string { return strings.ToLower(f.name) }

// condition finds a raised condition.
func condition(t *testing.T, code, subject string) (health.Condition, bool) {
	t.Helper()
	list := boxStatus(t).Conditions
	i := slices.IndexFunc(list, func(c health.Condition) bool { return c.Code == code && c.Subject == subject })
	if i < 0 {
		return health.Condition{}, false
	}
	return list[i], true
}
