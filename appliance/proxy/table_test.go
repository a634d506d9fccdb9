package proxy

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
)

// TestTableAgreesWithTheRoutes compares the table with what a Route promises: the first that matches decides.
func TestTableAgreesWithTheRoutes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	prefixes := []netip.Prefix{
		netip.MustParsePrefix("198.18.0.0/24"), netip.MustParsePrefix("198.18.0.7/32"), netip.MustParsePrefix("2001:db8::/64"),
	}
	addrs := []netip.Addr{netip.MustParseAddr("198.18.0.7"), netip.MustParseAddr("198.18.0.8"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
	for range 50 {
		p := plan.Plan{Pools: []plan.Pool{{Name: "p"}}}
		for i := range 1 + r.IntN(40) {
			a, b := uint16(1+r.IntN(65535)), uint16(1+r.IntN(65535))
			p.Services = append(p.Services, plan.Service{Name: string(rune('a' + i))})
			p.Routes = append(p.Routes, plan.Route{
				Protocol: []plan.Protocol{plan.TCP, plan.UDP}[r.IntN(2)], FirstPort: min(a, b), LastPort: max(a, b),
				Addresses: []netip.Prefix{prefixes[r.IntN(3)]}, Service: i,
			})
		}
		table := newTable(&p, func(string) *origin.Pool { return nil }, func(string) *serviceStats { return nil })
		for range 2000 {
			edge := netip.AddrPortFrom(addrs[r.IntN(4)], uint16(r.IntN(65536)))
			protocol := []plan.Protocol{plan.TCP, plan.UDP}[r.IntN(2)]
			want := ""
			for _, route := range p.Routes {
				if route.Protocol == protocol && route.FirstPort <= edge.Port() && edge.Port() <= route.LastPort && route.Addresses[0].Contains(edge.Addr()) {
					want = p.Services[route.Service].Name
					break
				}
			}
			got := ""
			if s, _ := table.find(protocol, edge); s != nil {
				got = s.Name
			}
			if got != want {
				t.Fatalf("%s %s: service %q, want %q", protocol, edge, got, want)
			}
		}
	}
}
