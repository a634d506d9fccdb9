package compile

import (
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

func shield(s settings.Shield) plan.Shield {
	return plan.Shield{Mode: plan.ShieldMode(s.Mode), Fragments: plan.Fragments(s.Fragments), Bogons: s.Bogons}
}

func serviceShield(s settings.ServiceShield) plan.ServiceShield {
	compiled := plan.ServiceShield{
		Reflectors: s.Reflectors == "drop", PacketRules: make([]plan.PacketRule, len(s.PacketRules)),
		SYNCookies: plan.SYNCookies(s.SYNCookies), SYNRate: s.SYNRate,
	}
	for i, r := range s.PacketRules {
		compiled.PacketRules[i] = packetRule(r)
	}
	return compiled
}

func packetRule(r settings.PacketRule) plan.PacketRule {
	bytes, mask, _ := r.Bytes() // Validate has read them
	ports := r.SourcePorts
	if ports == (settings.Ports{}) {
		ports = settings.Ports{First: 0, Last: 65535}
	}
	return plan.PacketRule{
		Name: r.Name, Protocol: plan.Protocol(r.Protocol), MinLength: r.MinLength, MaxLength: r.MaxLength,
		FirstPort: ports.First, LastPort: ports.Last, MinTTL: r.MinTTL, MaxTTL: r.MaxTTL,
		Bytes: append([]byte{}, bytes...), Mask: append([]byte{}, mask...), Action: plan.RuleAction(r.Action),
	}
}
