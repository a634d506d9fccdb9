// Package compile turns settings, what an operator wants, into a plan, what the data plane does.
//
//	p := compile.Compile(revision, s) // s.Validate() has returned no problem
//
// Compile is pure: equal settings give equal plans. It decides nothing about the network it runs in; what depends on
// the machine (its own addresses, its file descriptors, what a name resolves to) is left to edge.
package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

// Compile returns the plan of settings that have no problems. Every default is filled in, every name is an index.
func Compile(revision uint64, s settings.Settings) plan.Plan {
	s = s.WithDefaults()
	return plan.Plan{
		Revision:  revision,
		Steering:  steering(s),
		Routes:    routes(s.Services),
		Services:  services(s),
		Pools:     pools(s.Pools),
		Limits:    limits(s.Limits),
		Shield:    shield(s),
		Resolvers: resolvers(s.DNS.Servers),
		Forbidden: forbidden(s),
	}
}

// steering takes every edge address, also those that no service uses: what arrives there is dropped and counted, and
// never reaches a local service of the box.
func steering(s settings.Settings) plan.Steering {
	return plan.Steering{
		Interfaces:  slices.Clone(s.Edge.Interfaces),
		Addresses:   prefixes(s.Edge.Addresses),
		Transparent: slices.ContainsFunc(s.Services, func(s settings.Service) bool { return s.Transparent }),
	}
}

// routes flattens the services so that the first route that matches decides: the narrower port range first, and
// among equally long ones the earlier service. A range stays whole, although cutting away its hidden parts would
// allow a faster lookup, because offset mapping counts from the first port that the operator wrote.
func routes(services []settings.Service) []plan.Route {
	flat := []plan.Route{}
	for i, s := range services {
		addresses := prefixes(s.Addresses)
		for _, protocol := range s.Protocols {
			for _, ports := range s.Ports {
				flat = append(flat, plan.Route{
					Protocol:  plan.Protocol(protocol),
					FirstPort: ports.First,
					LastPort:  ports.Last,
					Addresses: addresses,
					Service:   i,
				})
			}
		}
	}
	slices.SortStableFunc(flat, func(a, b plan.Route) int {
		return cmp.Compare(a.LastPort-a.FirstPort, b.LastPort-b.FirstPort)
	})
	return flat
}

func services(s settings.Settings) []plan.Service {
	index := map[string]int{}
	for i, p := range s.Pools {
		index[p.Name] = i
	}
	list := make([]plan.Service, len(s.Services))
	for i, s := range s.Services {
		list[i] = service(s, index[s.Pool])
	}
	return list
}

func service(s settings.Service, pool int) plan.Service {
	return plan.Service{
		Name:      s.Name,
		Pool:      pool,
		Path:      plan.Path(s.Path),
		TCPHeader: plan.TCPHeader(s.TCPHeader),
		UDPHeader: plan.UDPHeader(s.UDPHeader),
		TLVs: plan.TLVs{
			UniqueID:  slices.Contains(s.HeaderTLVs, "unique-id"),
			Authority: slices.Contains(s.HeaderTLVs, "authority"),
			CRC32C:    slices.Contains(s.HeaderTLVs, "crc32c"),
		},
		Transparent: s.Transparent,
		Upstreams:   prefixes(s.Upstreams),
		Timeouts: plan.Timeouts{
			Connect:    time.Duration(s.Timeouts.Connect),
			FirstByte:  time.Duration(s.Timeouts.FirstByte),
			Header:     time.Duration(s.Timeouts.Header),
			Idle:       time.Duration(s.Timeouts.Idle),
			HalfClose:  time.Duration(s.Timeouts.HalfClose),
			WriteStall: time.Duration(s.Timeouts.WriteStall),
			FlowIdle:   time.Duration(s.Timeouts.FlowIdle),
		},
		Shield: serviceShield(s.Shield),
		Limits: plan.ServiceLimits{
			MaxSessions:           s.Limits.MaxSessions,
			MaxSessionsPerAddress: s.Limits.MaxSessionsPerAddress,
			MaxSessionsPerNetwork: s.Limits.MaxSessionsPerNetwork,
			NewSessionsPerAddress: s.Limits.NewSessionsPerAddress,
			MaxFlows:              s.Limits.MaxFlows,
			NewFlowsPerSec:        s.Limits.NewFlowsPerSecond,
			NewClientsPerSec:      s.Limits.NewClientsPerSecond,
			MaxAmplification:      max(0, s.Limits.MaxAmplification), // settings write -1 for what is 0 here: no limit
		},
	}
}

func pools(list []settings.Pool) []plan.Pool {
	compiled := make([]plan.Pool, len(list))
	for i, p := range list {
		compiled[i] = plan.Pool{
			Name:            p.Name,
			Choice:          plan.Choice(p.Choice),
			Origins:         origins(p.Origins),
			SourceAddresses: addresses(p.SourceAddresses),
			Health: plan.Health{
				Check:    plan.Check(p.Health.Check),
				Port:     uint16(p.Health.Port), //nolint:gosec // Validate bounds it to a port
				Header:   plan.TCPHeader(p.Health.Header),
				Interval: time.Duration(p.Health.Interval),
				Timeout:  time.Duration(p.Health.Timeout),
				Rise:     p.Health.Rise,
				Fall:     p.Health.Fall,
			},
		}
	}
	return compiled
}

func origins(list []settings.Origin) []plan.Origin {
	compiled := make([]plan.Origin, len(list))
	for i, o := range list {
		compiled[i] = plan.Origin{
			Name:        o.Name,
			Address:     o.Address,
			Record:      plan.Record(o.Record),
			FirstPort:   o.Port.First,
			LastPort:    o.Port.Last,
			Weight:      o.Weight,
			State:       plan.State(o.State),
			MaxSessions: o.MaxSessions,
		}
	}
	return compiled
}

func limits(l settings.Limits) plan.Limits {
	return plan.Limits{
		MaxSessions:       l.MaxSessions,
		MaxFlows:          l.MaxFlows,
		MaxFlowsPerSource: l.MaxFlowsPerSource,
		NewFlowsPerSec:    l.NewFlowsPerSecond,
		Sources: plan.SourceLimits{ // settings write -1 for what is 0 here: no limit
			PacketsPerAddress:    max(0, l.PacketsPerAddress),
			BytesPerAddress:      max(0, l.BytesPerAddress),
			NewClientsPerAddress: max(0, l.NewClientsPerAddress),
			PacketsPerNetwork:    max(0, l.PacketsPerNetwork),
			BytesPerNetwork:      max(0, l.BytesPerNetwork),
			NewClientsPerNetwork: max(0, l.NewClientsPerNetwork),
		},
	}
}

func resolvers(servers []settings.Server) []netip.AddrPort {
	list := make([]netip.AddrPort, len(servers))
	for i, s := range servers {
		list[i] = netip.AddrPort(s)
	}
	return list
}

// forbidden lists what no name of an origin may resolve to. The special ranges (loopback, link-local and so on, each
// with its reason in package settings) would reach the box itself or the metadata service of its cloud, the edge
// addresses would send a session in a circle, and behind the management networks stand the operator's own machines.
func forbidden(s settings.Settings) []netip.Prefix {
	list := []netip.Prefix{}
	for _, r := range settings.SpecialRanges() {
		list = append(list, r.Prefix)
	}
	list = append(list, prefixes(s.Edge.Addresses)...)
	return append(list, prefixes(s.Management.Networks)...)
}

// addresses is nil for none, so that a plan says nothing of what nobody asked for.
func addresses(list []settings.Addr) (plain []netip.Addr) {
	for _, a := range list {
		plain = append(plain, a.Addr)
	}
	return plain
}

func prefixes(list []settings.Prefix) []netip.Prefix {
	plain := make([]netip.Prefix, len(list))
	for i, p := range list {
		plain[i] = p.Prefix
	}
	return plain
}
