//go:build e2e

package foreign

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
)

// breakwater asks the box over its command line.
func breakwater(t *testing.T, answer any, args ...string) {
	t.Helper()
	out := ask(t, absolute(t, "../../../build/breakwater"), append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		t.Fatalf("breakwater %v: %v", args, err)
	}
}

// awaitHealthy waits until the health checks of a pool find its server well.
func awaitHealthy(t *testing.T, pool string) {
	t.Helper()
	eventually(t, func() error {
		var s control.Status
		breakwater(t, &s, "status")
		for _, p := range s.Edge.Pools {
			if p.Name != pool {
				continue
			}
			o := p.Origins[0]
			if o.Up && o.Checks > o.Failures {
				return nil
			}
			return fmt.Errorf("the origin of pool %s is not well: %s (%d of %d checks failed)", pool, o.Why, o.Failures, o.Checks)
		}
		return fmt.Errorf("there is no pool %s", pool)
	})
}

// sessionOf finds the session of a client.
func sessionOf(t *testing.T, client netip.AddrPort) status.Session {
	t.Helper()
	var list []status.Session
	breakwater(t, &list, "sessions", "--client", client.Addr().String())
	for _, s := range list {
		if s.Client == client {
			return s
		}
	}
	t.Fatalf("no session of %s among %v", client, list)
	panic("not reached")
}

// connect dials from an address of bw-client; the connection ends with the test.
func connect(t *testing.T, from netip.Addr, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
