package proxy

import (
	"net/netip"
	"slices"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
)

// table is what a plan says to the user path. It is immutable; Apply replaces it as a whole, and sessions keep the
// service they began with.
type table struct {
	services []*service
	tcp, udp ports
	limits   plan.Limits
	edges    map[netip.Prefix]bool
	lengths  plan.Lengths // of edges
}

// service is a plan.Service with what it needs at run time.
type service struct {
	plan.Service
	pool  *origin.Pool
	stats *serviceStats // survives Apply while the name stays
}

// ports finds the routes of a port: segment[port] indexes routes, each list in order of preference.
type ports struct {
	segment [65536]uint16
	routes  [][]plan.Route
}

// find gives the service of an edge address and the first port of its range, or nil.
func (t *table) find(protocol plan.Protocol, edge netip.AddrPort) (*service, uint16) {
	p := &t.tcp
	if protocol == plan.UDP {
		p = &t.udp
	}
	for i := range p.routes[p.segment[edge.Port()]] {
		route := &p.routes[p.segment[edge.Port()]][i]
		for _, prefix := range route.Addresses {
			if prefix.Contains(edge.Addr()) {
				return t.services[route.Service], route.FirstPort
			}
		}
	}
	return nil, 0
}

// isEdge tells whether an address is an edge address. What comes from one is forged, and begins nothing: two services that are given each
// other's address would answer each other for ever.
func (t *table) isEdge(addr netip.Addr) bool {
	return t.lengths.Within(addr, func(p netip.Prefix) bool { return t.edges[p] })
}

// newTable builds the table of p. pools and stats give the objects that outlive a plan.
func newTable(p *plan.Plan, pool func(name string) *origin.Pool, stats func(name string) *serviceStats) *table {
	t := &table{limits: p.Limits, edges: make(map[netip.Prefix]bool)}
	for _, prefix := range p.Steering.Addresses {
		prefix = plan.NormalPrefix(prefix)
		t.edges[prefix] = true
		t.lengths.Add(prefix)
	}
	for _, s := range p.Services {
		t.services = append(t.services, &service{Service: s, pool: pool(p.Pools[s.Pool].Name), stats: stats(s.Name)})
	}
	t.tcp.build(p.Routes, plan.TCP)
	t.udp.build(p.Routes, plan.UDP)
	return t
}

// build cuts the ports where a route begins or ends; between two cuts all ports have the same routes. There are
// at most 65,536 segments, one a port, so their numbers fit.
func (p *ports) build(routes []plan.Route, protocol plan.Protocol) {
	cuts := []int{0}
	for _, r := range routes {
		if r.Protocol == protocol {
			cuts = append(cuts, int(r.FirstPort), int(r.LastPort)+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	cuts = slices.DeleteFunc(cuts, func(c int) bool { return c > 65535 })
	p.routes = make([][]plan.Route, len(cuts))
	for i, first := range cuts {
		next := 65536
		if i+1 < len(cuts) {
			next = cuts[i+1]
		}
		for port := first; port < next; port++ {
			p.segment[port] = uint16(i) //nolint:gosec // at most 65,536 cuts
		}
	}
	for _, r := range routes {
		if r.Protocol != protocol {
			continue
		}
		for i := int(p.segment[r.FirstPort]); i <= int(p.segment[r.LastPort]); i++ {
			p.routes[i] = append(p.routes[i], r)
		}
	}
}
