package pages

import (
	"slices"
	"strings"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// defence is one thing that the shield does, and whether it does it now. Its words are the texts defence.KEY and
// defence.KEY.text; its state is worded by defence.state.STATE.
type defence struct {
	Key    string
	State  string // on, armed, resting, watching, off
	Detail string // what is special here, in words
	Counts string // what came of it, in words
	Link   string // where it is set; empty: nowhere
}

// Level is the look of its state.
func (d defence) Level() string {
	return map[string]string{"on": "good", "armed": "warn", "watching": "warn"}[d.State]
}

// Whether a defence of the filter does what it says depends on the mode.
var stateInMode = map[string]string{"on": "on", "monitor": "watching", "off": "off"}

// defences are those of the filter first, then those of the engines, which hold in every mode. edge is nil while it says nothing.
func (p *Pages) defences(s settings.Settings, v shieldView, edge *status.Edge) []defence {
	state := stateInMode[v.Filter.Mode()]
	when := func(on bool) string {
		if on {
			return state
		}
		return "off"
	}
	const form = "/shield/settings"
	return []defence{
		{Key: "broken", State: state},
		{Key: "bogons", State: when(s.Shield.Bogons), Link: form},
		{Key: "fragments", State: when(s.Shield.Fragments != "pass"), Detail: p.text.say("defence.fragments." + s.Shield.Fragments), Link: form},
		p.reflectors(s, v, state),
		p.resting("strays", state, armedFor(v.Vectors, status.VectorACK, status.VectorRST, status.VectorFIN)),
		p.cookies(s, v, edge),
		p.knownClients(state, edge),
		{Key: "rules", State: when(rulesIn(s) > 0), Detail: p.counted("defence.rules.count", rulesIn(s)), Link: "/services"},
		{Key: "bans", State: onOff(v.Banned > 0), Detail: p.counted("shield.bans.count", v.Banned), Link: "#bans"},
		{Key: "limits", State: "on", Link: "/shield/limits"},
		{Key: "spoof", State: "on"},
		{Key: "headers", State: onOff(hasUpstreams(s)), Link: "/services"},
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// resting is a defence that is armed when something presses.
func (p *Pages) resting(key, state string, armed []string) defence {
	d := defence{Key: key, State: state}
	if state != stateInMode[string(plan.ShieldOff)] {
		d.State = "resting"
	}
	if len(armed) > 0 {
		d.State, d.Detail = "armed", p.text.say("defence.armed", p.list(armed))
	}
	return d
}

func (p *Pages) reflectors(s settings.Settings, v shieldView, state string) defence {
	d := defence{Key: "reflectors", State: state, Link: "/services"}
	var open []string
	for _, service := range s.Services {
		if service.Shield.Reflectors == "pass" {
			open = append(open, service.Name)
		}
	}
	if len(open) > 0 {
		d.Detail = p.text.say("defence.reflectors.open", strings.Join(open, ", "))
	}
	if armed := armedFor(v.Vectors, status.VectorReflection); len(armed) > 0 {
		d.State, d.Detail = "armed", p.text.say("defence.armed", p.list(armed))
	}
	return d
}

// cookies is about SYN cookies, which an operator can have always or never for a service.
func (p *Pages) cookies(s settings.Settings, v shieldView, edge *status.Edge) defence {
	always, never, all := cookiesOf(s)
	armed := slices.DeleteFunc(armedFor(v.Vectors, status.VectorSYN), func(name string) bool { return slices.Contains(always, name) })
	d := defence{Key: "cookies", State: "resting", Link: "/services"}
	if edge != nil && edge.Shield.Cookies.Sent > 0 {
		c := edge.Shield.Cookies
		d.Counts = p.text.say("defence.cookies.count", numberText(c.Sent), numberText(c.Accepted), numberText(c.Refused))
	}
	switch mode := v.Filter.Mode(); {
	case mode == string(plan.ShieldMonitor):
		d.State, d.Detail = "watching", p.text.say("defence.cookies.monitor")
	case mode == string(plan.ShieldOff):
		d.State = "off"
	case all > 0 && len(never) == all:
		d.State, d.Detail = "off", p.text.say("defence.cookies.never")
	case edge != nil && slices.ContainsFunc(edge.Conditions, func(c health.Condition) bool { return c.Code == "no-syn-cookies" }):
		d.State, d.Detail = "off", p.text.say("defence.cookies.fault")
	default:
		if len(always) > 0 {
			d.State = "on"
		}
		if len(armed) > 0 {
			d.State = "armed"
		}
		d.Detail = strings.Join(slices.Concat(p.about("defence.armed", armed), p.about("defence.cookies.always", always), p.about("defence.cookies.not", never)), " ")
	}
	return d
}

// about is a sentence about services; none without any.
func (p *Pages) about(key string, services []string) []string {
	if len(services) == 0 {
		return nil
	}
	return []string{p.text.say(key, p.list(services))}
}

// cookiesOf are the services of TCP that have SYN cookies always and never, and how many there are in all.
func cookiesOf(s settings.Settings) (always, never []string, all int) {
	for _, service := range s.Services {
		if !slices.Contains(service.Protocols, "tcp") {
			continue
		}
		all++
		switch service.Shield.SYNCookies {
		case "on":
			always = append(always, service.Name)
		case "off":
			never = append(never, service.Name)
		}
	}
	return always, never, all
}

// knownClients is about whose packets come first, and how many sources had to share.
func (p *Pages) knownClients(state string, edge *status.Edge) defence {
	d := defence{Key: "known", State: state, Link: "/shield/limits"}
	if edge == nil {
		return d
	}
	sources := edge.Shield.Sources
	d.Detail = p.text.say("defence.known.none")
	if sources.Known > 0 {
		d.Detail = p.text.count("defence.known.count", numberText(sources.Known))
	}
	if sources.Kept > 0 {
		d.Counts = p.text.say("defence.known.kept", numberText(sources.Kept), numberText(sources.Shared), numberText(sources.Evicted))
	}
	return d
}

// counted is nothing where there is nothing.
func (p *Pages) counted(key string, n int) string {
	if n == 0 {
		return ""
	}
	return p.text.count(key, n)
}

func rulesIn(s settings.Settings) (rules int) {
	for i := range s.Services {
		rules += len(s.Services[i].Shield.PacketRules)
	}
	return rules
}

func hasUpstreams(s settings.Settings) bool {
	for _, service := range s.Services {
		if len(service.Upstreams) > 0 {
			return true
		}
	}
	return false
}
