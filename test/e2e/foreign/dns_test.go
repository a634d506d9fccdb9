//go:build e2e

package foreign

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"breakwater/test/lab"
)

// The recursor reads a PROXY header in front of every datagram and every TCP connection of the box, and drops those
// without one. A transparent service brings it the clients' own packets, which need none.
func TestRecursorSeesClients(t *testing.T) {
	recursor := start(t, lab.Origin, "pdns_recursor", "--daemon=no", "--socket-dir="+t.TempDir(),
		"--config-dir="+absolute(t, "testdata/recursor"), "--lua-dns-script="+absolute(t, "testdata/recursor/who.lua"))
	for _, c := range []struct {
		service string
		port    uint16
		dialled func(f family) netip.Addr // what the recursor takes for the address that was asked
	}{
		{"dns", 53, func(f family) netip.Addr { return f.edge }},
		{"dns-transparent", 5300, func(f family) netip.Addr { return f.origin }},
	} {
		t.Run(c.service, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, f family) {
				recursor.awaitListening(t, f.origin, 53)
				// The source port stays, so that the second question is a later datagram of the flow, and not a new one.
				udp := netip.AddrPortFrom(f.client, c.port+40000)
				for range 2 {
					checkWho(t, dig(t, udp, f.at(c.port), "+notcp"), udp, c.dialled(f))
				}
				tcp := netip.AddrPortFrom(f.client, c.port+40001)
				checkWho(t, dig(t, tcp, f.at(c.port), "+tcp"), tcp, c.dialled(f))
				awaitHealthy(t, f.name(c.service))
			})
		})
	}
}

// dig asks who the server takes the client for.
func dig(t *testing.T, from, at netip.AddrPort, transport string) string {
	t.Helper()
	return ask(t, "dig", "-b", fmt.Sprintf("%s#%d", from.Addr(), from.Port()), "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()),
		transport, "+short", "+timeout=5", "+tries=2", "who.test", "TXT")
}

func checkWho(t *testing.T, got string, client netip.AddrPort, dialled netip.Addr) {
	t.Helper()
	want := fmt.Sprintf("%q", fmt.Sprintf("%s %s", client, netip.AddrPortFrom(dialled, 53)))
	if strings.TrimSpace(got) != want {
		t.Errorf("the recursor sees %s, want %s", got, want)
	}
}
