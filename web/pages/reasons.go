package pages

import (
	"cmp"
	"maps"
	"slices"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// reason is why something was turned away or ended, as pages count it. Its words are the texts reason.NAME and, what to
// do about it, reason.NAME.do.
type reason struct {
	Name     string
	Code     int
	TCP, UDP uint64
	Other    uint64   // ICMP and the rest
	Rate     *float64 // a second; nil: not known yet
}

// Count is all protocols together.
func (r reason) Count() uint64 { return r.TCP + r.UDP + r.Other }

// reasonsOf are the reasons that are drops, or those that are not, the most frequent first.
func reasonsOf(edge *status.Edge, drops bool, r rates) []reason {
	if edge == nil {
		return nil
	}
	counters := slices.DeleteFunc(slices.Clone(edge.Reasons), func(c status.ReasonCounter) bool { return c.Reason.Drop() != drops })
	return reasonRows(counters, "reason ", r)
}

// wouldOf are the reasons for which mode monitor would have dropped something.
func wouldOf(edge *status.Edge, r rates) []reason {
	if edge == nil {
		return nil
	}
	return reasonRows(edge.Shield.Would, "would-reason ", r)
}

// reasonRows has the most frequent first. Rates have the prefix in front of their names.
func reasonRows(counters []status.ReasonCounter, prefix string, r rates) []reason {
	byName := make(map[string]reason)
	for _, counter := range counters {
		name := counter.Reason.String()
		row := byName[name]
		row.Name, row.Code, row.Rate = name, counter.Code, r.of(prefix+name)
		switch counter.Protocol {
		case plan.TCP:
			row.TCP += counter.Count
		case plan.UDP:
			row.UDP += counter.Count
		default:
			row.Other += counter.Count
		}
		byName[name] = row
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b reason) int {
		return cmp.Or(cmp.Compare(b.Count(), a.Count()), cmp.Compare(a.Name, b.Name))
	})
}
