//go:build e2e

package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestShieldRules sends packets that packet rules match, or nearly so.
func TestShieldRules(t *testing.T) {
	all := plan.PacketRule{MaxLength: 65535, LastPort: 65535, MaxTTL: 255, Action: plan.RuleDrop}
	with := func(change func(*plan.PacketRule)) plan.PacketRule {
		r := all
		change(&r)
		return r
	}
	r := newRig(t, shieldPlan())
	long := udpTo(families[0], 5000, portPlain, "0123456789abcdefghij")
	for _, v := range []struct {
		name string
		rule plan.PacketRule
		hit  bool
	}{
		{"everything", all, true},
		{"UDP", with(func(r *plan.PacketRule) { r.Protocol = plan.UDP }), true},
		{"TCP", with(func(r *plan.PacketRule) { r.Protocol = plan.TCP }), false},
		{"exactly its length", with(func(r *plan.PacketRule) { r.MinLength, r.MaxLength = 20, 20 }), true},
		{"longer", with(func(r *plan.PacketRule) { r.MinLength = 21 }), false},
		{"shorter", with(func(r *plan.PacketRule) { r.MaxLength = 19 }), false},
		{"exactly its port", with(func(r *plan.PacketRule) { r.FirstPort, r.LastPort = 5000, 5000 }), true},
		{"ports behind", with(func(r *plan.PacketRule) { r.FirstPort = 5001 }), false},
		{"ports before", with(func(r *plan.PacketRule) { r.LastPort = 4999 }), false},
		{"exactly its TTL", with(func(r *plan.PacketRule) { r.MinTTL, r.MaxTTL = 64, 64 }), true},
		{"a higher TTL", with(func(r *plan.PacketRule) { r.MinTTL = 65 }), false},
		{"a lower TTL", with(func(r *plan.PacketRule) { r.MaxTTL = 63 }), false},
		{"its first byte", with(func(r *plan.PacketRule) { r.Bytes, r.Mask = []byte("0"), []byte{255} }), true},
		{"another first byte", with(func(r *plan.PacketRule) { r.Bytes, r.Mask = []byte("1"), []byte{255} }), false},
		{"the bits of its first byte that count", with(func(r *plan.PacketRule) { r.Bytes, r.Mask = []byte("1"), []byte{0xfe} }), true},
		{"its first 16 bytes", with(func(r *plan.PacketRule) { r.Bytes, r.Mask = []byte("0123456789abcdef"), slices.Repeat([]byte{255}, 16) }), true},
		{"another 16th byte", with(func(r *plan.PacketRule) { r.Bytes, r.Mask = []byte("0123456789abcdeF"), slices.Repeat([]byte{255}, 16) }), false},
	} {
		t.Run(v.name, func(t *testing.T) {
			p := shieldPlan()
			v.rule.Name = v.name
			p.Services[0].Shield.PacketRules = []plan.PacketRule{v.rule}
			r.apply(t, p)
			r.calm(t)
			number := r.numberOf(t, "plain", families[0])
			want, hits := passed(vectorUDP, number), uint64(0)
			if v.hit {
				want, hits = dropped(status.PacketRule, vectorUDP, number, countUDP), 1
			}
			r.judges(t, long.frame(), want)
			if got := r.hits(t, v.name); got != hits {
				t.Errorf("%d hits, want %d", got, hits)
			}
		})
	}
}

// TestShieldRuleActions: the first rule that drops or passes a packet decides, also on what is of a session.
func TestShieldRuleActions(t *testing.T) {
	rule := func(name string, first byte, action plan.RuleAction) plan.PacketRule {
		return plan.PacketRule{Name: name, MaxLength: 65535, LastPort: 65535, MaxTTL: 255, Bytes: []byte{first}, Mask: []byte{255}, Action: action}
	}
	p := shieldPlan()
	for i := range p.Services {
		if p.Services[i].Name == "plainIPv4" || p.Services[i].Name == "plainIPv6" {
			p.Services[i].Shield.PacketRules = []plan.PacketRule{
				rule("count", 'c', plan.RuleCount), rule("pass", 'p', plan.RulePass), rule("drop", 'd', plan.RuleDrop), rule("never", 'p', plan.RuleDrop), rule("also", 'c', plan.RuleDrop),
			}
		}
	}
	r := newRig(t, p)
	r.each(t, "actions", func(t *testing.T, f family, protocol uint8) {
		r.calm(t)
		number := r.numberOf(t, "plain", f)
		vector, by := vectorUDP, countUDP
		if protocol == protocolTCP {
			vector, by = vectorSYN, countTCP
		}
		with := func(payload string) []byte {
			p := f.opening(protocol, 40000, portPlain)
			p.payload = []byte(payload)
			return p.frame()
		}
		shot := dropped(status.PacketRule, vector, number, by)
		r.judges(t, with("other"), passed(vector, number))
		r.judges(t, with(""), passed(vector, number))
		r.judges(t, with("pass"), passed(vector, number))
		r.judges(t, with("drop"), shot)
		r.judges(t, with("count"), shot)
		spoofed := f.opening(protocol, 40000, portPlain)
		spoofed.from, spoofed.payload = netip.AddrPortFrom(f.idle(), 40000), []byte("pass")
		r.judges(t, spoofed.frame(), dropped(status.Bogon, vector, number, by)) // no rule lets services talk to each other
		reflected := udpTo(f, 53, portPlain, "pass")
		if protocol == protocolUDP {
			r.judges(t, reflected.frame(), passed(vectorUDP, number)) // without the checks that follow
		}
		r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldMonitor })
		r.judges(t, with("drop"), shot.monitored())
		r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldOn })

		r.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{})
		r.judges(t, with("other"), untouched)
		r.judges(t, with("pass"), untouched)
		r.judges(t, with("drop"), shot)
	})
	for name, least := range map[string]uint64{"count": 4, "pass": 4, "drop": 4, "also": 4} {
		if r.hits(t, name) < least {
			t.Errorf("rule %s has %d hits", name, r.hits(t, name))
		}
	}
	if n := r.hits(t, "never"); n != 0 {
		t.Errorf("a rule behind one that passes has %d hits", n)
	}
}

// hits are those of a rule of the services plain.
func (r *rig) hits(t *testing.T, rule string) (n uint64) {
	t.Helper()
	var s status.Edge
	if err := r.path.Status(&s); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Shield.Rules {
		if c.Rule == rule {
			n += c.Packets
		}
	}
	return n
}
