//go:build e2e

package foreign

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"breakwater/test/lab"
)

// HAProxy in front of the box names the player in a PROXY header; nginx behind the box has to see that player. Whoever
// comes past the load balancer is not served, header or not.
func TestBehindALoadBalancer(t *testing.T) {
	startNginx(t, 7041)
	balancer := start(t, lab.Client, "haproxy", "-db", "-f", absolute(t, "testdata/balancer.cfg"))
	eachFamily(t, func(t *testing.T, f family) {
		addAddress(t, f.player)
		entry := netip.AddrPortFrom(f.client, 7040)
		balancer.awaitListening(t, f.client, 7040)

		player := connect(t, f.player, entry)
		if got, want := readAll(t, player), strings.TrimSpace(addresses(local(player), entry)); got != want {
			t.Errorf("nginx sees %q, want %q", got, want)
		}

		past := connect(t, f.player, f.at(7041))
		if got := readAll(t, past); got != "" {
			t.Errorf("a player past the load balancer got %q", got)
		}
		awaitHealthy(t, f.name("behind-balancer"))
	})
}

// addAddress gives bw-client one more address until the test ends.
func addAddress(t *testing.T, a netip.Addr) {
	t.Helper()
	change := func(verb string, more ...string) {
		args := append([]string{"address", verb, netip.PrefixFrom(a, a.BitLen()).String(), "dev", "eth0"}, more...)
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	if a.Is4() {
		change("add")
	} else {
		change("add", "nodad")
	}
	t.Cleanup(func() { change("delete") })
}
