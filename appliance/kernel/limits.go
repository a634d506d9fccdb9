package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// The numbers of bpf/limit.h.
const (
	ofAddress, ofNetwork = 0, 1

	trueSource, claimed = 0, 1

	gotAddress, gotNetwork, shared, sourceCount = 0, 1, 2, 3

	addressBuckets, networkBuckets = 1 << 17, 1 << 15
)

const (
	// clientsAtOnce is how much of a rate of new clients one source may have used up at once: a player opens several to join, and
	// those who share an address come together when a match begins.
	clientsAtOnce = 5 * time.Second
	// fairOfAddress and fairOfNetwork are how many new clients a second one address and one network may have while a budget is used
	// up by half. Behind one address of a mobile network are 64 to 128 subscribers (RFC 7422 has 64 in its example). A player
	// opens a handful of sessions and flows to join, and one for each server of a list that is refreshed: one a second for each
	// is more than they ever begin together, and five times as many may come at once. A network of such addresses has ten
	// times as much, as its addresses are never busy all at once. While there is room nobody is counted: a single address that
	// opens 10,000 sessions a second is a load test, or a server that others connect through.
	fairOfAddress, fairOfNetwork = 200, 2000
	// newSources is how many sources a second get buckets of their own. A flood of made-up ones takes a quarter of a minute to fill
	// the map, and never pushes out those that are in use, which the map keeps (BPF_MAP_TYPE_LRU_HASH). Players come far slower.
	newSources = 8192
	// strangers is how many new clients a second may have no bucket at all, which only a flood brings about.
	strangers = 20000
)

// rateEntry is a limit a second as the program knows it: at least four may come at once.
func rateEntry(perSecond int, depth time.Duration) bpfRate {
	if perSecond <= 0 {
		return bpfRate{}
	}
	const scale = 1024
	cost := max(uint64(time.Second)*scale/uint64(perSecond), 1)
	return bpfRate{Cost: cost, Depth: max(uint64(depth), 4*cost/scale)} //nolint:gosec // a constant
}

// sourceLimits are the limits of the box, of single sources and of all.
func sourceLimits(l *plan.Limits) bpfSourceLimits {
	s := &l.Sources
	return bpfSourceLimits{
		Packets:   [2]bpfRate{rateEntry(s.PacketsPerAddress, time.Second), rateEntry(s.PacketsPerNetwork, time.Second)},
		Bytes:     [2]bpfRate{rateEntry(s.BytesPerAddress, time.Second), rateEntry(s.BytesPerNetwork, time.Second)},
		Clients:   [2]bpfRate{rateEntry(s.NewClientsPerAddress, clientsAtOnce), rateEntry(s.NewClientsPerNetwork, clientsAtOnce)},
		Fair:      [2]bpfRate{rateEntry(fairOfAddress, clientsAtOnce), rateEntry(fairOfNetwork, clientsAtOnce)},
		Flows:     rateEntry(l.NewFlowsPerSec, time.Second),
		Strangers: rateEntry(strangers, time.Second),
		Admit:     uint32(max(newSources/runtime.NumCPU(), 1)), //nolint:gosec // bounded
	}
}

// boundsPackets tells whether packets under way have to be looked at for the limits of their sources.
func boundsPackets(s *plan.SourceLimits) bool {
	return s.PacketsPerAddress > 0 || s.BytesPerAddress > 0 || s.PacketsPerNetwork > 0 || s.BytesPerNetwork > 0
}

// budgets are what a service may have of new clients, sessions and flows together, and of flows.
func budgets(s *plan.Service) (clients, flows bpfRate) {
	return rateEntry(s.Limits.NewClientsPerSec, time.Second), rateEntry(s.Limits.NewFlowsPerSec, time.Second)
}

// addSources adds what the shield has of sources.
func (k *Path) addSources(into *status.Edge) error {
	var counts [sourceCount]uint64
	var err error
	for i := range counts {
		var failed error
		counts[i], failed = sum(k.objects.SourceCounts, uint32(i)) //nolint:gosec // three
		err = errors.Join(err, failed)
	}
	if err != nil {
		return fmt.Errorf("read the sources that the shield keeps: %w", err)
	}
	into.Shield.Sources = status.ShieldSources{
		Known: k.known.size(), Kept: counts[gotAddress] + counts[gotNetwork], Shared: counts[shared],
		// What is put in when the maps are full pushes out another.
		Evicted: beyond(counts[gotAddress], addressBuckets) + beyond(counts[gotNetwork], networkBuckets),
	}
	return nil
}

func beyond(n, room uint64) uint64 { return n - min(n, room) }
