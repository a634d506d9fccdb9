package origin

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// origins are as many as there are weights, named o0, o1 and so on, with the addresses 10.0.0.1, 10.0.0.2 ...
func origins(weights ...int) []plan.Origin {
	var list []plan.Origin
	for i, w := range weights {
		list = append(list, plan.Origin{
			Name: fmt.Sprintf("o%d", i), Address: fmt.Sprintf("10.0.0.%d", i+1), Weight: w, State: plan.Active,
		})
	}
	return list
}

func planOf(choice plan.Choice, list ...plan.Origin) *plan.Plan {
	h := plan.Health{Check: plan.CheckNone, Rise: 2, Fall: 3}
	return &plan.Plan{Pools: []plan.Pool{{Name: "games", Choice: choice, Origins: list, Health: h}}}
}

// poolOf is the only pool of a set with these origins.
func poolOf(t testing.TB, choice plan.Choice, list ...plan.Origin) *Pool {
	t.Helper()
	s := New(quiet(), new(health.Set))
	apply(t, s, planOf(choice, list...))
	return s.Pool("games")
}

func apply(t testing.TB, s *Set, p *plan.Plan) {
	t.Helper()
	if err := s.Apply(p, nil); err != nil {
		t.Fatal(err)
	}
}

// client is the i-th of many addresses, IPv4 and IPv6 in turn, neighbours beside each other.
func client(i int) netip.Addr {
	if i%2 == 0 {
		return netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
}

// pick takes a place and gives it back.
func pick(t testing.TB, p *Pool, c netip.Addr) string {
	t.Helper()
	target, reason := p.Pick(c, 25565, 1)
	if target.Origin == nil {
		t.Fatalf("no origin for %s: %s", c, reason)
	}
	target.Origin.Release()
	return target.Origin.Name()
}

func choices(t testing.TB, p *Pool, clients int) map[netip.Addr]string {
	t.Helper()
	m := make(map[netip.Addr]string, clients)
	for i := range clients {
		m[client(i)] = pick(t, p, client(i))
	}
	return m
}

// TestFullOriginLeavesClientsToTheNext also shows that the next is the same as if the full one were not there.
func TestFullOriginLeavesClientsToTheNext(t *testing.T) {
	list := origins(1, 1, 1)
	list[1].MaxSessions = 1
	full := poolOf(t, plan.SourceHash, list...)
	without := poolOf(t, plan.SourceHash, list[0], list[2])
	i := 0
	for ; pick(t, full, client(i)) != "o1"; i++ {
	}
	held, _ := full.Pick(client(i), 1, 1)
	for j := range 300 {
		if got, want := pick(t, full, client(j)), pick(t, without, client(j)); got != want {
			t.Fatalf("%s: got %s, want %s", client(j), got, want)
		}
	}
	held.Origin.Release()
	if got := pick(t, full, client(i)); got != "o1" {
		t.Errorf("after the release: got %s, want o1", got)
	}
}

func TestDownOriginLeavesClientsToTheNext(t *testing.T) {
	list := origins(1, 1, 1)
	p := poolOf(t, plan.SourceHash, list...)
	without := poolOf(t, plan.SourceHash, list[0], list[2])
	down(p.view.Load().members[1].origin)
	for j := range 300 {
		if got, want := pick(t, p, client(j)), pick(t, without, client(j)); got != want {
			t.Fatalf("%s: got %s, want %s", client(j), got, want)
		}
	}
}

// down lets three clients fail, the fall of planOf.
func down(o *Origin) {
	for range 3 {
		o.Failed(status.ConnectTimeout)
	}
}

func TestPorts(t *testing.T) {
	for _, test := range []struct {
		name              string
		first, last       uint16 // of the origin
		dialled, route    uint16
		want              string
		reasonIfThereNone status.Reason
	}{
		{"as dialled", 0, 0, 4711, 1, "10.0.0.1:4711", 0},
		{"one port", 25565, 25565, 4711, 1, "10.0.0.1:25565", 0},
		{"offset", 30000, 30009, 2005, 2000, "10.0.0.1:30005", 0},
		{"first of the range", 30000, 30009, 2000, 2000, "10.0.0.1:30000", 0},
		{"last of the range", 30000, 30009, 2009, 2000, "10.0.0.1:30009", 0},
		{"last port of all", 65535 - 9, 65535, 2009, 2000, "10.0.0.1:65535", 0},
		{"behind the range", 30000, 30009, 2010, 2000, "", status.NoOrigin},
		{"far before the route", 30000, 30009, 1, 65535, "", status.NoOrigin},
		{"before the route", 30000, 30009, 1999, 2000, "", status.NoOrigin},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := origins(1)[0]
			o.FirstPort, o.LastPort = test.first, test.last
			target, reason := poolOf(t, plan.SourceHash, o).Pick(client(1), test.dialled, test.route)
			if test.want == "" {
				if target.Origin != nil || reason != test.reasonIfThereNone {
					t.Errorf("got %v, %s, want none, %s", target.Addr, reason, test.reasonIfThereNone)
				}
				return
			}
			if target.Addr.String() != test.want || reason != status.Normal {
				t.Errorf("got %s, %s, want %s", target.Addr, reason, test.want)
			}
		})
	}
}

func TestNoOrigin(t *testing.T) {
	with := func(change func(*plan.Origin)) []plan.Origin {
		o := origins(1)[0]
		change(&o)
		return []plan.Origin{o}
	}
	for _, test := range []struct {
		name    string
		origins []plan.Origin
		held    int // sessions there already
		want    status.Reason
	}{
		{"empty pool", nil, 0, status.NoOrigin},
		{"drain", with(func(o *plan.Origin) { o.State = plan.Drain }), 0, status.NoOrigin},
		{"maintenance", with(func(o *plan.Origin) { o.State = plan.Maintenance }), 0, status.NoOrigin},
		{"full", with(func(o *plan.Origin) { o.MaxSessions = 2 }), 2, status.OriginFull},
		{"not resolved", with(func(o *plan.Origin) { o.Address, o.Record = "games.test", plan.RecordA }), 0, status.NotResolved},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, choice := range []plan.Choice{plan.SourceHash, plan.RoundRobin, plan.LeastSessions} {
				p := poolOf(t, choice, test.origins...)
				for range test.held {
					pickHold(t, p)
				}
				if target, reason := p.Pick(client(1), 1, 1); target.Origin != nil || reason != test.want {
					t.Errorf("%s: got %v, %s, want none, %s", choice, target.Addr, reason, test.want)
				}
			}
		})
	}
}

func pickHold(t testing.TB, p *Pool) *Origin {
	t.Helper()
	target, reason := p.Pick(client(1), 1, 1)
	if target.Origin == nil {
		t.Fatalf("no origin: %s", reason)
	}
	return target.Origin
}

func TestPickOther(t *testing.T) {
	for _, choice := range []plan.Choice{plan.SourceHash, plan.RoundRobin, plan.LeastSessions} {
		p := poolOf(t, choice, origins(1, 1)...)
		for i := range 20 {
			first, _ := p.Pick(client(i), 1, 1)
			second, reason := p.PickOther(client(i), 1, 1, first.Origin)
			if second.Origin == nil || second.Origin == first.Origin {
				t.Fatalf("%s: after %s got %v, %s", choice, first.Addr, second.Addr, reason)
			}
		}
		only := poolOf(t, choice, origins(1)...)
		if target, reason := only.PickOther(client(1), 1, 1, pickHold(t, only)); target.Origin != nil || reason != status.NoOrigin {
			t.Errorf("%s: got %v, %s, want none", choice, target.Addr, reason)
		}
	}
}

// TestLostTryTakesNoPlace: of two clients that want to be the try of a down origin, the second leaves nothing behind.
func TestLostTryTakesNoPlace(t *testing.T) {
	o := poolOf(t, plan.SourceHash, origins(1)...).view.Load().members[0].origin
	down(o)
	if o.reserve(false) {
		t.Fatal("a down origin was reserved before its try was due")
	}
	if n := o.places.taken.Load(); n != 0 {
		t.Errorf("%d places are taken, want 0", n)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, choice := range []plan.Choice{plan.SourceHash, plan.RoundRobin, plan.LeastSessions} {
		p := poolOf(t, choice, origins(1, 2, 3)...)
		c := client(1)
		allocs := testing.AllocsPerRun(100, func() {
			target, _ := p.Pick(c, 1, 1)
			target.Origin.Answered()
			target.Origin.Release()
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations, want none", choice, allocs)
		}
	}
}

// TestManyThreads: never more than MaxSessions at once, and nothing is left over, while plans come and origins fail.
func TestManyThreads(t *testing.T) {
	for _, choice := range []plan.Choice{plan.SourceHash, plan.RoundRobin, plan.LeastSessions} {
		s := New(quiet(), new(health.Set))
		list := origins(1, 2, 3)
		for i := range list {
			list[i].MaxSessions = 5
		}
		apply(t, s, planOf(choice, list...))
		var work sync.WaitGroup
		for worker := range 8 {
			work.Go(func() { useAndFail(t, s.Pool("games"), worker) })
		}
		for i := range 50 {
			apply(t, s, planOf(choice, list[:2+i%2]...))
			s.Status()
		}
		work.Wait()
		for _, o := range s.Status()[0].Origins {
			if o.Sessions != 0 {
				t.Errorf("%s: %s has %d sessions left, want 0", choice, o.Name, o.Sessions)
			}
		}
	}
}

func useAndFail(t *testing.T, p *Pool, worker int) {
	for i := range 1000 {
		target, reason := p.Pick(client(worker*1000+i), 1, 1)
		if target.Origin == nil {
			if reason != status.OriginFull {
				t.Errorf("got %s, want an origin or %s", reason, status.OriginFull)
			}
			continue
		}
		if n := target.Origin.places.taken.Load(); n > 5 {
			t.Errorf("%d sessions at once, want at most 5", n)
		}
		if i%7 == 0 {
			target.Origin.Failed(status.ConnectTimeout)
		} else {
			target.Origin.Answered()
		}
		target.Origin.Release()
	}
}

// TestLastPlace: however many threads ask at once, there are as many winners as places.
func TestLastPlace(t *testing.T) {
	for range 200 {
		var p places
		p.limit.Store(2)
		var winners atomic.Int64
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				if p.take() {
					winners.Add(1)
				}
			})
		}
		work.Wait()
		if winners.Load() != 2 || p.taken.Load() != 2 {
			t.Fatalf("%d winners, %d places taken, want 2", winners.Load(), p.taken.Load())
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 10} {
		for _, choice := range []plan.Choice{plan.SourceHash, plan.RoundRobin, plan.LeastSessions} {
			b.Run(fmt.Sprintf("%s/%d", choice, n), func(b *testing.B) {
				p := poolOf(b, choice, origins(slices.Repeat([]int{1}, n)...)...)
				c := client(1)
				for b.Loop() {
					target, _ := p.Pick(c, 1, 1)
					target.Origin.Release()
				}
			})
		}
	}
}
