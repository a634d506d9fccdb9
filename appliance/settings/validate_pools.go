package settings

import (
	"net"
	"net/netip"
	"time"
)

func (v *validator) pools() {
	at := path("pools")
	v.s.Pools = cut(v, at, v.s.Pools, maxPools, "pools")
	seen := map[string]path{}
	origins := 0
	for i, p := range v.s.Pools {
		v.pool(at.index(i), p)
		v.unique(at.index(i).field("name"), p.Name, seen)
		origins += len(p.Origins)
	}
	v.atMost(at, origins, maxOrigins, "origins in all")
}

func (v *validator) pool(at path, p Pool) {
	if wrong := nameProblem(p.Name, maxName); wrong != "" {
		v.add(at.field("name"), "%s", wrong)
	}
	v.oneOf(at.field("choice"), p.Choice, "source-hash", "round-robin", "least-sessions")
	v.health(at.field("health"), p.Health)
	v.sourceAddresses(at.field("sourceAddresses"), p.SourceAddresses)
	if len(p.Origins) == 0 {
		v.add(at.field("origins"), "is empty; a pool needs at least one origin")
	}
	seen := map[string]path{}
	for i, o := range p.Origins {
		origin := at.field("origins").index(i)
		v.origin(origin, o)
		if p.Name != "" { // else the names by default are not what they will be
			v.originName(origin.field("name"), o.Name, seen)
		}
	}
	v.offsetMapping(at, p)
}

func (v *validator) originName(at path, name string, seen map[string]path) {
	if wrong := nameProblem(name, maxOriginName); wrong != "" {
		v.add(at, "%s", wrong)
	}
	v.unique(at, name, seen)
}

// offsetMapping checks that the origins of a pool agree in the length of their port ranges: a client's port is moved
// by an offset, and whichever origin is chosen must have that port.
func (v *validator) offsetMapping(at path, p Pool) {
	first := p.mapped()
	for i, o := range p.Origins {
		if n := o.Port.Count(); n > 1 && n != p.Origins[first].Port.Count() {
			v.add(at.field("origins").index(i).field("port"), "%q is %d ports, but %q (%s) is %d; the port ranges of a pool must be equally long",
				o.Port, n, p.Origins[first].Port, at.field("origins").index(first).field("port"), p.Origins[first].Port.Count())
		}
	}
}

// mapped is the first origin of p that has a range of ports, or -1.
func (p Pool) mapped() int {
	for i, o := range p.Origins {
		if o.Port.Count() > 1 {
			return i
		}
	}
	return -1
}

// sourceAddresses checks the addresses that a pool's sessions come from. Whether the box has them only edge can tell.
func (v *validator) sourceAddresses(at path, list []Addr) {
	var four, six int
	for _, a := range list {
		if a.Is4() {
			four++
		} else {
			six++
		}
	}
	v.atMost(at, four, maxSourceAddresses, "IPv4 addresses")
	v.atMost(at, six, maxSourceAddresses, "IPv6 addresses")
	seen := map[string]path{}
	for i, a := range list[:min(len(list), 2*maxSourceAddresses)] {
		if here := at.index(i); v.sourceAddress(here, a) {
			v.once(here, a.String(), seen)
		}
	}
}

// sourceAddress refuses what answers cannot come back to: steering would bring those to an edge address to a service.
func (v *validator) sourceAddress(at path, a Addr) bool {
	p := Prefix{netip.PrefixFrom(a.Addr, a.BitLen())}
	if !v.sound(at, p) {
		return false
	}
	if r, special := p.special(); special {
		v.add(at, "%q is special (%s, %s) and cannot be a source address; write an address that the box has on the way to the origins", a, r.What, r.Prefix)
		return false
	}
	for i, edge := range v.s.Edge.Addresses {
		if edge.Contains(a.Addr) {
			v.add(at, "%q is an edge address (%s), where answers of origins would be taken for clients; write another address of the box", a, path("edge").field("addresses").index(i))
			return false
		}
	}
	return true
}

func (v *validator) health(at path, h Health) {
	v.oneOf(at.field("check"), h.Check, "tcp", "none")
	v.oneOf(at.field("header"), h.Header, tcpHeaders...)
	v.between(at.field("port"), h.Port, 0, 65535, "; left out it is the origin's own port")
	v.lasts(at.field("interval"), time.Duration(h.Interval), 500*time.Millisecond, time.Hour)
	v.lasts(at.field("timeout"), time.Duration(h.Timeout), 100*time.Millisecond, time.Minute)
	if h.Timeout > h.Interval {
		v.add(at.field("timeout"), "%q is longer than the interval of %q; a check must end before the next begins", h.Timeout, h.Interval)
	}
	v.between(at.field("rise"), h.Rise, 1, 100, "")
	v.between(at.field("fall"), h.Fall, 1, 100, "")
}

func (v *validator) origin(at path, o Origin) {
	v.between(at.field("weight"), o.Weight, 1, 256, "")
	v.between(at.field("maxSessions"), o.MaxSessions, 0, unlimited, "; left out there is no limit")
	v.oneOf(at.field("state"), o.State, "active", "drain", "maintenance")
	if addr, err := netip.ParseAddr(o.Address); err == nil {
		v.originAddress(at, o, addr)
		return
	}
	v.oneOf(at.field("record"), o.Record, "any", "a", "aaaa", "srv")
	if o.Record == "srv" && o.Port != (Ports{}) {
		v.add(at.field("port"), "%q is given, but an SRV record brings the port; leave the port out", o.Port)
	}
	if _, err := netip.ParsePrefix(o.Address); err == nil {
		v.add(at.field("address"), "%s is a network; an origin is one address, written without a length", quote(o.Address))
		return
	}
	if o.Address == "" {
		v.add(at.field("address"), "is missing; write the IP address or the DNS name of the origin")
		return
	}
	if host, port, err := net.SplitHostPort(o.Address); err == nil && new(Ports).UnmarshalText([]byte(port)) == nil {
		v.add(at.field("address"), "%s has a port in it; write %s here, and the port in the field port", quote(o.Address), quote(host))
		return
	}
	if wrong := dnsProblem(o.Address, o.Record == "srv"); wrong != "" {
		v.add(at.field("address"), "%s", wrong)
	}
}

// originAddress refuses the addresses that are the box itself, where a session would run in a circle until the file
// descriptors end, and those that origins may not have. Edge checks each resolved name in the same way.
func (v *validator) originAddress(at path, o Origin, addr netip.Addr) {
	if o.Record != "" {
		v.add(at.field("record"), "%s is given for an IP address; leave it out, or write a DNS name as the address", quote(o.Record))
	}
	at = at.field("address")
	p := Prefix{netip.PrefixFrom(addr.WithZone(""), addr.BitLen())}
	if addr.Zone() != "" {
		v.add(at, "%s is an address of one link; an origin needs an address without a zone", quote(o.Address))
		return
	}
	if !v.sound(at, p) {
		return
	}
	if r, special := p.special(); special {
		v.add(at, "%q is special (%s, %s) and cannot be an origin; write the address of the server behind the box", addr, r.What, r.Prefix)
		return
	}
	for i, edge := range v.s.Edge.Addresses {
		if edge.Contains(addr) {
			v.add(at, "%q is an edge address (%s), so the origin is the box itself and sessions would run in a circle; write the address of the server behind the box",
				addr, path("edge").field("addresses").index(i))
			return
		}
	}
	for i, network := range v.s.Management.Networks {
		if network.Contains(addr) {
			v.add(at, "%q is in a management network (%s), where no origin may be; move the origin or make that network narrower",
				addr, path("management").field("networks").index(i))
			return
		}
	}
}
