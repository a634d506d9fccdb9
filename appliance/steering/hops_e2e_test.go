//go:build e2e

package steering

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHopsOf reads real routing tables.
func TestHopsOf(t *testing.T) {
	const base = `ip link add hop0 type veth peer name hop1; ip link set hop0 addrgenmode none; ip link set hop0 up; ip link set hop1 up
		ip addr add 192.0.2.1/24 dev hop0; ip addr add 2001:db8:7::1/64 dev hop0 nodad`
	const other = `ip link add far0 type veth peer name far1; ip link set far0 addrgenmode none; ip link set far0 up; ip link set far1 up
		ip addr add 198.51.100.1/24 dev far0; ip addr add 2001:db8:8::1/64 dev far0 nodad`
	tests := []struct {
		name, have   string
		want4, want6 string // on the link, then the gateway; -: the kernel has to be asked
	}{
		{"nothing but the link", "", "192.0.2.0/24", "2001:db8:7::/64"},
		{"a gateway", "ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8:7::fe",
			"192.0.2.0/24 192.0.2.254", "2001:db8:7::/64 2001:db8:7::fe"},
		{"a gateway by another interface", other + "; ip route add default via 198.51.100.254; ip -6 route add default via 2001:db8:8::fe",
			"192.0.2.0/24", "2001:db8:7::/64"},
		{"two addresses", "ip addr add 203.0.113.1/25 dev hop0; ip addr add 2001:db8:9::1/64 dev hop0 nodad",
			"192.0.2.0/24 203.0.113.0/25", "2001:db8:7::/64 2001:db8:9::/64"},
		{"everybody on the link", "ip route add default dev hop0; ip -6 route add default dev hop0", "192.0.2.0/24 0.0.0.0/0", "2001:db8:7::/64 ::/0"},
		{"a network behind a router", "ip route add 10.0.0.0/8 via 192.0.2.253; ip -6 route add fd00::/8 via 2001:db8:7::fd", "-", "-"},
		{"the same by another interface", other + "; ip route add 10.0.0.0/8 via 198.51.100.253; ip -6 route add fd00::/8 via 2001:db8:8::fd",
			"192.0.2.0/24", "2001:db8:7::/64"},
		{"two gateways", "ip route add default via 192.0.2.254; ip route add default via 192.0.2.253 metric 9; ip -6 route add default via 2001:db8:7::fe; ip -6 route add default via 2001:db8:7::fd metric 9",
			"-", "-"},
		{"gateways that take turns", "ip route add default nexthop via 192.0.2.254 nexthop via 192.0.2.253; ip -6 route add default nexthop via 2001:db8:7::fe nexthop via 2001:db8:7::fd",
			"-", "-"},
		{"a gateway of the other IP version", "ip -4 route add 0.0.0.0/0 via inet6 2001:db8:7::fe dev hop0", "-", "2001:db8:7::/64"},
		{"a network that nobody reaches", "ip route add unreachable 10.0.0.0/8; ip -6 route add unreachable fd00::/8", "-", "-"},
		{"a rule", "ip rule add from 203.0.113.7 table 100; ip -6 rule add to 2001:db8:66::/48 table 100", "-", "-"},
		{"our own rule", "ip rule add priority 183 fwmark 0xb7000000/0xff000000 table 183; ip -6 rule add priority 183 fwmark 0xb7000000/0xff000000 table 183; ip route add local default dev lo table 183",
			"192.0.2.0/24", "2001:db8:7::/64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Cleanup(func() {
				sh(t, `ip link del hop0; ip link del far0 2>/dev/null || true; ip route flush table 183 2>/dev/null || true; ip route flush type unreachable || true; ip -6 route flush fd00::/8 || true
					for f in -4 -6; do ip $f rule del priority 183 2>/dev/null || true; ip $f rule del table 100 2>/dev/null || true; done`)
			})
			sh(t, base+"; "+tt.have)
			i, err := net.InterfaceByName("hop0")
			if err != nil {
				t.Fatal(err)
			}
			for _, v4 := range []bool{true, false} {
				want := map[bool]string{true: tt.want4, false: tt.want6}[v4]
				h, simple, err := HopsOf(i.Index, v4)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, p := range h.OnLink {
					got = append(got, p.String())
				}
				if h.Gateway.IsValid() {
					got = append(got, h.Gateway.String())
				}
				if !simple {
					got = []string{"-"}
				}
				list := strings.Fields(want)
				slices.Sort(list)
				slices.Sort(got)
				if diff := cmp.Diff(list, got); diff != "" {
					t.Errorf("IPv4 %t: (-want +got)\n%s", v4, diff)
				}
			}
		})
	}
}
