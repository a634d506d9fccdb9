//go:build e2e

package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestRules: what the box depends on is let in whatever rules say, then what is allowed, then nobody who is banned or denied.
func TestRules(t *testing.T) {
	p := vectorPlan()
	p.Shield = plan.Shield{
		Protected: prefixList("198.51.100.0/25"), Allow: prefixList("203.0.113.0/24", "2001:db8:a::/48"),
		Deny: prefixList("198.51.100.0/24", "203.0.0.0/16", "203.0.113.8/32", "2001:db8::/32", "192.0.0.0/8", "10.0.0.0/8"),
	}
	r := newRig(t, p)
	b := lists.NewBuilder()
	class := b.Class(lists.Class{Kind: lists.KindList, Name: "drop"})
	b.Layer(lists.Entries(prefixList("203.0.113.0/24", "9.9.9.0/24", "192.0.2.0/24", "2001:db9::/32"), class))
	r.must(t, func() error { return r.path.SetLists(b.Table()) })
	if err := r.path.SetBans([]plan.Ban{{Prefix: netip.MustParsePrefix("203.0.113.9/32")}, {Prefix: netip.MustParsePrefix("8.8.0.0/16")}, {Prefix: netip.MustParsePrefix("198.51.100.1/32")}}); err != nil {
		t.Fatal(err)
	}
	r.path.SetOwn(prefixList("192.0.2.254/32"))
	for address, want := range map[string]uint32{
		"198.51.100.1": lists.Protected, "198.51.100.127": lists.Protected, "198.51.100.128": lists.Denied,
		"203.0.113.8": lists.Allowed, "203.0.113.9": lists.Allowed, "203.0.112.1": lists.Denied, "203.1.0.0": 0,
		"8.8.255.255": lists.Banned, "8.9.0.0": 0, "9.9.9.9": 256 + lists.First, "9.9.8.9": 0,
		"2001:db8:a::1": lists.Allowed, "2001:db8:b::1": lists.Denied, "2001:db9::1": 256 + lists.First, "2001:dba::1": 0,
		"192.0.2.254": lists.Protected, "192.0.3.1": lists.Denied, origin4.String(): lists.Protected, "10.9.9.9": lists.Denied,
	} {
		if got := r.classOf(t, netip.MustParseAddr(address)); got != want {
			t.Errorf("%s has class %d, want %d", address, got, want)
		}
	}
	// What a process that comes after it finds.
	var found Path
	found.objects = r.path.objects
	if err := found.loadRules(); err != nil || len(found.rules.entered) != len(r.path.rules.entered) || found.rules.marks != r.path.rules.marks {
		t.Errorf("the next process finds %d rules of %d: %v", len(found.rules.entered), len(r.path.rules.entered), err)
	}
}

// TestSourcesJudged: the shield drops what a rule or list denies and lets in what is allowed; of a banned client a little comes
// through, so that the user path tells it.
func TestSourcesJudged(t *testing.T) {
	p := vectorPlan()
	p.Shield = plan.Shield{Mode: plan.ShieldOn, Deny: prefixList(client4.String() + "/32")}
	r := newRig(t, p)
	class := func(kind lists.Kind, pass bool) *lists.Table {
		b := lists.NewBuilder()
		b.Layer(lists.Entries(prefixList(client4.String()+"/24", client6.String()+"/48"), b.Class(lists.Class{Kind: kind, Name: "all", Pass: pass})))
		return b.Table()
	}
	judge := func(f family, why status.Reason) {
		t.Helper()
		frame := f.opening(protocolTCP, 40000, portPlain).frame()
		at := uint32(why) // drops of TCP come first
		before, err := sum(r.path.objects.ShieldDrops, at)
		if err != nil {
			t.Fatal(err)
		}
		var verdict uint32
		r.must(t, func() (err error) {
			verdict, err = r.path.objects.Shield.Run(&ebpf.RunOptions{Data: frame, DataOut: r.output})
			return err
		})
		after, err := sum(r.path.objects.ShieldDrops, at)
		if err != nil {
			t.Fatal(err)
		}
		if dropped := why != status.Normal; dropped != (verdict == xdpDrop) || dropped && after != before+1 {
			t.Errorf("%s: the verdict is %d, want it dropped for %s: %v; counted %d, then %d", f.name, verdict, why, dropped, before, after)
		}
	}
	f4, f6 := families[0], families[1]
	judge(f4, status.Denied)
	judge(f6, status.Normal)
	for kind, why := range map[lists.Kind]status.Reason{lists.KindList: status.Denied, lists.KindNetwork: status.Network, lists.KindCountry: status.Country} {
		r.must(t, func() error { return r.path.SetLists(class(kind, false)) })
		judge(f6, why)
		judge(f4, status.Denied)
	}
	p.Shield.Allow = prefixList(client6.String() + "/128")
	r.apply(t, p)
	judge(f6, status.Normal)
	p.Shield.Allow, p.Shield.Deny = nil, nil
	r.apply(t, p)
	r.must(t, func() error { return r.path.SetLists(class(lists.KindList, true)) })
	judge(f4, status.Normal)
	if err := r.path.SetBans([]plan.Ban{{Prefix: netip.PrefixFrom(client4, 32)}}); err != nil {
		t.Fatal(err)
	}
	for range 100 { // which are told
		judge(f4, status.Normal)
	}
	r.exhaustTrickles(t) // each core has a hundred
	judge(f4, status.Banned)
	var seen status.Edge
	if err := r.path.Status(&seen); err != nil {
		t.Fatal(err)
	}
	for _, want := range []status.SourceCounter{{Kind: status.SourceOwn, Name: "bans", Packets: 101}, {Kind: status.SourceList, Name: "all", Packets: 1}, {Kind: status.SourceOwn, Name: "deny", Packets: 4}} {
		if !slices.Contains(seen.Shield.Addresses, want) {
			t.Errorf("sources are counted as %+v, want %+v", seen.Shield.Addresses, want)
		}
	}
}

func prefixList(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}
