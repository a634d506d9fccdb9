package kernel

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
)

// maxMembers bounds the pools that the program chooses from (bpf/layout.h).
const maxMembers = 64

// buildPools makes the tables of what changes by itself: which origins are up, where they are, how full.
func (k *Path) buildPools(p *plan.Plan, t *tables) error {
	t.pools, t.members, t.turns, t.interfaces, t.tunnels = nil, nil, nil, nil, nil
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
			m, err := k.memberEntry(name, &members[i], pool.SourceAddresses(members[i].Address), t)
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
	if way.tunnel != "" {
		t.tunnels = append(t.tunnels, way.tunnel)
	}
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

// way is the route to an origin, as far as the program can take it.
type way struct {
	Route         // zero: it cannot, or there is none
	tunnel string // the interface, if that is why
}

// way asks for one, and remembers it until the next reattach.
func (k *Path) way(to netip.Addr) way {
	w, known := k.ways[to]
	if known {
		return w
	}
	w.Route, _ = k.options.Route(to) // without one the zero value says it
	i, err := net.InterfaceByIndex(w.Interface)
	switch {
	case err == nil && tunnel(i):
		w = way{tunnel: i.Name}
	case err != nil || !ethernet(i):
		w = way{}
	}
	k.ways[to] = w
	return w
}

// samePools tells whether t says the same of origins as other, but for how many sessions those of the user path are, which
// counts only where something is decided by it.
func (t *tables) samePools(other *tables) bool {
	return slices.Equal(t.pools, other.pools) && slices.Equal(t.members, other.members) && slices.Equal(t.turns, other.turns)
}
