package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// shieldView is whether an attack goes on, what is turned away, why, and who.
type shieldView struct {
	Attack   verdict
	Open     []control.Incident // that go on
	Filter   filter
	Now      traffic
	Vectors  []vectorRow
	Fewer    int // vectors that are not listed
	Defences []defence
	Rules    []ruleRow
	Would    []reason // what mode monitor let pass
	Drops    []reason
	Ends     []reason
	Limits   []limit
	Services []serviceLimits
	Bans     []control.Ban
	Banned   int    // how many bans there are
	Found    int    // how many of them match Search
	Search   string // in prefix, reason and author
	Form     form   // of a new ban
}

// filter is the front filter: as it is set, and as it is in force.
type filter struct {
	Set     string // on, monitor, off
	InForce plan.ShieldMode
	Known   bool // edge tells about it
	Ports   []status.ShieldAttachment
}

// Mode is what is in force, as far as that is known.
func (f filter) Mode() string {
	if f.Known {
		return string(f.InForce)
	}
	return f.Set
}

// Modes are what can be chosen, as the page lists them.
func (f filter) Modes() []string { return []string{"on", "monitor", "off"} }

// Level is the look of the mode.
func (f filter) Level() string {
	if f.Mode() == string(plan.ShieldOn) {
		return "good"
	}
	return "warn"
}

// Watching tells that nothing is dropped.
func (f filter) Watching() bool { return f.Mode() == string(plan.ShieldMonitor) }

// Behind tells whether edge does something else than what is set.
func (f filter) Behind() bool { return f.Known && string(f.InForce) != f.Set }

// Missing tells whether there is an edge interface without the filter that should have it.
func (f filter) Missing() bool {
	for _, port := range f.Ports {
		if port.Mode == "none" && f.Mode() != string(plan.ShieldOff) {
			return true
		}
	}
	return false
}

func filterOf(s settings.Settings, edge *status.Edge) filter {
	f := filter{Set: s.Shield.Mode}
	if edge != nil {
		f.InForce, f.Ports, f.Known = cmp.Or(edge.Shield.Mode, plan.ShieldOff), edge.Shield.Attachments, true
	}
	return f
}

// limit is one bound of the box.
type limit struct {
	Key     string // its text is field.limits.KEY
	Value   int
	Default bool
	InForce int // what edge lowered it to; 0: not known
}

// Lowered tells whether edge could not have it as high as the settings say.
func (l limit) Lowered() bool { return l.InForce > 0 && l.InForce < l.Value }

type serviceLimits struct {
	Name string
	settings.ServiceLimits
}

// Shield answers what is dropped and why, and whether an attack goes on.
func (p *Pages) Shield(c echo.Context) error {
	f := form{Values: url.Values{"for": {"24h"}}}
	if client := c.QueryParam("client"); client != "" {
		f.Values.Set("client", client)
	}
	return p.shield(c, http.StatusOK, f)
}

func (p *Pages) shield(c echo.Context, code int, f form) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	current, _, err := p.current()
	if err != nil {
		return err
	}
	now, full := time.Now(), current.WithDefaults()
	r := p.watch.look(seen.Edge, now)
	v := shieldView{
		Filter: filterOf(full, seen.Edge), Now: trafficNow(p.Control.Samples(now.Add(-freshFor)), now),
		Would: wouldOf(seen.Edge, r), Drops: reasonsOf(seen.Edge, true, r), Ends: reasonsOf(seen.Edge, false, r),
		Rules: rulesOf(seen.Edge, r), Limits: limitsOf(current, seen.Edge), Search: strings.TrimSpace(c.QueryParam("search")), Form: f,
	}
	v.Vectors = vectorsOf(seen.Edge, r)
	v.Attack, v.Open = p.attack(v.Filter, pressing(v.Vectors, full)), p.openIncidents()
	for _, s := range full.Services {
		v.Services = append(v.Services, serviceLimits{s.Name, s.Limits})
	}
	if err := v.list(p.Control); err != nil {
		return err
	}
	v.Defences = p.defences(full, v, seen.Edge)
	v.Fewer = max(0, len(v.Vectors)-vectorsAtOnce)
	v.Vectors = v.Vectors[:min(vectorsAtOnce, len(v.Vectors))]
	return p.renderSeen(c, code, "shield", seen, v)
}

func limitsOf(s settings.Settings, edge *status.Edge) []limit {
	var inForce plan.Limits
	if edge != nil {
		inForce = edge.Limits
	}
	all := s.WithDefaults().Limits
	return []limit{
		{"maxSessions", all.MaxSessions, s.Limits.MaxSessions == 0, inForce.MaxSessions},
		{"maxFlows", all.MaxFlows, s.Limits.MaxFlows == 0, inForce.MaxFlows},
		{"maxFlowsPerSource", all.MaxFlowsPerSource, s.Limits.MaxFlowsPerSource == 0, inForce.MaxFlowsPerSource},
		{"newFlowsPerSecond", all.NewFlowsPerSecond, s.Limits.NewFlowsPerSecond == 0, inForce.NewFlowsPerSec},
		{"packetsPerAddress", all.PacketsPerAddress, s.Limits.PacketsPerAddress == 0, inForce.Sources.PacketsPerAddress},
		{"bytesPerAddress", all.BytesPerAddress, s.Limits.BytesPerAddress == 0, inForce.Sources.BytesPerAddress},
		{"newClientsPerAddress", all.NewClientsPerAddress, s.Limits.NewClientsPerAddress == 0, inForce.Sources.NewClientsPerAddress},
		{"packetsPerNetwork", all.PacketsPerNetwork, s.Limits.PacketsPerNetwork == 0, inForce.Sources.PacketsPerNetwork},
		{"bytesPerNetwork", all.BytesPerNetwork, s.Limits.BytesPerNetwork == 0, inForce.Sources.BytesPerNetwork},
		{"newClientsPerNetwork", all.NewClientsPerNetwork, s.Limits.NewClientsPerNetwork == 0, inForce.Sources.NewClientsPerNetwork},
	}
}
