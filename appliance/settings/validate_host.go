package settings

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// What of the machine's network is taken at most; far beyond what one machine has.
const (
	maxOwnAddresses = 64  // of one interface
	maxOwnRoutes    = 256 // of one interface
	maxTimeServers  = 16
	maxHostName     = 64 // HOST_NAME_MAX of linux/limits.h
)

// The frames that a port can carry, in bytes: no less than IPv6 asks for (RFC 8200 section 5), no more than switches
// pass on.
const (
	minMTU = 1280
	maxMTU = 9216
)

// The words of an interface. Bonds: those of bonding.rst of Linux that need nothing of the switch, or what it has.
var (
	dhcpWords = []string{"none", "ipv4", "ipv6", "both"}
	bondModes = []string{"active-backup", "802.3ad", "balance-xor"}
)

func (v *validator) host() {
	at := path("host")
	h := &v.s.Host
	if !isMachineName(h.Name) {
		v.add(at.field("name"), "%s is not the name of a machine; it is letters, digits and hyphens, at most %d in all, like \"breakwater\" or \"box.example.org\"", quote(h.Name), maxHostName)
	}
	h.Interfaces = cut(v, at.field("interfaces"), h.Interfaces, maxInterfaces, "interfaces")
	v.hostInterfaces(at.field("interfaces"))
	v.timeServers(at.field("timeServers"))
}

// isMachineName tells whether text can be a host name (RFC 1123 section 2.1, hostname(7)).
func isMachineName(text string) bool {
	return len(text) <= maxHostName && isHostName(text) && !strings.EqualFold(text, "localhost")
}

func (v *validator) hostInterfaces(at path) {
	names, macs, addresses, gateways := map[string]path{}, map[string]path{}, map[string]path{}, map[string]path{}
	for i, f := range v.s.Host.Interfaces {
		here := at.index(i)
		v.ownInterfaceName(here.field("name"), f.Name)
		v.unique(here.field("name"), f.Name, names)
		if f.MAC != (MAC{}) {
			text, _ := f.MAC.MarshalText() // it returns no error
			v.once(here.field("mac"), string(text), macs)
		}
		v.shape(here, f)
		v.oneOf(here.field("dhcp"), f.DHCP, dhcpWords...)
		v.ownAddresses(here.field("addresses"), f, addresses)
		v.gateways(here.field("gateways"), f, gateways)
		v.ownRoutes(here.field("routes"), f)
		if f.MTU != 0 {
			v.between(here.field("mtu"), f.MTU, minMTU, maxMTU, "; left out it is the port's own")
		}
	}
	v.members(at)
	v.parents(at)
}

// ownInterfaceName also refuses what systemd-networkd does (ifname_valid in its source): such a name cannot be told
// from the number of an interface, or from a directory of sysctls.
func (v *validator) ownInterfaceName(at path, name string) {
	if wrong := interfaceProblem(name); wrong != "" {
		v.add(at, "%s", wrong)
	} else if only(name, digits) || name == "all" || name == "default" {
		v.add(at, "%s has a meaning of its own in Linux; give the interface another name, like \"lan0\"", quote(name))
	}
}

// shape tells a port, a VLAN and a bond apart, and what belongs to only one of them.
func (v *validator) shape(at path, f Interface) {
	isVLAN, isBond := f.VLAN != 0 || f.Parent != "", f.Bond != "" || len(f.Members) > 0
	if isVLAN && isBond {
		v.add(at, "is a VLAN and a bond at once; make an interface for the bond, and one for the VLAN with the bond as its parent")
	}
	if f.MAC != (MAC{}) && (isVLAN || isBond) {
		v.add(at.field("mac"), "is given for a VLAN or bond, which has the address of what it is made of; leave it out")
	}
	if isVLAN {
		v.between(at.field("vlan"), f.VLAN, 1, 4094, "")
		if f.Parent == "" {
			v.add(at.field("parent"), "is missing; write the interface that carries the VLAN")
		} else {
			v.ownInterfaceName(at.field("parent"), f.Parent)
		}
	}
	if isBond {
		v.oneOf(at.field("bond"), f.Bond, bondModes...)
		if len(f.Members) == 0 {
			v.add(at.field("members"), "is empty; write the ports that make up the bond")
		}
	}
}

// members of bonds are ports that belong to one bond, and do nothing besides.
func (v *validator) members(at path) {
	seen := map[string]path{}
	for i, f := range v.s.Host.Interfaces {
		here := at.index(i).field("members")
		for j, name := range cut(v, here, f.Members, maxInterfaces, "members") {
			v.ownInterfaceName(here.index(j), name)
			v.once(here.index(j), name, seen)
			v.member(here.index(j), name)
		}
	}
	for _, use := range []struct {
		at    path
		names []string
	}{{"edge.interfaces", v.s.Edge.Interfaces}, {"management.interfaces", v.s.Management.Interfaces}} {
		for i, name := range use.names {
			if member, is := seen[name]; is {
				v.add(use.at.index(i), "%s is a member of a bond (%s), where packets arrive on the bond; write the bond", quote(name), member)
			}
		}
	}
}

// member judges what else the settings say of the member of a bond.
func (v *validator) member(at path, name string) {
	for i, f := range v.s.Host.Interfaces {
		own := path("host").field("interfaces").index(i)
		switch {
		case f.Name == name && (f.VLAN != 0 || f.Bond != ""):
			v.add(at, "%s is a VLAN or bond itself (%s); write ports only", quote(name), own)
		case f.Name == name && (f.DHCP != "none" || len(f.Addresses)+len(f.Gateways)+len(f.Routes) > 0):
			v.add(own, "is a member of a bond (%s) and can have no addresses, gateways, routes or DHCP; give them to the bond", at)
		case f.Parent == name:
			v.add(own.field("parent"), "%s is a member of a bond (%s); write the bond, so that the VLAN is on all of its members", quote(name), at)
		}
	}
}

// parents of VLANs: none leads back to itself, and none carries less than what is on it.
func (v *validator) parents(at path) {
	listed := map[string]Interface{}
	for _, f := range v.s.Host.Interfaces {
		listed[f.Name] = f
	}
	for i, f := range v.s.Host.Interfaces {
		up := f
		for range v.s.Host.Interfaces {
			if up = listed[up.Parent]; up.Name == "" || up.Name == f.Name {
				break
			}
		}
		if up.Name == f.Name && f.Parent != "" {
			v.add(at.index(i).field("parent"), "%s leads back to %s itself; write the port or bond that carries the VLAN", quote(f.Parent), quote(f.Name))
		}
		if most := listed[f.Parent].MTU; f.VLAN != 0 && most != 0 && f.MTU > most {
			v.add(at.index(i).field("mtu"), "%d is more than the %d that %s carries; make that larger or this smaller", f.MTU, most, quote(f.Parent))
		}
	}
}

func (v *validator) ownAddresses(at path, f Interface, seen map[string]path) {
	for i, a := range cut(v, at, f.Addresses, maxOwnAddresses, "addresses") {
		here := at.index(i)
		if wrong := a.wrong(); wrong != "" {
			v.add(here, "%s", wrong)
			continue
		}
		if r, special := (Prefix{netip.PrefixFrom(a.Addr(), a.Addr().BitLen())}).special(); special {
			v.add(here, "%q is special (%s, %s) and cannot be an address of the box", a, r.What, r.Prefix)
		}
		v.once(here, a.Addr().String(), seen)
	}
}

// wrong says why a cannot be the address of a machine, or nothing when it can. The first address of a network is the
// network's own (RFC 4291 section 2.6.1: all of its routers'), the last of an IPv4 network everybody's; two addresses and
// less have neither (RFC 3021, RFC 6164).
func (a Address) wrong() string {
	const like = "; write it like \"192.0.2.10/24\" or \"2001:db8::10/64\""
	switch {
	case !a.IsValid():
		return "is not an address with the length of its network" + like
	case a.Addr().Is4In6():
		return quote(a.String()) + " is an IPv4 address in IPv6 notation" + like
	case a.Bits() == 0:
		return quote(a.String()) + " makes every address there is a neighbour; write the length of its network, like \"192.0.2.10/24\""
	case a.Addr().BitLen()-a.Bits() < 2:
		return ""
	case a.Addr() == a.Masked().Addr():
		return quote(a.String()) + " is the network itself; write an address inside it"
	case a.Addr().Is4() && a.Addr() == lastOf(a.Prefix):
		return quote(a.String()) + " is the broadcast address of its network; write another address inside it"
	}
	return ""
}

// lastOf is the last address of p's network.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// gateways: two default routes of one family would take turns in a way that nobody chose.
func (v *validator) gateways(at path, f Interface, seen map[string]path) {
	for i, g := range f.Gateways {
		here := at.index(i)
		if !v.router(here, g, f) {
			continue
		}
		family := "IPv6"
		if g.Is4() {
			family = "IPv4"
		}
		if first, twice := seen[family]; twice {
			v.add(here, "%q is a second gateway for %s (%s is one); keep one, and write what leads elsewhere as routes", g, family, first)
			continue
		}
		seen[family] = here
	}
}

// router checks that g can be reached on the link of f, as far as f's own addresses tell.
func (v *validator) router(at path, g Addr, f Interface) bool {
	switch {
	case !g.IsValid() || g.Is4In6() || g.IsUnspecified() || g.IsMulticast() || g.IsLoopback():
		v.add(at, "%q is not the address of one router; write it like \"192.0.2.1\" or \"2001:db8::1\"", g)
		return false
	case slices.ContainsFunc(f.Addresses, func(a Address) bool { return a.Addr() == g.Addr }):
		v.add(at, "%q is the address of the box itself; write that of the router", g)
		return false
	case !f.reaches(g.Addr):
		v.add(at, "%q is in no network of this interface, so it cannot be reached; write the router of one of its addresses' networks, or correct the lengths of those", g)
		return false
	}
	for i, p := range v.s.Edge.Addresses {
		if p.Contains(g.Addr) {
			v.add(at, "%q is an edge address (%s), which the box would take for itself; make that narrower", g, path("edge").field("addresses").index(i))
			return false
		}
	}
	return true
}

// reaches tells whether a router can be a neighbour. A link-local one always is; and to an address that is alone in its
// network (/32, /128), as providers hand them out, any router is.
func (f Interface) reaches(router netip.Addr) bool {
	return router.Is6() && router.IsLinkLocalUnicast() || slices.ContainsFunc(f.Addresses, func(a Address) bool {
		return a.Contains(router) || a.IsSingleIP() && a.Addr().Is4() == router.Is4()
	})
}

func (v *validator) ownRoutes(at path, f Interface) {
	seen := map[string]path{}
	for i, r := range cut(v, at, f.Routes, maxOwnRoutes, "routes") {
		here := at.index(i)
		if !v.sound(here.field("to"), r.To) || !v.router(here.field("via"), r.Via, f) {
			continue
		}
		if r.To.Addr().Is4() != r.Via.Is4() {
			v.add(here.field("via"), "%q is of another IP version than %q; write a router of the same", r.Via, r.To)
		}
		if special, is := r.To.special(); is && special.Prefix.Bits() <= r.To.Bits() {
			v.add(here.field("to"), "%q is special (%s, %s) and has no routes", r.To, special.What, special.Prefix)
		}
		v.between(here.field("metric"), r.Metric, 0, 1<<32-1, "; left out it is the kernel's")
		key := r.To.String() + " " + string(path("").index(r.Metric))
		if first, twice := seen[key]; twice {
			v.add(here, "is a second route to %q with the same metric (%s is one); keep one of them, or give one a higher metric", r.To, first)
			continue
		}
		seen[key] = here
	}
}

func (v *validator) timeServers(at path) {
	seen := map[string]path{}
	for i, server := range cut(v, at, v.s.Host.TimeServers, maxTimeServers, "servers") {
		a, err := netip.ParseAddr(server)
		usable := !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6() && a.Zone() == ""
		if err == nil && !usable || err != nil && !isHostName(server) {
			v.add(at.index(i), "%s is not the name or address of a time server; write it like \"ntp.example.org\" or \"192.0.2.123\"", quote(server))
			continue
		}
		v.once(at.index(i), server, seen)
	}
}

func (v *validator) managementInterfaces() {
	at := path("management").field("interfaces")
	v.s.Management.Interfaces = cut(v, at, v.s.Management.Interfaces, maxInterfaces, "interfaces")
	seen := map[string]path{}
	for i, name := range v.s.Management.Interfaces {
		v.ownInterfaceName(at.index(i), name)
		v.once(at.index(i), name, seen)
	}
}

func (v *validator) updates() {
	if address := v.s.Updates.URL; address != "" && !isUpdateURL(address) {
		v.add(path("updates").field("url"), "%s is not where update files come from; it begins with https:// or http:// and has no password in it, like \"https://updates.example.org/breakwater.update\"", quote(address))
	}
}

func isUpdateURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxURL && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.Fragment == "" && u.Opaque == "" &&
		(isHostName(u.Hostname()) || isAddress(u.Hostname()))
}
