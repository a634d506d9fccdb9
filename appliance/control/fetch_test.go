package control

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"breakwater/appliance/plan"
)

// TestServersOfThisBox: nothing is fetched from any address that the box has, on whichever interface; from its networks it is.
func TestServersOfThisBox(t *testing.T) {
	var c Control
	c.wanted = &plan.Plan{Steering: plan.Steering{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.8/29")}}}
	guard := func(a netip.Addr) error {
		return c.guard(nothingFetched)(t.Context(), "tcp", netip.AddrPortFrom(a, 443).String(), nil)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own := map[netip.Addr]bool{netip.MustParseAddr("203.0.113.9"): true}
	for _, a := range all {
		own[netip.MustParsePrefix(a.String()).Addr()] = true
	}
	for a := range own {
		if guard(a) == nil || guard(netip.AddrFrom16(a.As16())) == nil {
			t.Errorf("the box may fetch from its own address %s", a)
		}
		next := a.Next()
		if special := refuseServer(next, nil, ""); special != nil || own[next] || next == netip.MustParseAddr("203.0.113.10") {
			continue
		}
		if err := guard(next); err != nil {
			t.Errorf("%s, beside the box: %v", next, err)
		}
	}
}

func TestRefuseServer(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("203.0.113.10/32"), netip.MustParsePrefix("2001:db8::/64")}
	tests := []struct{ address, want string }{
		{"198.51.100.7", ""}, {"10.0.0.1", ""}, {"2001:db8:1::1", ""},
		{"127.0.0.1", "is loopback"}, {"::1", "is loopback"}, {"::ffff:127.0.0.1", "is loopback"}, {"0.0.0.0", "is unspecified"}, {"::", "is unspecified"},
		{"169.254.169.254", "is link-local"}, {"fe80::1%eth0", "is link-local"}, {"224.0.0.1", "is multicast"}, {"ff02::1", "is multicast"}, {"255.255.255.255", "is "},
		{"203.0.113.10", "is this box's own"}, {"::ffff:203.0.113.10", "is this box's own"}, {"2001:db8::5", "is this box's own"},
	}
	for _, test := range tests {
		err := refuseServer(netip.MustParseAddr(test.address), own, nothingFetched)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.address, err, test.want)
		}
	}
}
