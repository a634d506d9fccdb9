package steering

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hops tells whom an interface gives the packets of one IP version to: who is on the link itself, and for all others a gateway.
type Hops struct {
	OnLink  []netip.Prefix
	Gateway netip.Addr // invalid: there is none
}

// HopsOf reads it from the routing tables. False: they say more than that, by rules, routes to further networks or several gateways,
// so the kernel has to be asked for each address.
func HopsOf(index int, v4 bool) (h Hops, simple bool, err error) {
	f := ipv6
	if v4 {
		f = ipv4
	}
	if plain, err := plainRules(f); err != nil || !plain {
		return Hops{}, false, err
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		// Those of the table default come after main; nearly nobody has any.
		return netlink.RouteListFiltered(f.number(), &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return Hops{}, false, fmt.Errorf("read the routes of interface %d: %w", index, err)
	}
	for _, r := range routes {
		if !h.add(&r, f, index) {
			return Hops{}, false, nil
		}
	}
	return h, true, nil
}

// plainRules tells whether packets without a mark are routed by the tables that every system has: local, main and default.
func plainRules(f family) (bool, error) {
	rules, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(f.number()) })
	if err != nil {
		return false, fmt.Errorf("read the rules of routing: %w", err)
	}
	for _, r := range rules {
		usual := r.Table == unix.RT_TABLE_LOCAL || r.Table == unix.RT_TABLE_MAIN || r.Table == unix.RT_TABLE_DEFAULT
		if !isOurRule(r) && (!usual || r.Invert || r.Mark != 0 || r.Src != nil || r.Dst != nil || r.IifName != "" || r.OifName != "") {
			return false, nil
		}
	}
	return true, nil
}

// add adds a route, and tells whether that could be said.
func (h *Hops) add(r *netlink.Route, f family, index int) bool {
	if r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT {
		return true // what is local is no client, and no packet of ours has the mark of the others
	}
	if r.Type != unix.RTN_UNICAST || len(r.MultiPath) > 0 {
		return false
	}
	if r.LinkIndex != index {
		return true
	}
	if r.Via != nil || r.Encap != nil || r.MPLSDst != nil || r.Flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0 {
		return false
	}
	to := destination(*r, f)
	if r.Gw == nil {
		h.OnLink = append(h.OnLink, to)
		return true
	}
	gateway, _ := netip.AddrFromSlice(r.Gw)
	if f == ipv4 {
		gateway = gateway.Unmap()
	}
	if to.Bits() != 0 || h.Gateway.IsValid() && h.Gateway != gateway {
		return false
	}
	h.Gateway = gateway
	return true
}
