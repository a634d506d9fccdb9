package kernel

import (
	"slices"
	"time"

	"breakwater/appliance/plan"
)

// A flood of datagrams from made-up sources begins flows as fast as budgets allow, and each holds a source port towards the
// origin until it is idle. So those who are not known get no more than three quarters of what there is, and where half of that
// is taken, a flow that has proven nothing does not stay long.

// unprovenFlow is how long such a flow may be idle then. A player who has begun hears of the server and speaks again within
// much less.
const unprovenFlow = 10 * time.Second

// buildRoom gives each service the number of flows up to which anybody may begin one.
func (k *Path) buildRoom(p *plan.Plan, t *tables) {
	t.guards = slices.Clone(t.guards)
	for i := range p.Services {
		g := &t.guards[i]
		g.Room = 0
		if carries(&p.Services[i]) == 0 {
			continue
		}
		flows := int64(k.objects.slots)
		if !p.Services[i].Transparent { // then each client brings its own port
			flows = min(flows, k.ports*int64(usable(t, t.services[i].Pool)))
		}
		g.Room = limit(int(flows * 3 / 4))
	}
}

// usable counts the addresses of a pool that take clients, each of which has all source ports.
func usable(t *tables, pool uint32) (n int) {
	list := t.pools[pool]
	for _, m := range t.members[list.First : list.First+list.Count] {
		if m.State != memberNo {
			n++
		}
	}
	return n
}

// findCrowded finds the services that have so many flows.
func (k *Path) findCrowded() {
	clear(k.crowded)
	for _, g := range k.tables.guards {
		if s := k.ledger.services[g.Number]; s != nil && g.Room > 0 && s.Flows > int64(g.Room/2) {
			k.crowded[g.Number] = true
		}
	}
}

// idleFlow is how long a flow may be idle.
func (k *Path) idleFlow(s *bpfSession, t plan.Timeouts) time.Duration {
	if k.crowded[s.Service] && s.Rounds < provenRounds {
		return min(t.FlowIdle, unprovenFlow)
	}
	return t.FlowIdle
}
