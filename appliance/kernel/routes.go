package kernel

import (
	"net/netip"
	"slices"

	"breakwater/appliance/plan"
)

// portSet names a page for each 256 ports: of TCP, then of UDP. portPage names a route for each port; 0 is none. A page that
// many sets have is there once, so that a thousand addresses with the same services take no more than one.
type (
	portSet  [setPages]uint32
	portPage [pagePorts]uint32
)

// As in bpf/layout.h.
const setPages, pagePorts = 512, 256

// buildRoutes gives each prefix of the plan the set of ports that an address in it has. An address is looked up by its
// longest prefix, so all routes whose prefixes hold that one are those of the address.
func (t *tables) buildRoutes(p *plan.Plan) {
	t.addresses = make(map[netip.Prefix]uint32)
	t.routes = []bpfRoute{{}}
	for _, prefix := range p.Steering.Addresses { // also those that no service has: the shield judges what is for them
		t.addresses[plan.NormalPrefix(prefix)] = 0
	}
	for _, r := range p.Routes {
		t.routes = append(t.routes, bpfRoute{Service: uint32(r.Service) + 1, First: r.FirstPort}) //nolint:gosec // Check bounds it
		for _, prefix := range r.Addresses {
			t.addresses[plan.NormalPrefix(prefix)] = 0
		}
	}
	pages, sets := make(map[portPage]uint32), make(map[portSet]uint32)
	placeOf(&t.pages, pages, portPage{})
	for prefix := range t.addresses {
		ports := portsOf(p.Routes, prefix)
		var set portSet
		for n := range set {
			set[n] = placeOf(&t.pages, pages, portPage(ports[n*pagePorts:(n+1)*pagePorts]))
		}
		t.addresses[prefix] = placeOf(&t.sets, sets, set)
	}
}

// portsOf gives each port of an address its route: those of TCP, then those of UDP.
func portsOf(routes []plan.Route, prefix netip.Prefix) *[setPages * pagePorts]uint32 {
	var ports [setPages * pagePorts]uint32
	for i, r := range slices.Backward(routes) { // the first that matches is written last
		if !holds(r.Addresses, prefix) {
			continue
		}
		base := 0
		if r.Protocol == plan.UDP {
			base = 65536
		}
		for port := int(r.FirstPort); port <= int(r.LastPort); port++ {
			ports[base+port] = uint32(i) + 1 //nolint:gosec // far fewer
		}
	}
	return &ports
}

// placeOf is the place of an entry in a list that has equal ones once. Known is where those are that it has.
func placeOf[E comparable](list *[]E, known map[E]uint32, entry E) uint32 {
	at, is := known[entry]
	if !is {
		at = uint32(len(*list)) //nolint:gosec // far fewer
		known[entry] = at
		*list = append(*list, entry)
	}
	return at
}

func holds(list []netip.Prefix, inner netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool {
		p = plan.NormalPrefix(p)
		return p.Bits() <= inner.Bits() && p.Contains(inner.Addr())
	})
}
