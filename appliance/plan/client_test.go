package plan

import (
	"net/netip"
	"testing"
)

func TestSources(t *testing.T) {
	for _, c := range []struct{ addr, address, network string }{
		{"198.51.100.77", "198.51.100.77/32", "198.51.100.0/24"},
		{"::ffff:198.51.100.77", "198.51.100.77/32", "198.51.100.0/24"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/64", "fe80::/48"},
	} {
		addr := netip.MustParseAddr(c.addr)
		if got := ClientAddress(addr).String(); got != c.address {
			t.Errorf("%s is counted by address as %s, want %s", c.addr, got, c.address)
		}
		if got := ClientNetwork(addr).String(); got != c.network {
			t.Errorf("%s is counted by network as %s, want %s", c.addr, got, c.network)
		}
	}
}
