package control

import (
	"cmp"
	"context"
	"slices"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// DryRun is what mode monitor let pass although the shield would have dropped it.
type DryRun struct {
	Mode    plan.ShieldMode `json:"mode"` // in force
	Vectors []Would         `json:"vectors"`
}

// Would is the dry run of one service and vector. The counters run since the filter was loaded; the reasons are those of the
// packets that were picked out lately, a few of many.
type Would struct {
	Service string        `json:"service"` // empty: no service, or it cannot be told
	Vector  status.Vector `json:"vector"`
	Packets uint64        `json:"packets"` // in all
	Would   uint64        `json:"would"`   // of them
	Reasons []WouldReason `json:"reasons"` // the most frequent first
}

// WouldReason is how often a reason was among the packets that were picked out.
type WouldReason struct {
	Reason  status.Reason `json:"reason"`
	Samples int           `json:"samples"`
}

// DryRun asks edge. What mode monitor never let pass is left out.
func (c *Control) DryRun(ctx context.Context) (DryRun, error) {
	seen, err := c.edge.Status(ctx)
	if err != nil {
		return DryRun{}, err
	}
	samples, err := c.edge.Samples(ctx, 0)
	if err != nil {
		return DryRun{}, err
	}
	d := DryRun{Mode: seen.Shield.Mode, Vectors: []Would{}}
	for _, v := range seen.Shield.Vectors {
		if v.Would > 0 {
			d.Vectors = append(d.Vectors, Would{v.Service, v.Vector, v.Packets, v.Would, reasonsOf(samples, v)})
		}
	}
	slices.SortFunc(d.Vectors, func(a, b Would) int {
		return cmp.Or(cmp.Compare(b.Would, a.Would), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Vector, b.Vector))
	})
	return d, nil
}

func reasonsOf(samples []status.Sample, v status.VectorCounter) []WouldReason {
	list := []WouldReason{}
	for _, s := range samples {
		if s.Verdict != status.SampleWould || s.Service != v.Service || s.Vector != v.Vector {
			continue
		}
		i := slices.IndexFunc(list, func(r WouldReason) bool { return r.Reason == s.Reason })
		if i < 0 {
			i, list = len(list), append(list, WouldReason{Reason: s.Reason})
		}
		list[i].Samples++
	}
	slices.SortFunc(list, func(a, b WouldReason) int {
		return cmp.Or(cmp.Compare(b.Samples, a.Samples), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
