package control

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// The widest prefixes that can be banned.
const (
	widestBan4 = 8
	widestBan6 = 16
)

// refuseBan says why prefix cannot be banned, or nothing when it can.
func (c *Control) refuseBan(ctx context.Context, prefix netip.Prefix, until time.Time, protect []netip.Addr) string {
	widest := widestBan6
	if prefix.Addr().Is4() {
		widest = widestBan4
	}
	switch {
	case !prefix.IsValid():
		return "This is not an address or network."
	case prefix.Bits() < widest:
		return fmt.Sprintf("%s is too wide to be banned: a network of at least /%d can be.", prefix, widest)
	case plan.Ban{Until: until}.Over(c.now()):
		return "This ban would be over already."
	case until.UTC().Year() > 9999:
		return "This ban would end after the year 9999, which cannot be written down. Ban for ever instead."
	}
	for _, a := range protect {
		if prefix.Contains(a.Unmap().WithZone("")) {
			return fmt.Sprintf("%s holds %s, the address that you come from.", prefix, a.Unmap())
		}
	}
	for _, p := range c.protected(ctx) {
		if p.prefix.Overlaps(prefix) {
			return fmt.Sprintf("%s holds %s, %s.", prefix, text(p.prefix), p.what)
		}
	}
	return ""
}

// protected is a prefix that must not be banned.
type protected struct {
	prefix netip.Prefix
	what   string
}

// protected are the addresses that the box itself depends on. What edge cannot tell, as it does not answer, is left out.
func (c *Control) protected(ctx context.Context) []protected {
	var list []protected
	if s, err := c.currentSettings(); err == nil {
		list = append(list, protectedBySettings(s)...)
	}
	if wanted, _ := c.wish(); wanted != nil {
		list = append(list, protectedByPlan(wanted)...)
	}
	if seen, err := c.edge.Status(ctx); err == nil {
		list = append(list, protectedByStatus(seen)...)
	}
	return list
}

func protectedBySettings(s settings.Settings) (list []protected) {
	for _, p := range s.Management.Networks {
		list = append(list, protected{p.Prefix, "a management network"})
	}
	return list
}

func protectedByPlan(p *plan.Plan) (list []protected) {
	for _, a := range p.Steering.Addresses {
		list = append(list, protected{a, "an edge address"})
	}
	for _, r := range p.Resolvers {
		list = append(list, protected{single(r.Addr()), "a DNS server of this box"})
	}
	for _, s := range p.Services {
		for _, u := range s.Upstreams {
			list = append(list, protected{u, "a load balancer in front of service " + s.Name})
		}
	}
	for _, pool := range p.Pools {
		for _, o := range pool.Origins {
			if a, err := netip.ParseAddr(o.Address); err == nil {
				list = append(list, protected{single(a), "origin " + o.Name})
			}
		}
	}
	return list
}

func protectedByStatus(seen status.Edge) (list []protected) {
	for _, pool := range seen.Pools {
		for _, o := range pool.Origins {
			if a, ok := addressOf(o); ok {
				list = append(list, protected{single(a.Addr()), "origin " + o.Name})
			}
		}
	}
	for _, i := range seen.Interfaces {
		for _, a := range i.Addresses {
			list = append(list, protected{single(a.Addr()), "an address of this box"})
		}
	}
	for _, g := range seen.Gateways {
		list = append(list, protected{single(g), "a gateway of this box"})
	}
	return list
}

// addressOf is where edge reaches an origin; the port is 0 when it depends on the client's.
func addressOf(o status.Origin) (netip.AddrPort, bool) {
	if at, err := netip.ParseAddrPort(o.Address); err == nil {
		return at, true
	}
	a, err := netip.ParseAddr(o.Address)
	return netip.AddrPortFrom(a, 0), err == nil
}

// single is the prefix of one address.
func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// text leaves out the length of a single address.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
