package pages

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// vectorsAtOnce is how many rows of traffic without a session the page lists.
const vectorsAtOnce = 40

// vectorRow is what of one kind comes for one service without belonging to a session. Its words are the texts
// vector.VECTOR and vector.VECTOR.text.
type vectorRow struct {
	status.VectorCounter
	Rate     *float64 // packets a second; nil: not known yet
	StopRate *float64 // of those, dropped or, in mode monitor, to be dropped
}

// Share is how much of what comes now is stopped, in words; empty: nothing comes, or it is not known.
func (v vectorRow) Share() string {
	if v.Rate == nil || v.StopRate == nil {
		return ""
	}
	return shareText(*v.StopRate, *v.Rate)
}

// shareText is how much of a whole a part is, in percent; empty: of nothing. Nearly nothing and nearly all are told as that.
func shareText(part, whole float64) string {
	if whole <= 0 {
		return ""
	}
	switch percent := 100 * min(1, part/whole); {
	case percent > 0 && percent < 1:
		return "< 1 %"
	case percent > 99 && percent < 100:
		return "> 99 %"
	default:
		return fmt.Sprintf("%.0f %%", percent)
	}
}

// ruleRow is a packet rule with its hits.
type ruleRow struct {
	status.RuleCounter
	Rate *float64 // packets a second; nil: not known yet
}

// vectorsOf has those first against which a defence is armed, then the most frequent ones.
func vectorsOf(edge *status.Edge, r rates) []vectorRow {
	if edge == nil {
		return nil
	}
	stopped := "dropped "
	if edge.Shield.Mode == plan.ShieldMonitor {
		stopped = "would "
	}
	var rows []vectorRow
	for _, v := range edge.Shield.Vectors {
		name := vectorName(v)
		rows = append(rows, vectorRow{v, r.of("packets " + name), r.of(stopped + name)})
	}
	slices.SortStableFunc(rows, func(a, b vectorRow) int {
		return cmp.Or(compareBool(b.Armed, a.Armed), cmp.Compare(orZero(b.Rate), orZero(a.Rate)), cmp.Compare(b.Packets, a.Packets))
	})
	return rows
}

// vectorName tells a counter from others; no name of a service has a blank.
func vectorName(v status.VectorCounter) string { return v.Service + " " + string(v.Vector) }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func orZero(rate *float64) float64 {
	if rate == nil {
		return 0
	}
	return *rate
}

func rulesOf(edge *status.Edge, r rates) []ruleRow {
	if edge == nil {
		return nil
	}
	var rows []ruleRow
	for _, rule := range edge.Shield.Rules {
		rows = append(rows, ruleRow{rule, r.of("rule " + rule.Service + " " + rule.Rule)})
	}
	return rows
}

// attack tells whether one goes on, the most important thing first.
func (p *Pages) attack(f filter, vectors []vectorRow) verdict {
	say := func(level, key, detail string) verdict {
		return verdict{level, p.text.say("attack." + key), detail}
	}
	armed := armedFor(vectors)
	switch {
	case !f.Known:
		return say("bad", "unknown", p.text.say("attack.unknown.text"))
	case len(armed) > 0:
		return say("warn", "armed", p.text.say("attack.armed.text", p.list(armed)))
	case f.InForce == plan.ShieldOff:
		return say("warn", "off", p.text.say("attack.off.text"))
	case f.Missing():
		return say("warn", "missing", p.text.say("attack.missing.text"))
	}
	return say("good", "quiet", p.text.say("attack.quiet.text"))
}

// pressing are the vectors without those whose defence is always armed, as an operator wants it.
func pressing(vectors []vectorRow, s settings.Settings) []vectorRow {
	always, _, _ := cookiesOf(s)
	return slices.DeleteFunc(slices.Clone(vectors), func(v vectorRow) bool {
		return v.Vector == status.VectorSYN && slices.Contains(always, v.Service)
	})
}

// armedFor are the services for which a defence is armed; empty names are of traffic for no service.
func armedFor(vectors []vectorRow, of ...status.Vector) []string {
	services := make(map[string]bool)
	for _, v := range vectors {
		if v.Armed && (len(of) == 0 || slices.Contains(of, v.Vector)) {
			services[v.Service] = true
		}
	}
	return slices.Sorted(maps.Keys(services))
}

// list writes the names of services in a sentence.
func (p *Pages) list(services []string) string {
	names := slices.Clone(services)
	for i := range names {
		names[i] = cmp.Or(names[i], p.text.say("vector.noservice"))
	}
	return strings.Join(names, ", ")
}
