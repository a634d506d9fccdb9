package kernel

import (
	"slices"

	"breakwater/appliance/plan"
)

// A flood of datagrams from made-up sources begins flows as fast as budgets allow, and each holds a source port towards the
// origin until it is idle. So those who are not known get no more than three quarters of what there is.

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
			flows = min(flows, k.ports*int64(usableSources(t, t.services[i].Pool)))
		}
		g.Room = limit(int(flows * 3 / 4))
	}
}

// usableSources counts what has all source ports: each source towards each address of a pool that takes clients.
func usableSources(t *tables, pool uint32) (n int) {
	list := t.pools[pool]
	for _, m := range t.members[list.First : list.First+list.Count] {
		if m.State != memberNo {
			n += max(int(m.Sources), 1)
		}
	}
	return n
}
