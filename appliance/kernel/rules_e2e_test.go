//go:build e2e

package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
)

func (r *rig) wantClass(t testing.TB, when string, address netip.Addr, want uint32) {
	t.Helper()
	if got := r.classOf(t, address); got != want {
		t.Errorf("%s %s has class %d, want %d", when, address, got, want)
	}
}

// aroundOrigins bans and denies networks that the origins of vectors are in.
func aroundOrigins(t testing.TB, r *rig) {
	t.Helper()
	var bans []plan.Ban
	for _, f := range families {
		prefix, err := f.origin.Prefix(f.origin.BitLen() - 16)
		if err != nil {
			t.Fatal(err)
		}
		bans = append(bans, plan.Ban{Prefix: prefix})
	}
	r.must(t, func() error { return r.path.SetBans(bans) })
}

// TestRulesSpareOrigins: no rule is for an origin, whatever its state, nor for one that left the plan while it has sessions: where the
// box dials from an edge address, the shield would drop its answers.
func TestRulesSpareOrigins(t *testing.T) {
	r := newRig(t, vectorPlan())
	aroundOrigins(t, r)
	r.each(t, "a session", func(t *testing.T, f family, protocol uint8) {
		defer r.apply(t, vectorPlan())
		r.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{})
		r.must(t, r.path.sweep)
		without := vectorPlan()
		without.Routes, without.Services, without.Pools = nil, nil, nil
		r.apply(t, without)
		r.wantClass(t, "while it has a session", f.origin, lists.Protected)
		slot, s := r.slot(t, protocol, netip.AddrPortFrom(f.client, 40000), netip.AddrPortFrom(f.edge, portPlain))
		if done, err := r.path.call(bpfEnding{Slot: slot, Generation: s.Generation}); err != nil || !done {
			t.Fatal(done, err)
		}
		r.must(t, r.path.sweep)
		r.must(t, r.path.reattach)
		r.wantClass(t, "without a session", f.origin, lists.Banned)
	})
	for _, state := range []plan.State{plan.Active, plan.Drain, plan.Maintenance} {
		p := vectorPlan()
		for i := range p.Pools {
			for n := range p.Pools[i].Origins {
				p.Pools[i].Origins[n].State = state
			}
		}
		r.apply(t, p)
		for _, f := range families {
			r.wantClass(t, string(state), f.origin, lists.Protected)
		}
	}
}

// TestRulesStayWithoutAPlan: a ban takes no other rule away while no plan is in force: at the start of the process, and when the kernel
// path could not take one.
func TestRulesStayWithoutAPlan(t *testing.T) {
	p := vectorPlan()
	p.Shield = plan.Shield{Protected: prefixList("198.51.100.0/25"), Allow: prefixList("203.0.113.0/24"), Deny: prefixList("203.0.0.0/16")}
	r := newRig(t, p)
	var next Path // the next process, before its plan
	next.objects, next.options, next.ledger, next.names = r.path.objects, r.path.options, newLedger(), r.path.names
	if err := next.loadRules(); err != nil {
		t.Fatal(err)
	}
	r.must(t, r.path.Drain)
	for when, k := range map[string]*Path{"while the path rests": r.path, "in the next process": &next} {
		k.rules.bans = prefixList("8.8.0.0/16")
		k.followRules()
		for address, want := range map[string]uint32{
			"198.51.100.1": lists.Protected, "203.0.113.1": lists.Allowed, "203.0.1.1": lists.Denied, "8.8.8.8": lists.Banned,
		} {
			r.wantClass(t, when, netip.MustParseAddr(address), want)
		}
	}
}

// TestRulesAreTriedAgain: what the kernel had no room for is entered as soon as there is some, and told until then.
func TestRulesAreTriedAgain(t *testing.T) {
	r := newRig(t, vectorPlan())
	rules := r.path.objects.ListRules
	var others []bpfAddressKey
	for n := uint32(0); ; n++ {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0xf0000000|n)
		key := addressKey(netip.PrefixFrom(netip.AddrFrom4(b), 32))
		if rules.Put(key, uint32(lists.Denied)) != nil {
			break
		}
		others = append(others, key)
	}
	r.path.SetOwn(prefixList("203.0.113.1/32"))
	if list := r.conditions.List(); len(list) != 1 || list[0].Code != "rules-not-in-force" {
		t.Errorf("without room the conditions are %+v", list)
	}
	for _, key := range others {
		if err := rules.Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	r.must(t, r.path.reattach)
	if list := r.conditions.List(); len(list) != 0 {
		t.Errorf("with room the conditions are %+v", list)
	}
	r.wantClass(t, "then", netip.MustParseAddr("203.0.113.1"), lists.Protected)
}
