package compile

import (
	"net/netip"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

func shield(s settings.Settings) plan.Shield {
	return plan.Shield{
		Mode: plan.ShieldMode(s.Shield.Mode), Fragments: plan.Fragments(s.Shield.Fragments), Bogons: s.Shield.Bogons,
		Allow: sourceRules(s.Shield.Allow), Deny: sourceRules(s.Shield.Deny), Protected: protected(s.Management.Networks),
	}
}

func sourceRules(list []settings.SourceRule) []netip.Prefix {
	plain := make([]netip.Prefix, len(list))
	for i, r := range list {
		plain[i] = r.Prefix.Prefix
	}
	return plain
}

// protected are the networks that may manage the box. One that holds a large part of all addresses does not say who manages it,
// and would let everybody past the shield.
func protected(networks []settings.Prefix) []netip.Prefix {
	list := []netip.Prefix{}
	for _, n := range networks {
		if n.Addr().Is4() && n.Bits() >= 8 || n.Addr().Is6() && n.Bits() >= 16 {
			list = append(list, n.Prefix)
		}
	}
	return list
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
