package steering

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Edge addresses must be local, so that the kernel answers pings for them and takes ICMP errors about our own
// packets, and somebody must answer for them on the edge link.
//
// A single address is added to the first edge interface, unless the box already has it. It must never become the
// source of the box's own connections, whose answers would be steered. Hence scope host for IPv4 (routes of scope
// global and link do not choose it, inet_select_addr in net/ipv4/devinet.c), preferred lifetime 0 for IPv6
// (deprecated, RFC 6724 section 5 rule 3: taken only by a box that has no other IPv6 address), and no prefix
// route. No duplicate address detection: a neighbour must not be able to take the address away by claiming it.
//
// A wider prefix becomes a `local` route on lo (AnyIP). IPv4 answers ARP for such addresses on any link; IPv6
// does not answer neighbour solicitations for them, so an IPv6 prefix must be routed to the box (to one of its own
// addresses, the link-local one for example), as providers do. Routed prefixes need no answers.
//
// Both carry our protocol number. For addresses that is IFA_PROTO (Linux 5.18), which netlink 1.3.1 does not know,
// hence the messages written by hand here.

// attributeProtocol is IFA_PROTO of linux/if_addr.h.
const attributeProtocol = 11

// forever is INFINITY_LIFE_TIME of net/addrconf.h.
const forever = 0xffffffff

// address is one address on one interface.
type address struct {
	index    int // of the interface
	addr     netip.Addr
	bits     int
	protocol uint8 // who added it: 0 unknown, 1 loopback, 2 router advertisement, 3 link-local, or Protocol
}

// listAddresses dumps the addresses of both families (RTM_GETADDR).
func listAddresses() ([]address, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	list := make([]address, 0, len(messages))
	for _, m := range messages {
		a, err := parseAddress(m)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// parseAddress reads one RTM_NEWADDR. With a peer, IFA_ADDRESS is the peer and IFA_LOCAL the address; otherwise
// IPv6 sends IFA_ADDRESS only.
func parseAddress(m []byte) (address, error) {
	head := nl.DeserializeIfAddrmsg(m)
	attributes, err := nl.ParseRouteAttr(m[head.Len():])
	if err != nil {
		return address{}, fmt.Errorf("parse an address: %w", err)
	}
	a := address{index: int(head.Index), bits: int(head.Prefixlen)}
	var local, remote netip.Addr
	for _, at := range attributes {
		switch at.Attr.Type {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(at.Value)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(at.Value)
		case attributeProtocol:
			a.protocol = at.Value[0]
		}
	}
	if a.addr = local; !local.IsValid() {
		a.addr = remote
	}
	return a, nil
}

// addressMessage asks the kernel to add (RTM_NEWADDR) or remove (RTM_DELADDR) an edge address.
func addressMessage(command, flags, index int, a netip.Addr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(command, flags|unix.NLM_F_ACK)
	head := nl.NewIfAddrmsg(familyOf(a).number())
	head.Index = uint32(index)
	head.Prefixlen = uint8(a.BitLen())
	if a.Is4() {
		head.Scope = unix.RT_SCOPE_HOST
	}
	req.AddData(head)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, a.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NOPREFIXROUTE|unix.IFA_F_NODAD)))
	life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: forever, Prefered: 0}}
	req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
	req.AddData(nl.NewRtAttr(attributeProtocol, nl.Uint8Attr(Protocol)))
	return req
}

func sendAddress(command, flags, index int, a netip.Addr) error {
	_, err := addressMessage(command, flags, index, a).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addressSteps returns what opens and what closes: single addresses and AnyIP prefixes.
func addressSteps(o observed, w wish) (add, remove []step) {
	add, remove = hostSteps(o, w)
	lo := o.links["lo"]
	var have []netip.Prefix
	for _, r := range o.ours {
		if r.Table != unix.RT_TABLE_LOCAL {
			continue
		}
		p := destination(r, routeFamily(r))
		if have = append(have, p); !slices.Contains(w.anyIP, p) {
			remove = append(remove, step{fmt.Sprintf("remove the local route to %s", p),
				func() error { return netlink.RouteDel(&r) }})
		}
	}
	for _, p := range w.anyIP {
		if !slices.Contains(have, p) && !slices.Contains(o.local, p) {
			add = append(add, step{fmt.Sprintf("add the local route to %s", p),
				func() error { return netlink.RouteAdd(localRoute(p, lo, unix.RT_TABLE_LOCAL)) }})
		}
	}
	return add, remove
}

func hostSteps(o observed, w wish) (add, remove []step) {
	index := o.links[w.link]
	kept := make(map[netip.Addr]bool)
	for _, a := range o.addresses {
		if a.protocol != Protocol {
			continue
		}
		if a.index == index && slices.Contains(w.hosts, a.addr) {
			kept[a.addr] = true
			continue
		}
		remove = append(remove, step{fmt.Sprintf("remove the address %s from %s", a.addr, o.linkName(a.index)),
			func() error { return sendAddress(unix.RTM_DELADDR, 0, a.index, a.addr) }})
	}
	for _, a := range w.hosts {
		if !kept[a] && index != 0 { // 0: the interface is gone, which accepts reports
			add = append(add, step{fmt.Sprintf("add the address %s to %s", a, w.link),
				func() error { return sendAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, a) }})
		}
	}
	return add, remove
}

func (o observed) linkName(index int) string {
	for name, i := range o.links {
		if i == index {
			return name
		}
	}
	return fmt.Sprintf("interface %d", index)
}

// localRoute is `ip route add local p dev lo table t proto Protocol`.
func localRoute(p netip.Prefix, lo, table int) *netlink.Route {
	return &netlink.Route{
		LinkIndex: lo,
		Dst:       &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		Table:     table,
		Type:      unix.RTN_LOCAL,
		Scope:     unix.RT_SCOPE_HOST,
		Protocol:  Protocol,
	}
}

func routeFamily(r netlink.Route) family {
	if r.Family == unix.AF_INET6 {
		return ipv6
	}
	return ipv4
}
