package pages

import (
	"cmp"
	"slices"

	"breakwater/appliance/settings"
)

// hidden is what a service does not get, because other services are more specific: the narrower port range wins, then
// the earlier service.
type hidden struct {
	All bool // nothing reaches the service
	By  []hiddenPart
}

// hiddenPart is a range of ports that goes to another service.
type hiddenPart struct {
	Protocol string
	Ports    settings.Ports
	Service  string
}

// shownParts bounds how many parts are told of one service.
const shownParts = 8

// taken is one protocol and port range of a service, on its addresses.
type taken struct {
	protocol  string
	ports     settings.Ports
	addresses []settings.Prefix
	service   int
}

// shadowsOf tells of each service what the others take from it. The services have their defaults.
func shadowsOf(services []settings.Service) []hidden {
	all := inOrder(services)
	index := indexOf(all)
	shadows := make([]hidden, len(services))
	reached := make([]bool, len(services))
	for i, t := range all {
		left := coverage{wanted: t}
		for _, at := range index.near(t) {
			winner := all[at]
			shared, overlap := sharedPorts(t.ports, winner.ports)
			if at >= i || winner.service == t.service || !overlap || !shareAddress(t.addresses, winner.addresses) {
				continue
			}
			left.cut(shared, winner.addresses)
			shadow := &shadows[t.service]
			part := hiddenPart{t.protocol, shared, services[winner.service].Name}
			if len(shadow.By) < shownParts && !slices.Contains(shadow.By, part) {
				shadow.By = append(shadow.By, part)
			}
		}
		if !left.nothing() {
			reached[t.service] = true
		}
	}
	for i := range shadows {
		shadows[i].All = len(shadows[i].By) > 0 && !reached[i]
	}
	return shadows
}

// inOrder is what all services take, the winners first, as package compile orders the routes of the data plane.
func inOrder(services []settings.Service) []taken {
	var all []taken
	for i, s := range services {
		for _, protocol := range s.Protocols {
			for _, ports := range s.Ports {
				all = append(all, taken{protocol, ports, s.Addresses, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b taken) int { return cmp.Compare(a.ports.Count(), b.ports.Count()) })
	return all
}

// portIndex finds what may overlap: without it, thousands of services would each be compared with all others. It has
// the places of all that is taken by a protocol, in the order of their first ports.
type portIndex struct {
	all   []taken
	first map[string][]int
}

func indexOf(all []taken) portIndex {
	index := portIndex{all, map[string][]int{}}
	for i, t := range all {
		index.first[t.protocol] = append(index.first[t.protocol], i)
	}
	for _, places := range index.first {
		slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(all[a].ports.First, all[b].ports.First) })
	}
	return index
}

// near are the places of all that is not wider than t and begins close enough to overlap with it.
func (x portIndex) near(t taken) []int {
	places := x.first[t.protocol]
	place := func(first int) int {
		at, _ := slices.BinarySearchFunc(places, first, func(i, first int) int { return cmp.Compare(int(x.all[i].ports.First), first) })
		return at
	}
	return places[place(int(t.ports.First)-t.ports.Count()+1):place(int(t.ports.Last)+1)]
}

func sharedPorts(a, b settings.Ports) (settings.Ports, bool) {
	shared := settings.Ports{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	return shared, shared.First <= shared.Last
}

func shareAddress(a, b []settings.Prefix) bool {
	return slices.ContainsFunc(a, func(p settings.Prefix) bool {
		return slices.ContainsFunc(b, func(q settings.Prefix) bool { return p.Overlaps(q.Prefix) })
	})
}

// coverage collects what winners cut out of one taken. Parts of an address prefix are not followed: a service counts as
// reached when part of one of its prefixes may be.
type coverage struct {
	wanted taken
	cuts   []cutOut
}

type cutOut struct {
	ports     settings.Ports
	addresses []settings.Prefix
}

func (c *coverage) cut(ports settings.Ports, addresses []settings.Prefix) {
	c.cuts = append(c.cuts, cutOut{ports, addresses})
}

// nothing tells whether no port of any address is left.
func (c *coverage) nothing() bool {
	if len(c.cuts) == 0 {
		return false
	}
	slices.SortFunc(c.cuts, func(a, b cutOut) int { return cmp.Compare(a.ports.First, b.ports.First) })
	return !slices.ContainsFunc(c.wanted.addresses, func(p settings.Prefix) bool { return !c.covers(p) })
}

// covers tells whether the cuts, which are in order, take every port of one address prefix.
func (c *coverage) covers(p settings.Prefix) bool {
	next := int(c.wanted.ports.First)
	for _, cut := range c.cuts {
		whole := slices.ContainsFunc(cut.addresses, func(q settings.Prefix) bool {
			return q.Bits() <= p.Bits() && q.Contains(p.Addr())
		})
		if whole && int(cut.ports.First) <= next {
			next = max(next, int(cut.ports.Last)+1)
		}
	}
	return next > int(c.wanted.ports.Last)
}
