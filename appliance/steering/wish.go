package steering

import (
	"net/netip"
	"slices"

	"breakwater/appliance/plan"
)

// family is an index: most of what is wanted and seen exists once for each.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func (f family) command() string     { return [...]string{"iptables", "ip6tables"}[f] }
func (f family) set(n string) string { return n + [...]string{"4", "6"}[f] }
func (f family) everything() netip.Prefix {
	return [...]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}[f]
}

// wish is what the kernel should have. Its zero value is nothing of ours, which is how Clear works.
type wish struct {
	families [families]familyWish
	link     string         // the first edge interface: host addresses are put there
	hosts    []netip.Addr   // edge addresses to add to link
	anyIP    []netip.Prefix // edge prefixes to make local
	loose    []string       // interfaces whose rp_filter must not be strict
}

// familyWish is the part of one family. A family without an edge address gets nothing at all.
type familyWish struct {
	wanted      bool
	edge        []netip.Prefix // members of the set BREAKWATER-EDGE
	own         []netip.Prefix // members of the set BREAKWATER-OWN
	interfaces  []string       // on which edge addresses are served
	transparent bool           // some origins see the client's own address
}

// compile says what c needs on a box that has the addresses own for itself. It is pure.
func compile(c plan.Steering, own []netip.Addr) wish {
	var w wish
	if len(c.Interfaces) == 0 {
		return w
	}
	for _, p := range normalise(c.Addresses) {
		f := &w.families[familyOf(p.Addr())]
		f.wanted = true
		f.edge = append(f.edge, p)
		switch {
		case !p.IsSingleIP():
			w.anyIP = append(w.anyIP, p)
		case !slices.Contains(own, p.Addr()):
			w.hosts = append(w.hosts, p.Addr())
		}
		for _, a := range own {
			if p.Contains(a) {
				f.own = append(f.own, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	for f := range families {
		if w.families[f].wanted {
			w.families[f].own = normalise(w.families[f].own)
			w.families[f].interfaces, w.families[f].transparent = c.Interfaces, c.Transparent
			w.link = c.Interfaces[0]
		}
	}
	if w.families[ipv4].wanted { // IPv6 has no rp_filter
		w.loose = c.Interfaces
	}
	return w
}

// normalise masks, sorts and removes doubles, so that a text of the same meaning is the same wish.
func normalise(prefixes []netip.Prefix) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		list = append(list, p.Masked())
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// set is an ipset and what is in it.
type set struct {
	name    string
	members []netip.Prefix
}

func (w familyWish) sets(f family) []set {
	return []set{{f.set(setEdge), w.edge}, {f.set(setOwn), w.own}}
}
