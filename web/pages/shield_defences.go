package pages

import (
	"strings"

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
	Link   string // where it is set; empty: nowhere
}

// Level is the look of its state.
func (d defence) Level() string {
	return map[string]string{"on": "good", "armed": "warn", "watching": "warn"}[d.State]
}

// Whether a defence of the filter does what it says depends on the mode.
var stateInMode = map[string]string{"on": "on", "monitor": "watching", "off": "off"}

// defences are those of the filter first, then those of the engines, which hold in every mode.
func (p *Pages) defences(s settings.Settings, v shieldView) []defence {
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
