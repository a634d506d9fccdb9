package pages

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// atAGlance is how many services and origins the overview lists; their pages list all.
const atAGlance = 10

type overviewView struct {
	Verdict    verdict
	Conditions []health.Condition // the worst first, without those that the frame tells
	Now        traffic
	History    trafficHistory
	Drops      []reason
	Services   []serviceGlance
	Origins    []originGlance
	More       struct{ Services, Origins int } // how many are not listed
	Interfaces []interfaceGlance
	Empty      bool               // there are no services yet
	Open       []control.Incident // attacks that go on
}

// verdict is the one line that answers whether the box is up.
type verdict struct {
	Level  string // good, warn or bad
	Title  string
	Detail string
}

type serviceGlance struct {
	Name          string
	Protocols     []string
	Ports         []settings.Ports
	Pool          string
	Known         bool // edge tells about it
	Open          int64
	ToOrig, ToCli *float64 // bytes a second; nil: not known yet
}

type originGlance struct {
	Pool string
	status.Origin
}

type interfaceGlance struct {
	status.Interface
	RxRate, TxRate, DropRate *float64 // a second
}

// Dropped is what the interface lost since it is there.
func (i interfaceGlance) Dropped() uint64 { return i.Rx.Drops + i.Tx.Drops }

// Overview answers whether the box is up.
func (p *Pages) Overview(c echo.Context) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	current, _, err := p.current()
	if err != nil {
		return err
	}
	now := time.Now()
	return p.renderSeen(c, http.StatusOK, "overview", seen, p.overview(seen, current.WithDefaults(), now))
}

func (p *Pages) overview(seen control.Status, s settings.Settings, now time.Time) overviewView {
	r := p.watch.look(seen.Edge, now)
	samples := p.Control.Samples(now.Add(-chartFor))
	conditions := toShow(seen.Conditions)
	v := overviewView{
		Verdict: p.verdict(seen, conditions, len(s.Services)), Conditions: conditions, Now: trafficNow(samples, now), History: trafficHistoryOf(samples),
		Drops: reasonsOf(seen.Edge, true, r), Services: servicesAtAGlance(seen.Edge, s, r), Empty: len(s.Services) == 0, Open: p.openIncidents(),
	}
	v.Conditions = slices.DeleteFunc(v.Conditions, func(c health.Condition) bool { return c.Code == "under-attack" }) // Open tells more
	if seen.Edge != nil {
		v.Origins = originsAtAGlance(seen.Edge.Pools)
		v.Interfaces = interfacesAtAGlance(seen.Edge.Interfaces, r)
	}
	v.More.Services, v.More.Origins = max(0, len(v.Services)-atAGlance), max(0, len(v.Origins)-atAGlance)
	v.Services, v.Origins = v.Services[:min(atAGlance, len(v.Services))], v.Origins[:min(atAGlance, len(v.Origins))]
	return v
}

// toShow leaves out what every page has at its top: an edge that does not answer, and a change that waits.
func toShow(conditions []health.Condition) []health.Condition {
	list := slices.DeleteFunc(slices.Clone(conditions), func(c health.Condition) bool { return c.Code == "edge-unreachable" || c.Code == "unconfirmed" })
	rank := map[health.Severity]int{health.Critical: 0, health.Warning: 1, health.Info: 2}
	slices.SortStableFunc(list, func(a, b health.Condition) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return list
}

// verdict looks at the worst first. Conditions are in words already; what they say is not said twice.
func (p *Pages) verdict(seen control.Status, conditions []health.Condition, services int) verdict {
	critical, warnings := 0, 0
	for _, c := range conditions {
		switch c.Severity {
		case health.Critical:
			critical++
		case health.Warning:
			warnings++
		case health.Info:
		}
	}
	say := func(level, key string, detail string) verdict {
		return verdict{level, p.text.say("verdict." + key), detail}
	}
	switch {
	case seen.Edge == nil:
		return say("bad", "unreachable", p.text.say("verdict.unreachable.text"))
	case seen.Revision == 0 && seen.Pending == nil:
		return say("warn", "empty", p.text.say("verdict.empty.text"))
	case critical > 0:
		return say("bad", "critical", p.text.count("verdict.critical.text", critical))
	case !seen.InForce:
		return say("warn", "behind", p.text.say("verdict.behind.text"))
	case warnings > 0:
		return say("warn", "warnings", p.text.count("verdict.warnings.text", warnings))
	}
	return say("good", "good", p.text.count("verdict.good.text", services))
}

// servicesAtAGlance has the busiest first.
func servicesAtAGlance(edge *status.Edge, s settings.Settings, r rates) []serviceGlance {
	var list []serviceGlance
	for _, service := range s.Services {
		g := serviceGlance{Name: service.Name, Protocols: service.Protocols, Ports: service.Ports, Pool: service.Pool,
			ToOrig: r.of("in " + service.Name), ToCli: r.of("out " + service.Name)}
		if edge != nil {
			i := slices.IndexFunc(edge.Services, func(o status.Service) bool { return o.Name == service.Name })
			if g.Known = i >= 0; g.Known {
				g.Open = edge.Services[i].Sessions + edge.Services[i].Flows
			}
		}
		list = append(list, g)
	}
	slices.SortStableFunc(list, func(a, b serviceGlance) int { return cmp.Compare(b.Open, a.Open) })
	return list
}

// originsAtAGlance has those that are down first, then the busiest.
func originsAtAGlance(pools []status.Pool) []originGlance {
	var list []originGlance
	for _, pool := range pools {
		for _, o := range pool.Origins {
			list = append(list, originGlance{pool.Name, o})
		}
	}
	slices.SortStableFunc(list, func(a, b originGlance) int {
		if a.Up != b.Up {
			if b.Up {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Sessions, a.Sessions)
	})
	return list
}

func interfacesAtAGlance(interfaces []status.Interface, r rates) []interfaceGlance {
	var list []interfaceGlance
	for _, i := range interfaces {
		list = append(list, interfaceGlance{i, r.of("rx " + i.Name), r.of("tx " + i.Name), r.of("drops " + i.Name)})
	}
	return list
}
