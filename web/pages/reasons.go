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
	Rate     *float64 // a second; nil: not known yet
}

// Count is both protocols together.
func (r reason) Count() uint64 { return r.TCP + r.UDP }

// reasonsOf are the reasons that are drops, or those that are not, the most frequent first.
func reasonsOf(edge *status.Edge, drops bool, r rates) []reason {
	if edge == nil {
		return nil
	}
	byName := make(map[string]reason)
	for _, counter := range edge.Reasons {
		if counter.Reason.Drop() != drops {
			continue
		}
		name := counter.Reason.String()
		row := byName[name]
		row.Name, row.Code, row.Rate = name, counter.Code, r.of("reason "+name)
		if counter.Protocol == plan.UDP {
			row.UDP += counter.Count
		} else {
			row.TCP += counter.Count
		}
		byName[name] = row
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b reason) int {
		return cmp.Or(cmp.Compare(b.Count(), a.Count()), cmp.Compare(a.Name, b.Name))
	})
}
