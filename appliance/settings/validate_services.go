package settings

import (
	"slices"
	"time"
)

func (v *validator) services() {
	at := path("services")
	v.s.Services = cut(v, at, v.s.Services, maxServices, "services")
	pools := map[string]int{}
	for i, p := range v.s.Pools {
		if _, taken := pools[p.Name]; !taken {
			pools[p.Name] = i
		}
	}
	seen := map[string]path{}
	ranges, routes := 0, 0
	for i, s := range v.s.Services {
		v.service(at.index(i), s, pools)
		v.unique(at.index(i).field("name"), s.Name, seen)
		ranges += len(s.Ports)
		routes += len(s.Addresses) * len(s.Ports) * len(s.Protocols)
	}
	v.atMost(at, ranges, maxRanges, "port ranges in all")
	v.atMost(at, routes, maxRoutes, "routes in all (addresses × port ranges × protocols)")
}

func (v *validator) service(at path, s Service, pools map[string]int) {
	if wrong := nameProblem(s.Name, maxName); wrong != "" {
		v.add(at.field("name"), "%s", wrong)
	}
	if len(s.Protocols) == 0 {
		v.add(at.field("protocols"), "is empty; write \"tcp\", \"udp\" or both")
	}
	v.wordList(at.field("protocols"), s.Protocols, "tcp", "udp")
	v.serviceAddresses(at.field("addresses"), s)
	v.servicePorts(at, s, pools)
	v.enginePath(at.field("path"), s)
	v.headers(at, s)
	v.upstreams(at.field("upstreams"), s)
	v.timeouts(at.field("timeouts"), s.Timeouts)
	v.serviceLimits(at.field("limits"), s.Limits)
	v.serviceShield(at.field("shield"), s.Shield)
}

// serviceAddresses takes no notice of the addresses that are the edge's by default: those are judged there.
func (v *validator) serviceAddresses(at path, s Service) {
	edge := v.s.Edge.Addresses
	addresses := s.Addresses[:min(len(s.Addresses), maxAddresses)] // as the edge's were cut; maxRoutes reports too many
	if slices.Equal(addresses, edge) {
		return
	}
	edgeIsSound := !slices.ContainsFunc(edge, func(p Prefix) bool { return p.wrong() != "" })
	for i, p := range addresses {
		if v.sound(at.index(i), p) && edgeIsSound && !p.within(edge) {
			v.add(at.index(i), "%q is not within the edge addresses; add it there first, or leave addresses out to take all of them", p)
		}
	}
}

func (v *validator) servicePorts(at path, s Service, pools map[string]int) {
	if len(s.Ports) == 0 {
		v.add(at.field("ports"), "is empty; write a list like [\"443\", \"1000-2000\"]")
	}
	pool, known := pools[s.Pool]
	_, unnamed := pools[""]
	switch {
	case s.Pool == "":
		v.add(at.field("pool"), "is missing; write the name of a pool")
	case !known && !unnamed: // the pool without a name, which has its own problem, may be the one meant
		v.add(at.field("pool"), "there is no pool %s; write the name of one of the pools, or add it", quote(s.Pool))
	}
	mapped := -1
	if known {
		mapped = v.s.Pools[pool].mapped()
	}
	for i, ports := range s.Ports {
		if ports == (Ports{}) || ports.First == 0 || ports.First > ports.Last {
			v.add(at.field("ports").index(i), "is not a port or port range; write it like \"443\" or \"1000-2000\"")
			continue
		}
		if mapped < 0 {
			continue
		}
		if o := v.s.Pools[pool].Origins[mapped].Port; o.Count() != ports.Count() {
			v.add(at.field("ports").index(i), "%q is %d ports, but %q of the origin (%s) is %d; a range that is mapped to a range must be equally long",
				ports, ports.Count(), o, path("pools").index(pool).field("origins").index(mapped).field("port"), o.Count())
		}
	}
}

func (v *validator) headers(at path, s Service) {
	v.oneOf(at.field("tcpHeader"), s.TCPHeader, tcpHeaders...)
	v.oneOf(at.field("udpHeader"), s.UDPHeader, "none", "v2-each", "v2-first", "spp")
	v.wordList(at.field("headerTlvs"), s.HeaderTLVs, "unique-id", "authority", "crc32c")
	tcp, udp := slices.Contains(s.Protocols, "tcp"), slices.Contains(s.Protocols, "udp")
	if s.TCPHeader != "none" && !tcp {
		v.add(at.field("tcpHeader"), "%s is given, but the service has no tcp; add tcp to its protocols or leave the header out", quote(s.TCPHeader))
	}
	if s.UDPHeader != "none" && !udp {
		v.add(at.field("udpHeader"), "%s is given, but the service has no udp; add udp to its protocols or leave the header out", quote(s.UDPHeader))
	}
	version2 := s.TCPHeader == "v2" || s.UDPHeader == "v2-each" || s.UDPHeader == "v2-first"
	if len(s.HeaderTLVs) > 0 && !version2 {
		v.add(at.field("headerTlvs"), "is given, but only PROXY v2 carries these; set tcpHeader to v2 or udpHeader to v2-each or v2-first, or leave them out")
	}
}

// enginePath reports what only the user path can do. With auto nothing is wrong: such a service takes the user path.
func (v *validator) enginePath(at path, s Service) {
	v.oneOf(at, s.Path, "auto", "kernel", "user")
	if s.Path != "kernel" {
		return
	}
	if len(s.HeaderTLVs) > 0 {
		v.add(at, "\"kernel\" cannot write headerTlvs into the header, which only the user path does; choose auto or user, or leave headerTlvs out")
	}
	if len(s.Upstreams) > 0 {
		v.add(at, "\"kernel\" cannot read the PROXY header of upstreams, which only the user path does; choose auto or user, or leave upstreams out")
	}
}

// upstreams may claim any client address, so they are listed narrowly and checked to be of use.
func (v *validator) upstreams(at path, s Service) {
	if len(s.Upstreams) > 0 && !slices.Contains(s.Protocols, "tcp") {
		v.add(at, "is given, but only tcp sessions begin with a PROXY header of an upstream; add tcp to the protocols or leave upstreams out")
	}
	for i, p := range cut(v, at, s.Upstreams, maxUpstreams, "networks") {
		if !v.sound(at.index(i), p) {
			continue
		}
		if p.Bits() == 0 {
			v.add(at.index(i), "%q is everyone, and each could claim any address; list the load balancers alone", p)
			continue
		}
		sameFamily := func(edge Prefix) bool { return !edge.IsValid() || edge.Addr().Is4() == p.Addr().Is4() }
		if len(s.Addresses) > 0 && !slices.ContainsFunc(s.Addresses, sameFamily) {
			v.add(at.index(i), "%q can never arrive, because the service has no address of that IP version; add one or leave this network out", p)
		}
	}
}

func (v *validator) timeouts(at path, t Timeouts) {
	const day = 24 * time.Hour
	v.lasts(at.field("connect"), time.Duration(t.Connect), 100*time.Millisecond, time.Minute)
	if t.FirstByte != 0 {
		v.lasts(at.field("firstByte"), time.Duration(t.FirstByte), 100*time.Millisecond, time.Hour)
	}
	v.lasts(at.field("header"), time.Duration(t.Header), 100*time.Millisecond, time.Minute)
	v.lasts(at.field("idle"), time.Duration(t.Idle), time.Second, 7*day)
	v.lasts(at.field("halfClose"), time.Duration(t.HalfClose), time.Second, day)
	v.lasts(at.field("writeStall"), time.Duration(t.WriteStall), time.Second, time.Hour)
	v.lasts(at.field("flowIdle"), time.Duration(t.FlowIdle), time.Second, day)
}

func (v *validator) serviceLimits(at path, l ServiceLimits) {
	v.between(at.field("maxSessions"), l.MaxSessions, 0, unlimited, "; left out there is no limit")
	v.between(at.field("maxSessionsPerAddress"), l.MaxSessionsPerAddress, 0, unlimited, "; left out there is no limit")
	v.between(at.field("maxSessionsPerNetwork"), l.MaxSessionsPerNetwork, 0, unlimited, "; left out there is no limit")
	if l.MaxSessionsPerNetwork > 0 && l.MaxSessionsPerNetwork < l.MaxSessionsPerAddress {
		v.add(at.field("maxSessionsPerNetwork"), "%d is fewer than the %d of one address (maxSessionsPerAddress), which could never be reached; raise this one or lower the other",
			l.MaxSessionsPerNetwork, l.MaxSessionsPerAddress)
	}
	v.between(at.field("newSessionsPerAddress"), l.NewSessionsPerAddress, 0, 10_000_000, "; left out there is no limit")
	v.between(at.field("newClientsPerSecond"), l.NewClientsPerSecond, 0, 10_000_000, "; left out there is no limit")
	v.between(at.field("maxFlows"), l.MaxFlows, 0, unlimited, "; left out there is no limit")
	v.between(at.field("newFlowsPerSecond"), l.NewFlowsPerSecond, 0, 10_000_000, "; left out there is no limit")
	if l.MaxAmplification != -1 {
		v.between(at.field("maxAmplification"), l.MaxAmplification, 1, 100, ", or -1 for no limit")
	}
}
