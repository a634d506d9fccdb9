//go:build e2e

package kernel

import (
	"net/netip"
	"testing"

	"breakwater/appliance/status"
)

// TestEdgeAsSource: nothing begins with an edge address as its source, wherever edge addresses are, and everything between them may.
func TestEdgeAsSource(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, list := range [][]string{
		nil, // as they are
		{"198.51.100.0/24", "2001:db8:ff00::/40"},
		{"203.0.113.77/32", "128.0.0.0/2", "fd00::/8"},
	} {
		p := shieldPlan()
		for _, text := range list {
			p.Steering.Addresses = append(p.Steering.Addresses, netip.MustParsePrefix(text))
		}
		r.apply(t, p)
		for _, protocol := range []uint8{protocolTCP, protocolUDP} {
			for i, f := range families {
				in := f.opening(protocol, 40000, portPlain)
				asks := func(from string) int {
					in.from = netip.AddrPortFrom(netip.MustParseAddr(from), 40000)
					r.calm(t)
					verdict, _ := r.shieldRun(t, in.frame())
					return verdict
				}
				for _, address := range p.Steering.Addresses {
					if from := address.Addr(); from.Is4() == f.client.Is4() && from != f.edge {
						if got := asks(from.String()); got != xdpDrop {
							t.Errorf("%v, %d: from %s: the verdict is %d, want %d", list, protocol, from, got, xdpDrop)
						}
					}
				}
				for _, from := range [][]string{{"192.0.2.98", "198.51.101.1", "203.0.113.76", "8.8.8.8", "64.0.0.1"}, {"2001:db8:1::98", "2001:db8:feff::1", "2600::1", "fc00::1"}}[i] {
					if got := asks(from); got != xdpPass {
						t.Errorf("%v, %d: from %s: the verdict is %d, want %d", list, protocol, from, got, xdpPass)
					}
				}
			}
		}
	}
	drops, err := sum(r.path.objects.ShieldDrops, uint32(status.Bogon))
	if err != nil || drops == 0 {
		t.Errorf("%d were counted as bogons: %v", drops, err)
	}
}
