package kernel

import (
	"fmt"
	"time"

	"breakwater/appliance/health"
)

const noSourcePort = "kernel-path-ports" // the code of a condition

// openPortless takes as told what the program has counted before this process.
func (k *Path) openPortless() error {
	k.portless = make(map[uint32]exhaustion)
	for number := range k.names.next[kindOrigin] {
		n, err := k.withoutPort(number)
		if err != nil {
			return err
		}
		if n > 0 {
			k.portless[number] = exhaustion{count: n}
		}
	}
	return nil
}

// withoutPort is how often no source port was left towards an address of an origin.
func (k *Path) withoutPort(number uint32) (uint64, error) {
	var c bpfCount
	if err := k.objects.OriginCounts.Lookup(number, &c); err != nil {
		return 0, fmt.Errorf("read the counts of an origin: %w", err)
	}
	return c.NewFlows, nil
}

// tellPortless raises a condition for each address of an origin towards which no source port was left, and clears it when that
// is a while ago. k.mu is held.
func (k *Path) tellPortless(now time.Time) error {
	for i := range k.tables.members {
		m := &k.tables.members[i]
		n, err := k.withoutPort(m.Origin)
		if err != nil {
			return err
		}
		if rise := n - k.portless[m.Origin].count; rise > 0 {
			k.portless[m.Origin] = exhaustion{n, now}
			k.options.Conditions.Raise(k.portlessCondition(m, rise))
		}
	}
	for number, seen := range k.portless {
		if !seen.last.IsZero() && now.Sub(seen.last) >= overAfter {
			k.portless[number] = exhaustion{count: seen.count}
			k.options.Conditions.Clear(noSourcePort, k.portlessSubject(number))
		}
	}
	return nil
}

func (k *Path) portlessSubject(number uint32) string {
	pool, name, address := k.names.originAt(number)
	return pool + "/" + name + " " + address
}

func (k *Path) portlessCondition(m *bpfMember, rise uint64) health.Condition {
	pool, name, address := k.names.originAt(m.Origin)
	sources := int64(m.Sources)
	return health.Condition{
		Code: noSourcePort, Subject: k.portlessSubject(m.Origin), Severity: health.Warning,
		Title: fmt.Sprintf("No source port is left towards %s, origin %s of pool %s", address, name, pool),
		Detail: fmt.Sprintf("%d packets in the last seconds found no free one of the %d ports that there are in all (source addresses: %d, ports of each: %d), "+
			"so the user path carries what is new, with ports of its own. Add source addresses of this box to the pool (pools[].sourceAddresses in the "+
			"settings), add an origin, or make the service transparent.",
			rise, sources*k.ports, sources, k.ports),
	}
}
