package origin

import (
	"net/netip"
	"strings"
	"testing"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

func TestApplyRefuses(t *testing.T) {
	good := origins(1)[0]
	with := func(change func(*plan.Origin)) *plan.Plan {
		bad := origins(1, 1)
		change(&bad[1])
		return planOf(plan.SourceHash, bad...)
	}
	address := func(a string) *plan.Plan { return with(func(o *plan.Origin) { o.Address = a }) }
	two := planOf(plan.SourceHash, good)
	two.Pools = append(two.Pools, two.Pools[0])
	unchecked := planOf(plan.SourceHash, good)
	unchecked.Pools[0].Health.Check = plan.CheckTCP
	for _, test := range []struct {
		name string
		plan *plan.Plan
		want string
	}{
		{"own", address("192.0.2.1"), "origin o1 of pool games has the address 192.0.2.1, which is this box's own: it would loop"},
		{"own, mapped", address("::ffff:192.0.2.1"), "origin o1 of pool games has the address ::ffff:192.0.2.1, which is this box's own: it would loop"},
		{"own, with zone", address("fe80::1%eth0"), "which is this box's own: it would loop"},
		{"forbidden", address("127.0.0.1"), "origin o1 of pool games has the address 127.0.0.1, which is in 127.0.0.0/8, where no origin may be"},
		{"forbidden, mapped", address("::ffff:127.0.0.1"), "which is in 127.0.0.0/8"},
		{"forbidden, with zone", address("fe80::2%eth0"), "which is in fe80::/10"},
		{"unspecified", address("0.0.0.0"), "not the address of one machine"},
		{"unspecified ipv6", address("::"), "not the address of one machine"},
		{"multicast", address("239.1.1.1"), "not the address of one machine"},
		{"no address", address("games"), `has the address "games", which is no IP address`},
		{"no name", with(func(o *plan.Origin) { o.Address, o.Record = "", plan.RecordA }), "which is no DNS name"},
		{"no record kind", with(func(o *plan.Origin) { o.Address, o.Record = "a.test", "mx" }), `has the record kind "mx"`},
		{"no weight", with(func(o *plan.Origin) { o.Weight = 0 }), "has the weight 0"},
		{"ports backwards", with(func(o *plan.Origin) { o.FirstPort, o.LastPort = 9, 8 }), "has the ports 9 to 8"},
		{"two names", with(func(o *plan.Origin) { o.Name = "o0" }), "pool games has two origins with the name o0"},
		{"two pools", two, "two pools with the name games"},
		{"no interval", unchecked, "positive interval and timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := New(quiet(), new(health.Set))
			apply(t, s, planOf(plan.SourceHash, good))
			p, view := s.Pool("games"), s.Pool("games").view.Load()
			test.plan.Forbidden = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
			own := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth1")}
			err := s.Apply(test.plan, own)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if s.Pool("games") != p || p.view.Load() != view {
				t.Error("something changed")
			}
		})
	}
}

func TestApplyKeepsState(t *testing.T) {
	s := New(quiet(), new(health.Set))
	apply(t, s, planOf(plan.SourceHash, origins(1, 1)...))
	p := s.Pool("games")
	members := p.view.Load().members
	kept, gone := members[0].origin, members[1].origin
	down(kept)
	kept.reserve(true)
	gone.reserve(true)

	next := origins(4, 1)
	next[0].FirstPort, next[0].LastPort = 25565, 25565
	next[1].Name = "another"
	apply(t, s, planOf(plan.RoundRobin, next...))
	if s.Pool("games") != p {
		t.Error("the pool is another one")
	}
	got := s.Status()[0].Origins
	if o := got[0]; o.Name != "o0" || o.Address != "10.0.0.1:25565" || o.Up || o.Sessions != 1 || o.Chosen != 1 || o.Failed != 3 {
		t.Errorf("the origin that stayed: %+v", o)
	}
	if o := got[1]; o.Name != "another" || !o.Up || o.Sessions != 0 {
		t.Errorf("the new origin: %+v", o)
	}
	gone.Answered()
	gone.Failed(0)
	gone.Release()
	kept.Release()
	if n := s.Status()[0].Origins[0].Sessions; n != 0 {
		t.Errorf("%d sessions after the release, want 0", n)
	}

	apply(t, s, &plan.Plan{})
	if s.Pool("games") != nil || len(s.Status()) != 0 {
		t.Error("the pool is still there")
	}
	if target, _ := p.Pick(client(1), 1, 1); target.Origin != nil {
		t.Errorf("a removed pool sent a client to %s", target.Addr)
	}
}

// TestOwnAddressAppearsLater: an address that the box gets afterwards makes the next Apply refuse the plan.
func TestOwnAddressAppearsLater(t *testing.T) {
	s := New(quiet(), new(health.Set))
	p := planOf(plan.SourceHash, origins(1)...)
	apply(t, s, p)
	if err := s.Apply(p, []netip.Addr{netip.MustParseAddr("10.0.0.1")}); err == nil {
		t.Error("an origin on the box's own address was accepted")
	}
}
