package origin

import (
	"net/netip"
	"sync/atomic"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Pool is an origin pool. Its pointer stays the same as long as its name is in the plan.
type Pool struct {
	name string
	view atomic.Pointer[view]
	turn atomic.Uint64 // round robin, and the start of the search among equals

	// Guarded by Set.mu.
	health  plan.Health
	choice  plan.Choice
	origins []*named
	wished  []netip.Addr // source addresses, as in the plan
	raised  map[conditionKey]bool
}

// Target is where a client goes. Origin is nil when there is none.
type Target struct {
	Origin *Origin
	Addr   netip.AddrPort
}

// view is what Pick needs, made by Set and never changed.
type view struct {
	choice  plan.Choice
	members []member
	turns   []int32 // round robin: the order of members, each as often as its weight says
	from    sourceAddresses
	reason  status.Reason // why there are no members
}

// member is an address that takes new clients by the operator's wish.
type member struct {
	origin      *Origin
	weight      uint64 // never 0, at most maxWeight
	first, last uint16 // ports, as in plan.Origin
}

// wish is what one call of Pick looks for.
type wish struct {
	client      netip.Addr
	port, first uint16
	not         *Origin
	turn        uint64
	panic       bool // nothing is up, so that being down does not matter
}

// Pick chooses the origin for a new client and reserves one of its places; the caller calls Release when the session
// or flow ends. port is what the client dialled, first the first port of the route, for origins with a port range.
// It takes no lock and allocates nothing.
func (p *Pool) Pick(client netip.Addr, port, first uint16) (Target, status.Reason) {
	return p.PickOther(client, port, first, nil)
}

// PickOther is Pick for the retry after the origin not did not answer.
func (p *Pool) PickOther(client netip.Addr, port, first uint16, not *Origin) (Target, status.Reason) {
	v := p.view.Load()
	w := wish{client: client, port: port, first: first, not: not, turn: p.turn.Add(1) - 1, panic: !v.anyUp()}
	for range len(v.members) + 1 { // another thread may take the last place of what was chosen
		m := v.choose(&w)
		if m == nil {
			break
		}
		if m.origin.reserve(w.panic) {
			addr, _ := m.target(port, first)
			return Target{m.origin, addr}, status.Normal
		}
	}
	return Target{}, v.why(&w)
}

func (v *view) anyUp() bool {
	for i := range v.members {
		if v.members[i].origin.now.Load().up {
			return true
		}
	}
	return false
}

// why is the reason for finding none. A full origin counts before one that is down, as waiting helps there.
func (v *view) why(w *wish) status.Reason {
	if len(v.members) == 0 {
		return v.reason
	}
	for i := range v.members {
		m := &v.members[i]
		if m.origin.places.full() && m.fits(w) {
			return status.OriginFull
		}
	}
	return status.NoOrigin
}

// fits tells whether m could take the client if it had a place.
func (m *member) fits(w *wish) bool {
	_, mapped := m.target(w.port, w.first)
	return mapped && m.origin != w.not && (w.panic || m.origin.usable())
}

func (m *member) free(w *wish) bool {
	return !m.origin.places.full() && m.fits(w)
}

// target maps the port that the client dialled. It is false for a port behind the end of the origin's range.
func (m *member) target(port, first uint16) (netip.AddrPort, bool) {
	switch {
	case m.first == m.last && m.first != 0:
		port = m.first
	case m.first != 0:
		if port < first || port-first > m.last-m.first {
			return netip.AddrPort{}, false
		}
		port = m.first + (port - first)
	}
	return netip.AddrPortFrom(m.origin.address, port), true
}
