package origin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/health"
)

// sourceAddresses are those of the box that a pool's sessions and flows come from, as far as the box has them.
type sourceAddresses struct {
	four, six []netip.Addr
	missing   []netip.Addr // those that the box does not have
}

func sourceAddressesOf(wished []netip.Addr, g guard) (s sourceAddresses) {
	for _, a := range wished {
		switch a = a.Unmap(); {
		case !g.isOwn(a):
			s.missing = append(s.missing, a)
		case a.Is4():
			s.four = append(s.four, a)
		default:
			s.six = append(s.six, a)
		}
	}
	return s
}

// SourceAddresses are those of the box that sessions and flows to an origin come from; none: the one that the route gives. The
// list is never changed, only replaced.
func (p *Pool) SourceAddresses(to netip.Addr) []netip.Addr { return p.view.Load().from.towards(to) }

func (s *sourceAddresses) towards(to netip.Addr) []netip.Addr {
	if to.Unmap().Is4() {
		return s.four
	}
	return s.six
}

// all are those in use.
func (s *sourceAddresses) all() []netip.Addr { return slices.Concat([]netip.Addr{}, s.four, s.six) }

// sourceCondition tells of addresses that are not there, and what is done instead.
func (p *Pool) sourceCondition() (c health.Condition, wrong bool) {
	s := &p.view.Load().from
	if len(s.missing) == 0 {
		return c, false
	}
	var names, instead []string
	for _, a := range s.missing {
		names = append(names, a.String())
	}
	if len(s.four) == 0 && slices.ContainsFunc(s.missing, netip.Addr.Is4) {
		instead = append(instead, "IPv4")
	}
	if len(s.six) == 0 && slices.ContainsFunc(s.missing, netip.Addr.Is6) {
		instead = append(instead, "IPv6")
	}
	meanwhile := "the other source addresses are used"
	if len(instead) > 0 {
		meanwhile = strings.Join(instead, " and ") + " origins see the address that the route gives"
	}
	return health.Condition{
		Code: "source-missing", Subject: p.name, Severity: health.Warning,
		Title:  fmt.Sprintf("Pool %s has source addresses that this box does not have", p.name),
		Detail: fmt.Sprintf("No interface of this box has %s, so %s: add it to an interface, or take it off the pool.", strings.Join(names, ", "), meanwhile),
	}, true
}

// portlessFor is how long no client must have missed a source port until that is over.
const portlessFor = time.Minute

// portless tells towards which addresses of an origin the box has no port of its own left, how many there are, and what helps.
func (p *Pool) portless(n *named) []string {
	var list []string
	for _, o := range n.list {
		if count := o.portless.Load(); count > o.toldPortless {
			o.toldPortless, o.portlessAt = count, time.Now()
		}
		if o.portlessAt.IsZero() || time.Since(o.portlessAt) >= portlessFor {
			continue
		}
		addresses, ports := int64(max(len(p.SourceAddresses(o.address)), 1)), o.portsOf.Load()
		list = append(list, fmt.Sprintf("%s: %d sessions and flows so far found none of the %d source ports free that there are towards it "+
			"(source addresses: %d, ports of each: %d)", n.shown(o), o.toldPortless, addresses*ports, addresses, ports))
	}
	if len(list) > 0 {
		list = append(list, "add source addresses of this box to the pool (pools[].sourceAddresses in the settings), or add an origin")
	}
	return list
}
