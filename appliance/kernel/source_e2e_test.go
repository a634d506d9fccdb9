//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// sourcesOf are n source addresses of a family.
func (f family) sourcesOf(n int) (list []netip.Addr) {
	for a := f.source.Next(); len(list) < n; a = a.Next() {
		list = append(list, a)
	}
	return list
}

// sourcePlan has n sources of each IP version in every pool.
func sourcePlan(n int) *plan.Plan {
	p := vectorPlan()
	for i := range p.Pools {
		p.Pools[i].SourceAddresses = append(families[0].sourcesOf(n), families[1].sourcesOf(n)...)
	}
	return p
}

// applySources puts a plan in force at a box that has its sources.
func (r *rig) applySources(t testing.TB, p *plan.Plan) {
	t.Helper()
	r.own = p.Pools[0].SourceAddresses
	r.apply(t, p)
}

// TestSources: sessions and flows come from all source addresses that a pool has, and answers lead back.
func TestSources(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, n := range []int{1, 2, 3, plan.MaxSourceAddresses} {
		r.applySources(t, sourcePlan(n))
		r.each(t, fmt.Sprint(n), func(t *testing.T, f family, protocol uint8) {
			seen := make(map[netip.Addr]int)
			for port := range uint16(64 * n) {
				in := f.opening(protocol, 40000+port, portPlain)
				got := r.passes(t, in.frame(), arrival{})
				seen[got.from.Addr()]++
				want := in
				want.from, want.to, want.ttl = got.from, netip.AddrPortFrom(f.origin, portPlain), 63
				same(t, got, want)
				answer := packet{from: got.to, to: got.from, protocol: protocol, ttl: 64, payload: []byte("welcome")}
				if protocol == protocolTCP {
					answer.payload, answer.flags, answer.seq, answer.ack, answer.window = nil, flagSYN|flagACK, 5000, 1001, 60000
				}
				back := answer
				back.from, back.to, back.ttl = in.to, in.from, 63
				same(t, r.passes(t, answer.frame(), arrival{inner: true}), back)
			}
			for _, source := range f.sourcesOf(n) {
				if seen[source] == 0 {
					t.Errorf("nothing came from %s: %v", source, seen)
				}
				delete(seen, source)
			}
			if len(seen) > 0 {
				t.Errorf("some came from what is no source of the pool: %v", seen)
			}
		})
	}
}

// TestSourceExhausted: when a source has no port left the others are taken, and only when none has is it told, with the name of
// the origin and how many ports there are.
func TestSourceExhausted(t *testing.T) {
	r := newRig(t, vectorPlan())
	const sources = 3
	r.applySources(t, sourcePlan(sources))
	told := func(at time.Time) (list []health.Condition) {
		t.Helper()
		if err := r.path.tellExhausted(at); err != nil {
			t.Fatal(err)
		}
		return r.conditions.List()
	}
	at := time.Now()
	r.each(t, "one port of each", func(t *testing.T, f family, protocol uint8) {
		at = at.Add(time.Hour)
		r.ports(t, 20000, 20000)
		defer r.applySources(t, sourcePlan(sources))
		seen := make(map[netip.AddrPort]bool)
		for port := range uint16(sources) {
			seen[r.passes(t, f.opening(protocol, 40000+port, portPlain).frame(), arrival{}).from] = true
		}
		for _, source := range f.sourcesOf(sources) {
			if !seen[netip.AddrPortFrom(source, 20000)] {
				t.Errorf("the port of %s is not used: %v", source, seen)
			}
		}
		if list := told(at); len(list) > 0 {
			t.Errorf("told before it happened: %+v", list)
		}
		r.leaves(t, f.opening(protocol, 50000, portPlain).frame(), arrival{}, leftPort)
		r.passes(t, f.opening(protocol, 50000, portRange).frame(), arrival{}) // another port of the origin
		list := told(at)
		subject, inAll := fmt.Sprintf("same%s/origin-0 %s", f.name, f.origin), fmt.Sprintf("%d ports that there are in all", sources*r.path.ports)
		if len(list) != 1 || list[0].Subject != subject || !strings.Contains(list[0].Detail, inAll) {
			t.Errorf("told %+v, want %q of %s", list, inAll, subject)
		}
		if list := told(at.Add(overAfter)); len(list) > 0 {
			t.Errorf("told still: %+v", list)
		}
	})
}

// TestSourceOfRoute: where the box has none of a pool's sources, and for clients who are seen themselves, they change nothing.
func TestSourceOfRoute(t *testing.T) {
	r := newRig(t, vectorPlan())
	r.each(t, "none is there", func(t *testing.T, f family, protocol uint8) {
		r.own = nil
		r.apply(t, sourcePlan(2))
		if got := r.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{}); got.from.Addr() != f.source {
			t.Errorf("it came from %s, want %s", got.from, f.source)
		}
	})
	r.each(t, "transparent", func(t *testing.T, f family, protocol uint8) {
		r.applySources(t, sourcePlan(2))
		in := f.opening(protocol, 40000, portClear)
		if got := r.passes(t, in.frame(), arrival{}); got.from != in.from {
			t.Errorf("it came from %s, want %s", got.from, in.from)
		}
	})
	r.each(t, "the box gets one while it runs", func(t *testing.T, f family, protocol uint8) {
		r.own = nil
		p := sourcePlan(1)
		r.apply(t, p)
		if err := r.pools.Apply(p, p.Pools[0].SourceAddresses); err != nil {
			t.Fatal(err)
		}
		r.must(t, r.path.refresh)
		if got, want := r.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{}).from.Addr(), f.sourcesOf(1)[0]; got != want {
			t.Errorf("it came from %s, want %s", got, want)
		}
	})
}

// TestRoomOfSources: strangers get three quarters of the ports that all sources have.
func TestRoomOfSources(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, n := range []int{0, 1, 2} { // with more, slots are fewer
		r.applySources(t, sourcePlan(n))
		if got, want := int64(r.path.tables.guards[0].Room), r.path.ports*int64(max(n, 1))*3/4; got != min(want, int64(r.path.objects.slots)*3/4) {
			t.Errorf("with %d sources there is room for %d flows of strangers, want %d", n, got, want)
		}
	}
}

// TestSourceLife: a session from a source of its own carries data, takes errors and ends as any other.
func TestSourceLife(t *testing.T) {
	r := newRig(t, vectorPlan())
	r.applySources(t, sourcePlan(plan.MaxSourceAddresses))
	for _, f := range families {
		for _, port := range allHeaders {
			t.Run(fmt.Sprintf("%s/%d", f.name, port), func(t *testing.T) {
				defer r.wipe(t)
				c := r.dial(t, f, port)
				c.established()
				if _, s := c.session(fromClient); netip.AddrFrom16(s.Side[originSide].Own).Unmap() != c.source.Addr() {
					t.Errorf("the session says that it comes from %v, its packets say %s", s.Side[originSide].Own, c.source)
				}
				hello := dataAt(1, 1, "hello")
				c.carries(fromClient, hello)
				kind, code := f.icmp([2]uint8{3, 4}, [2]uint8{2, 0})
				r.check(t, icmpError(f.router(), c.source.Addr(), 64, kind, code, 1280, c.received(fromClient, hello.moved(c.h())), 20), arrival{inner: true}, verdictRedirect, func(*counts) {})
				c.carries(fromOrigin, dataAt(1, 6, "welcome"))
				c.carries(fromClient, ackAt(6, 8))
				_, s := c.session(fromClient)
				r.must(t, func() error {
					_, err := r.path.Kill(status.ID(s.Id))
					return err
				})
				c.is(stateClosed, uint8(status.Killed))
				want := c.received(fromClient, resetAt(6+c.h(), 8))
				want.ttl = hopLimit
				same(t, r.sniffs(t, protocolTCP, c.source, c.origin), want)
			})
		}
	}
}
