package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/quick"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

// randomSettings has few addresses and narrow ports, so that its services overlap in every way.
func randomSettings(r *rand.Rand) settings.Settings {
	s := settings.Settings{
		Schema: settings.Schema,
		Edge:   settings.Edge{Interfaces: []string{"wan0"}, Addresses: []settings.Prefix{prefix("203.0.113.0/30"), prefix("2001:db8::/126")}},
	}
	for i := range 1 + r.IntN(3) {
		s.Pools = append(s.Pools, settings.Pool{
			Name:    fmt.Sprint("pool-", i),
			Origins: []settings.Origin{{Address: "10.0.0.20"}, {Address: "origin.example.net"}},
		})
	}
	for i := range r.IntN(8) {
		s.Services = append(s.Services, randomService(r, fmt.Sprint("service-", i), len(s.Pools)))
	}
	return s
}

func randomService(r *rand.Rand, name string, pools int) settings.Service {
	s := settings.Service{Name: name, Pool: fmt.Sprint("pool-", r.IntN(pools)), Transparent: r.IntN(4) == 0}
	s.Path = []string{"", "auto", "kernel", "user"}[r.IntN(4)]
	s.Protocols = [][]string{{"tcp"}, {"udp"}, {"tcp", "udp"}, {"udp", "tcp"}}[r.IntN(4)]
	for _, p := range []string{"203.0.113.0/32", "203.0.113.2/31", "203.0.113.0/30", "2001:db8::/127", "2001:db8::3/128"} {
		if r.IntN(3) == 0 {
			s.Addresses = append(s.Addresses, prefix(p))
		}
	}
	for range 1 + r.IntN(3) {
		first := 1 + r.IntN(12)
		s.Ports = append(s.Ports, settings.Ports{First: uint16(first), Last: uint16(min(12, first+r.IntN(6)))})
	}
	return s
}

func prefix(text string) settings.Prefix { return settings.Prefix{Prefix: netip.MustParsePrefix(text)} }

// oracle finds the service from the rule in the comment of settings.Service and nothing else: the narrower port
// range wins, then the earlier service. No service: -1.
func oracle(s settings.Settings, protocol string, addr netip.Addr, port uint16) (service int, ports settings.Ports) {
	service = -1
	for i, candidate := range s.Services {
		addresses := candidate.Addresses
		if len(addresses) == 0 {
			addresses = s.Edge.Addresses
		}
		here := slices.ContainsFunc(addresses, func(p settings.Prefix) bool { return p.Contains(addr) })
		if !here || !slices.Contains(candidate.Protocols, protocol) {
			continue
		}
		for _, p := range candidate.Ports {
			if p.First <= port && port <= p.Last && (service < 0 || p.Count() < ports.Count()) {
				service, ports = i, p
			}
		}
	}
	return service, ports
}

// scan finds the service as edge does: the first route that matches.
func scan(p plan.Plan, protocol string, addr netip.Addr, port uint16) (service int, ports settings.Ports) {
	for _, r := range p.Routes {
		here := slices.ContainsFunc(r.Addresses, func(p netip.Prefix) bool { return p.Contains(addr) })
		if here && r.Protocol == plan.Protocol(protocol) && r.FirstPort <= port && port <= r.LastPort {
			return r.Service, settings.Ports{First: r.FirstPort, Last: r.LastPort}
		}
	}
	return -1, settings.Ports{}
}

func TestRoutesFollowTheRule(t *testing.T) {
	found, none := 0, 0
	follows := func(seed uint64) bool {
		s := randomSettings(rand.New(rand.NewPCG(seed, 0)))
		if problems := s.Validate(); len(problems) > 0 {
			t.Errorf("seed %d: %v", seed, problems)
			return false
		}
		p := Compile(1, s)
		for _, text := range []string{"203.0.113.0", "203.0.113.1", "203.0.113.3", "203.0.113.4", "2001:db8::", "2001:db8::3", "2001:db8::4"} {
			addr := netip.MustParseAddr(text)
			for _, protocol := range []string{"tcp", "udp"} {
				for port := range uint16(14) {
					service, ports := scan(p, protocol, addr, port)
					wantService, wantPorts := oracle(s, protocol, addr, port)
					if service != wantService || ports != wantPorts {
						t.Errorf("seed %d: %s %s port %d: got service %d by %s, want %d by %s", seed, protocol, addr, port, service, ports, wantService, wantPorts)
						return false
					}
					if service < 0 {
						none++
					} else {
						found++
					}
				}
			}
		}
		return true
	}
	if err := quick.Check(follows, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
	if found == 0 || none == 0 {
		t.Errorf("got %d lookups with a service and %d without; the test needs both", found, none)
	}
}

// checkPlan finds what edge could not use: an index out of range, an empty word, a timer that is not positive.
func checkPlan(p plan.Plan) error {
	for i, r := range p.Routes {
		if r.Service < 0 || r.Service >= len(p.Services) || r.FirstPort < 1 || r.LastPort < r.FirstPort || len(r.Addresses) == 0 {
			return fmt.Errorf("route %d: %+v", i, r)
		}
	}
	for i, s := range p.Services {
		t := s.Timeouts
		if s.Pool < 0 || s.Pool >= len(p.Pools) || s.TCPHeader == "" || s.UDPHeader == "" ||
			min(t.Connect, t.Header, t.Idle, t.HalfClose, t.WriteStall, t.FlowIdle) <= 0 || s.Limits.MaxAmplification < 0 {
			return fmt.Errorf("service %d: %+v", i, s)
		}
		needsBytes := s.TLVs != plan.TLVs{} || len(s.Upstreams) > 0
		if s.Path != plan.PathAuto && s.Path != plan.PathUser && (s.Path != plan.PathKernel || needsBytes) {
			return fmt.Errorf("service %d, which needs a look at bytes %t, has the path %q", i, needsBytes, s.Path)
		}
	}
	for i, pool := range p.Pools {
		h := pool.Health
		if pool.Choice == "" || h.Check == "" || h.Header == "" || min(h.Interval, h.Timeout) <= 0 || min(h.Rise, h.Fall) < 1 || len(pool.Origins) == 0 {
			return fmt.Errorf("pool %d: %+v", i, pool)
		}
		for j, o := range pool.Origins {
			_, err := netip.ParseAddr(o.Address)
			if isName := err != nil; o.Name == "" || o.Weight < 1 || o.State == "" || isName != (o.Record != plan.RecordNone) {
				return fmt.Errorf("pool %d, origin %d: %+v", i, j, o)
			}
		}
	}
	return nil
}

// FuzzCompile: whatever document has no problem gives a plan that edge can use.
func FuzzCompile(f *testing.F) {
	for _, document := range []string{"fresh", "smallest", "overlapping", "offset", "every-field"} {
		f.Add(settings.Encode(read(f, "testdata/"+document+".json")))
	}
	for seed := range uint64(20) {
		f.Add(settings.Encode(randomSettings(rand.New(rand.NewPCG(seed, 1)))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := settings.Read(data)
		if len(problems) > 0 {
			return
		}
		p := Compile(1, s)
		if err := checkPlan(p); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if got := Compile(2, s.WithDefaults()); got.Fingerprint() != p.Fingerprint() {
			t.Fatalf("defaults spelled out change the plan\n%s", data)
		}
	})
}
