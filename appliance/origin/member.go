package origin

import (
	"net/netip"

	"breakwater/appliance/plan"
)

// Member is one address of a pool as an engine sees it that chooses by itself, by the rules of Pick.
type Member struct {
	Origin      *Origin
	Address     netip.Addr
	Key, Weight uint64
	First, Last uint16 // ports, as in plan.Origin
	Usable      bool   // it is up
	Try         bool   // it is down, and clients try it: one as its time has come, or each as all are down. Pick finds who
	Limit       int64  // of the sessions and flows of all addresses of the origin; 0: none
	Taken       int64  // of those
	Sessions    int64  // sessions and flows of this address
}

// Members are the addresses that take new clients by the operator's wish, and for round robin the order of their turns.
func (p *Pool) Members() (choice plan.Choice, list []Member, turns []int32) {
	v := p.view.Load()
	panicked := !v.anyUp()
	list = make([]Member, 0, len(v.members))
	for i := range v.members {
		m := &v.members[i]
		o := m.origin
		up := o.now.Load().up
		list = append(list, Member{
			Origin: o, Address: o.address.Unmap(), Key: o.key, Weight: m.weight, First: m.first, Last: m.last,
			Usable: up, Try: !up && (panicked || o.retryDue()),
			Limit: o.places.limit.Load(), Taken: o.places.taken.Load(), Sessions: o.sessions.Load(),
		})
	}
	return v.choice, list, v.turns
}

// Took counts a session or flow that another engine began there. chosen: just now, and not found after a restart.
func (o *Origin) Took(chosen bool) {
	o.sessions.Add(1)
	o.places.taken.Add(1)
	if chosen {
		o.chosen.Add(1)
	}
}
