package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Set is all origin pools of the plan in force.
type Set struct {
	log        *slog.Logger
	conditions *health.Set
	check      func(context.Context, checkTask) (took time.Duration, err error) // checkTCP
	minTTL     time.Duration
	wake       chan struct{} // tells Run to look at everything again
	tries      chan struct{} // holds one for each trial that runs

	mu       sync.Mutex
	pools    map[string]*Pool
	order    []*Pool // as in the plan
	guard    guard
	resolver *resolver
	held     map[*Origin]bool // those of the plan, and those that left it while sessions or flows are with them
}

// named is one origin of the plan with its addresses. Guarded by Set.mu.
type named struct {
	spec      plan.Origin
	places    *places
	answer    answer // of the last lookup that worked; of an IP address: itself
	asked     bool   // there was a lookup
	err       error  // of the last lookup
	addresses map[netip.AddrPort]*Origin
	list      []*Origin // addresses in use, in order of the answer
	refused   []refusal // addresses of the answer that no origin may have
}

// New makes an empty set. Conditions are raised in conditions; changes of health are logged.
func New(log *slog.Logger, conditions *health.Set) *Set {
	return &Set{
		log: log, conditions: conditions, check: checkTCP, minTTL: minTTL, wake: make(chan struct{}, 1),
		tries: make(chan struct{}, triesAtOnce),
		pools: make(map[string]*Pool), resolver: newResolver(nil), held: make(map[*Origin]bool),
	}
}

// Pool is the pool of that name, nil when there is none. The pointer stays the same while the name is in the plan.
func (s *Set) Pool(name string) *Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[name]
}

// Apply brings the pools of p into force; own are the addresses of this box, which no origin may have. Origins that
// stay keep their state: health, sessions, resolved addresses. When an origin of p cannot be used, nothing changes
// and the error says which.
func (s *Set) Apply(p *plan.Plan, own []netip.Addr) error {
	g := guard{forbidden: slices.Clone(p.Forbidden), own: slices.Clone(own)}
	if err := checkPools(p.Pools, g); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard = g
	if next := newResolver(p.Resolvers); !slices.Equal(next.servers, s.resolver.servers) {
		s.resolver = next
	}
	s.replacePools(p.Pools)
	s.refresh()
	s.notify()
	return nil
}

func checkPools(pools []plan.Pool, g guard) error {
	seen := make(map[string]bool)
	for _, p := range pools {
		if seen[p.Name] {
			return fmt.Errorf("there are two pools with the name %s", p.Name)
		}
		seen[p.Name] = true
		if h := p.Health; h.Check == plan.CheckTCP && (h.Interval <= 0 || h.Timeout <= 0) {
			return fmt.Errorf("the health checks of pool %s need a positive interval and timeout", p.Name)
		}
		names := make(map[string]bool)
		for _, o := range p.Origins {
			if names[o.Name] {
				return fmt.Errorf("pool %s has two origins with the name %s", p.Name, o.Name)
			}
			names[o.Name] = true
			if err := checkOrigin(o, g); err != nil {
				return fmt.Errorf("origin %s of pool %s %w", o.Name, p.Name, err)
			}
		}
	}
	return nil
}

// checkOrigin words its errors as the end of the sentence "origin x of pool y ...".
func checkOrigin(o plan.Origin, g guard) error {
	switch {
	case o.Weight < 1:
		return fmt.Errorf("has the weight %d, at least 1 is needed", o.Weight)
	case o.FirstPort > o.LastPort || o.FirstPort == 0 && o.LastPort != 0:
		return fmt.Errorf("has the ports %d to %d, which is no range", o.FirstPort, o.LastPort)
	case o.Record != plan.RecordNone:
		return checkName(o)
	}
	address, err := netip.ParseAddr(o.Address)
	if err != nil {
		return fmt.Errorf("has the address %q, which is no IP address", o.Address)
	}
	if why := g.refuse(address); why != "" {
		return fmt.Errorf("has the address %s, which is %s", o.Address, why)
	}
	return nil
}

// replacePools keeps what stays. An origin stays when it has the same name and address in the pool of the same name.
func (s *Set) replacePools(pools []plan.Pool) {
	old := s.pools
	s.pools, s.order = make(map[string]*Pool), nil
	for _, spec := range pools {
		p := old[spec.Name]
		if p == nil {
			p = &Pool{name: spec.Name}
		}
		delete(old, spec.Name)
		before := p.origins
		p.health, p.choice, p.wished, p.origins = spec.Health, spec.Choice, spec.SourceAddresses, nil
		for _, o := range spec.Origins {
			p.origins = append(p.origins, keep(before, o))
		}
		s.pools[p.name], s.order = p, append(s.order, p)
	}
	for _, gone := range old {
		gone.origins = nil
		gone.view.Store(&view{reason: status.NoOrigin})
		s.raise(gone, nil)
	}
}

func keep(before []*named, spec plan.Origin) *named {
	for _, n := range before {
		if n.spec.Name == spec.Name && n.spec.Address == spec.Address && n.spec.Record == spec.Record {
			n.spec = spec
			return n
		}
	}
	n := &named{spec: spec, places: &places{}, addresses: make(map[netip.AddrPort]*Origin)}
	if spec.Record == plan.RecordNone {
		address := netip.MustParseAddr(spec.Address).Unmap() // checked by checkOrigin
		n.answer = answer{places: []place{{address: address, weight: 1}}}
	} else {
		n.err = errors.New("not resolved yet")
	}
	return n
}

// notify tells Run that something changed. It never blocks, as threads that serve clients call it.
func (s *Set) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // Run has not looked since the last time, and will see this too
	}
}

// Addresses are those of all origins of the plan, whatever their state, and of those that left it while sessions or flows are with
// them, in order.
func (s *Set) Addresses() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold()
	list := make([]netip.Addr, 0, len(s.held))
	for o := range s.held {
		list = append(list, o.address.Unmap())
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// hold brings held up to date. s.mu is held.
func (s *Set) hold() {
	for o := range s.held {
		if o.sessions.Load() == 0 {
			delete(s.held, o)
		}
	}
	for _, p := range s.order {
		for _, n := range p.origins {
			for _, o := range n.list {
				s.held[o] = true
			}
		}
	}
}

// Status is a copy of what is seen of all pools, in the order of the plan.
func (s *Set) Status() []status.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]status.Pool, 0, len(s.order))
	for _, p := range s.order {
		out := status.Pool{Name: p.name, Panic: p.panicked(), SourceAddresses: p.view.Load().from.all(), Origins: []status.Origin{}}
		for _, n := range p.origins {
			out.Origins = append(out.Origins, n.status()...)
		}
		list = append(list, out)
	}
	return list
}

func (n *named) status() []status.Origin {
	if len(n.list) == 0 {
		return []status.Origin{{Name: n.spec.Name, State: n.spec.State, Why: n.trouble()}}
	}
	list := make([]status.Origin, 0, len(n.list))
	for _, o := range n.list {
		now := o.now.Load()
		list = append(list, status.Origin{
			Name: o.name, Address: n.shown(o), State: n.spec.State, Up: now.up, Why: now.why, Since: now.since,
			Sessions: o.sessions.Load(), Chosen: o.chosen.Load(), Failed: o.failed.Load(), Portless: o.portless.Load(), HungUp: o.hungUp.Load(),
			Checks: o.checks.Load(), Failures: o.failures.Load(),
		})
	}
	return list
}

// shown is the address of o, with the port when it is always the same.
func (n *named) shown(o *Origin) string {
	if first, last := n.ports(o); first == last && first != 0 {
		return netip.AddrPortFrom(o.address, first).String()
	}
	return o.address.String()
}

func (n *named) ports(o *Origin) (first, last uint16) {
	if o.port != 0 {
		return o.port, o.port
	}
	return n.spec.FirstPort, n.spec.LastPort
}

// trouble says why there is no address.
func (n *named) trouble() string {
	switch {
	case len(n.refused) > 0:
		return n.refused[0].String()
	case n.err != nil:
		return n.err.Error()
	}
	return "no address"
}
