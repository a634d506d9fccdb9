package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
)

// tables are the contents of the program's tables for one plan.
type tables struct {
	addresses map[netip.Prefix]uint32 // to a set of ports
	sets      []portSet
	pages     []portPage
	routes    []bpfRoute
	services  []bpfService
	guards    []bpfGuard // in the order of services
	rules     []bpfPacketRule
	pools     []bpfPool
	members   []bpfMember
	turns     []uint32

	limits     bpfSourceLimits
	crowds     map[string]crowdOf        // by name of a service
	timeouts   map[uint32]plan.Timeouts  // by number of a service
	origins    map[uint32]*origin.Origin // by number
	interfaces []int                     // that origins are behind
}

// portSet names a page for each 256 ports: of TCP, then of UDP. portPage names a route for each port; 0 is none. A page that
// many sets have is there once, so that a thousand addresses with the same services take no more than one.
type (
	portSet  [setPages]uint32
	portPage [pagePorts]uint32
)

const (
	setPages, pagePorts = 512, 256
	maxMembers          = 64
)

// The numbers of bpf/layout.h.
const (
	pathTCP, pathUDP = 1, 2

	headerNone, headerV1, headerV2, headerSPP = 0, 1, 2, 3

	choiceHash, choiceTurns, choiceLeast = 0, 1, 2

	memberNo, memberYes, memberTry = 0, 1, 2
)

// build makes the tables of a plan.
func (k *Path) build(p *plan.Plan) (tables, error) {
	t := tables{timeouts: make(map[uint32]plan.Timeouts)}
	maps.Copy(t.timeouts, k.tables.timeouts) // sessions may have services that are gone
	t.buildRoutes(p)
	for i := range p.Services {
		s := &p.Services[i]
		number, err := k.names.of(kindService, s.Name)
		if err != nil {
			return tables{}, err
		}
		t.timeouts[number] = s.Timeouts
		t.services = append(t.services, serviceEntry(s, number))
	}
	k.buildCrowds(p, &t)
	t.limits = sourceLimits(&p.Limits)
	return t, errors.Join(k.buildGuards(p, &t), k.buildPools(p, &t))
}

// carries tells which protocols of a service need no look at bytes.
func carries(s *plan.Service) (path uint8) {
	if s.Path == plan.PathUser || len(s.Upstreams) > 0 || s.TLVs != (plan.TLVs{}) {
		return 0
	}
	return pathTCP | pathUDP
}

func serviceEntry(s *plan.Service, number uint32) bpfService {
	e := bpfService{
		Number: number, Pool: uint32(s.Pool), //nolint:gosec // Check bounds it
		MaxSessions: limit(s.Limits.MaxSessions), MaxFlows: limit(s.Limits.MaxFlows), NewFlows: limit(s.Limits.NewFlowsPerSec),
		MaxPerAddress: limit(s.Limits.MaxSessionsPerAddress), MaxPerNetwork: limit(s.Limits.MaxSessionsPerNetwork),
		NewPerAddress: limit(s.Limits.NewSessionsPerAddress),
		Amplification: min(limit(s.Limits.MaxAmplification), 65535), Path: carries(s),
	}
	switch s.TCPHeader {
	case plan.TCPV1:
		e.TcpHeader = headerV1
	case plan.TCPV2:
		e.TcpHeader = headerV2
	case plan.TCPNone:
	}
	switch s.UDPHeader {
	case plan.UDPV2Each:
		e.UdpHeader = headerV2
	case plan.UDPV2First:
		e.UdpHeader = headerV2
		e.Flags |= sessionFirstOnly
	case plan.UDPSPP:
		e.UdpHeader = headerSPP
	case plan.UDPNone:
	}
	if s.Transparent {
		e.Flags |= sessionTransparent
	}
	return e
}

// limit writes a limit as the program knows it: 0 is none.
func limit(n int) uint32 { return uint32(min(max(n, 0), 1<<31)) } //nolint:gosec // bounded

// buildRoutes gives each prefix of the plan the set of ports that an address in it has. An address is looked up by its
// longest prefix, so all routes whose prefixes hold that one are those of the address.
func (t *tables) buildRoutes(p *plan.Plan) {
	t.addresses = make(map[netip.Prefix]uint32)
	t.routes = []bpfRoute{{}}
	for _, prefix := range p.Steering.Addresses { // also those that no service has: the shield judges what is for them
		t.addresses[plan.NormalPrefix(prefix)] = 0
	}
	for _, r := range p.Routes {
		t.routes = append(t.routes, bpfRoute{Service: uint32(r.Service) + 1, First: r.FirstPort}) //nolint:gosec // Check bounds it
		for _, prefix := range r.Addresses {
			t.addresses[plan.NormalPrefix(prefix)] = 0
		}
	}
	pages, sets := map[portPage]uint32{{}: 0}, map[portSet]uint32{}
	t.pages = []portPage{{}}
	for prefix := range t.addresses {
		var ports [2 * 65536]uint32
		for i, r := range slices.Backward(p.Routes) { // the first that matches is written last
			if !holds(r.Addresses, prefix) {
				continue
			}
			base := 0
			if r.Protocol == plan.UDP {
				base = 65536
			}
			for port := int(r.FirstPort); port <= int(r.LastPort); port++ {
				ports[base+port] = uint32(i) + 1 //nolint:gosec // far fewer
			}
		}
		var set portSet
		for n := range set {
			page := portPage(ports[n*pagePorts : (n+1)*pagePorts])
			at, known := pages[page]
			if !known {
				at = uint32(len(t.pages)) //nolint:gosec // far fewer
				pages[page], t.pages = at, append(t.pages, page)
			}
			set[n] = at
		}
		at, known := sets[set]
		if !known {
			at = uint32(len(t.sets)) //nolint:gosec // far fewer
			sets[set], t.sets = at, append(t.sets, set)
		}
		t.addresses[prefix] = at
	}
}

func holds(list []netip.Prefix, inner netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool {
		p = plan.NormalPrefix(p)
		return p.Bits() <= inner.Bits() && p.Contains(inner.Addr())
	})
}

// buildPools makes the tables of what changes by itself: which origins are up, where they are, how full.
func (k *Path) buildPools(p *plan.Plan, t *tables) error {
	t.pools, t.members, t.turns, t.interfaces = nil, nil, nil, nil
	t.origins = make(map[uint32]*origin.Origin)
	maps.Copy(t.origins, k.tables.origins) // sessions may be with those that are gone
	for _, spec := range p.Pools {
		pool := k.options.Pools.Pool(spec.Name)
		if pool == nil {
			return fmt.Errorf("pool %s has no origins to choose from", spec.Name)
		}
		if err := k.buildPool(spec.Name, pool, t); err != nil {
			return err
		}
	}
	slices.Sort(t.interfaces)
	t.interfaces = slices.Compact(t.interfaces)
	k.buildRoom(p, t)
	return nil
}

func (k *Path) buildPool(name string, pool *origin.Pool, t *tables) error {
	number, err := k.names.of(kindPool, name)
	if err != nil {
		return err
	}
	choice, members, turns := pool.Members()
	e := bpfPool{First: uint32(len(t.members)), Turns: uint32(len(t.turns)), Number: number} //nolint:gosec // far fewer
	switch choice {
	case plan.RoundRobin:
		e.Choice = choiceTurns
	case plan.LeastSessions:
		e.Choice = choiceLeast
	case plan.SourceHash:
	}
	if len(members) <= maxMembers { // otherwise the user path chooses
		e.Count = uint32(len(members))   //nolint:gosec // bounded
		e.TurnCount = uint32(len(turns)) //nolint:gosec // bounded by package origin
		for i := range members {
			m, err := k.memberEntry(name, &members[i], pool.Sources(members[i].Address), t)
			if err != nil {
				return err
			}
			t.members = append(t.members, m)
		}
		for _, at := range turns {
			t.turns = append(t.turns, uint32(at)) //nolint:gosec // an index
		}
	}
	t.pools = append(t.pools, e)
	return nil
}

func (k *Path) memberEntry(pool string, m *origin.Member, sources []netip.Addr, t *tables) (bpfMember, error) {
	number, err := k.names.of(kindOrigin, pool, m.Origin.Name(), m.Address.String())
	if err != nil {
		return bpfMember{}, err
	}
	place, err := k.names.of(kindOrigin, pool, m.Origin.Name())
	if err != nil {
		return bpfMember{}, err
	}
	t.origins[number] = m.Origin
	e := bpfMember{
		Address: m.Address.As16(), Key: m.Key, Weight: m.Weight, Origin: number, Place: place,
		Limit: limit(int(m.Limit)), First: m.First, Last: m.Last,
	}
	switch {
	case m.Usable:
		e.State = memberYes
	case m.Try:
		e.State = memberTry
	}
	others := m.Sessions - k.ledger.perOrigin[number] // of the user path
	if m.Limit > 0 {
		others = m.Taken - k.ledger.perPlace[place]
	}
	e.Others = limit(int(others))
	way := k.way(m.Address)
	if way.Interface == 0 {
		return e, nil // the user path says so to each client
	}
	e.Ifindex = uint32(way.Interface) //nolint:gosec // an index
	if len(sources) == 0 {
		sources = []netip.Addr{way.Source}
	}
	for i, source := range sources {
		e.Source[i] = source.As16()
	}
	e.Sources = uint32(len(sources)) //nolint:gosec // plan.Check bounds it
	t.interfaces = append(t.interfaces, way.Interface)
	return e, nil
}

// way is the route to an origin; zero when there is none that the program can take.
func (k *Path) way(to netip.Addr) Route {
	way, known := k.ways[to]
	if !known {
		way, _ = k.options.Route(to) // without one the zero value says it
		if i, err := net.InterfaceByIndex(way.Interface); err != nil || !ethernet(i) {
			way = Route{}
		}
		k.ways[to] = way
	}
	return way
}

// samePools tells whether t says the same of origins as other, but for how many sessions those of the user path are, which
// counts only where something is decided by it.
func (t *tables) samePools(other *tables) bool {
	return slices.Equal(t.pools, other.pools) && slices.Equal(t.members, other.members) && slices.Equal(t.turns, other.turns)
}

// prepare writes the tables beside those in force.
func (k *Path) prepare(t tables) (generation uint32, err error) {
	var c bpfConfiguration
	if err := k.objects.Config.Lookup(uint32(0), &c); err != nil {
		return 0, fmt.Errorf("read the configuration of the kernel path: %w", err)
	}
	generation = c.Generation ^ 1
	if err := k.objects.LimitTables.Put(generation, t.limits); err != nil {
		return 0, fmt.Errorf("put the limits of sources in place: %w", err)
	}
	return generation, errors.Join(
		k.publishAddresses(generation, t.addresses),
		fill(k.objects.Sets, generation, "sets", flatten(t.sets)),
		fill(k.objects.Pages, generation, "pages", flatten(t.pages)),
		fill(k.objects.Routes, generation, "routes", t.routes),
		fill(k.objects.Services, generation, "services", t.services),
		fill(k.objects.Guards, generation, "guards", t.guards),
		fill(k.objects.PacketRules, generation, "packet_rules", t.rules),
		fill(k.objects.Pools, generation, "pools", t.pools),
		fill(k.objects.Members, generation, "members", t.members),
		fill(k.objects.Turns, generation, "turns", t.turns),
	)
}

// flip says that the tables of a generation count from now on.
func (k *Path) flip(generation uint32, t tables) error {
	k.tables = t
	k.crowds.Store(&t.crowds)
	k.adopt()
	if !slices.Equal(k.rules.origins, originsOf(&t)) {
		k.followRules()
	}
	return k.configure(func(c *bpfConfiguration) { c.Generation, c.Off = generation, flag(k.blocked) })
}

// publish is both.
func (k *Path) publish(t tables) error {
	generation, err := k.prepare(t)
	if err != nil {
		return err
	}
	return k.flip(generation, t)
}

func flatten[A portSet | portPage](list []A) []uint32 {
	var flat []uint32
	for _, a := range list {
		switch a := any(a).(type) {
		case portSet:
			flat = append(flat, a[:]...)
		case portPage:
			flat = append(flat, a[:]...)
		}
	}
	return flat
}

// fill makes a table of exactly these entries and puts it where the generation has it.
func fill[E any](table *ebpf.Map, generation uint32, name string, entries []E) error {
	var one E
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: sizeOf(one), MaxEntries: uint32(max(len(entries), 1)), //nolint:gosec // far fewer
		Flags: unix.BPF_F_INNER_MAP,
	})
	if err != nil {
		return fmt.Errorf("make the table %s: %w", name, err)
	}
	defer func() { _ = m.Close() }() // the table has it
	if len(entries) > 0 {
		keys := make([]uint32, len(entries))
		for i := range keys {
			keys[i] = uint32(i) //nolint:gosec // far fewer
		}
		if _, err := m.BatchUpdate(keys, entries, nil); err != nil {
			return fmt.Errorf("fill the table %s: %w", name, err)
		}
	}
	if err := table.Put(generation, m); err != nil {
		return fmt.Errorf("put the table %s in place: %w", name, err)
	}
	return nil
}

func (k *Path) publishAddresses(generation uint32, list map[netip.Prefix]uint32) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "addresses", Type: ebpf.LPMTrie, KeySize: sizeOf(bpfAddressKey{}), ValueSize: 4, MaxEntries: 16384, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return fmt.Errorf("make the table of addresses: %w", err)
	}
	defer func() { _ = m.Close() }()
	for prefix, set := range list {
		if err := m.Put(addressKey(prefix), set); err != nil {
			return fmt.Errorf("enter %s in the table of addresses: %w", prefix, err)
		}
	}
	if err := k.objects.Addresses.Put(generation, m); err != nil {
		return fmt.Errorf("put the table of addresses in place: %w", err)
	}
	return nil
}

func addressKey(p netip.Prefix) bpfAddressKey {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return bpfAddressKey{Prefixlen: uint32(bits), Address: p.Addr().As16()} //nolint:gosec // at most 128
}

// configure changes what is true for all.
func (k *Path) configure(change func(*bpfConfiguration)) error {
	var c bpfConfiguration
	if err := k.objects.Config.Lookup(uint32(0), &c); err != nil {
		return fmt.Errorf("read the configuration of the kernel path: %w", err)
	}
	c.Layout, c.Slots = layout, k.objects.slots
	change(&c)
	if err := k.objects.Config.Put(uint32(0), &c); err != nil {
		return fmt.Errorf("write the configuration of the kernel path: %w", err)
	}
	return nil
}

// now is the clock of the program, CLOCK_MONOTONIC in ns.
func now() uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // this clock is always there
	return uint64(t.Nano())                         //nolint:gosec // since the start of the machine
}

// wallTime is the time of day of a time of the program.
func wallTime(at uint64) time.Time {
	return time.Now().Add(-time.Duration(now() - at)) //nolint:gosec // far less than a century
}
