package origin

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

// TestSourceHashIsFixed keeps the choice equal in all processes, versions and boxes. A change of these values moves
// nearly every client to another origin when a box is updated.
func TestSourceHashIsFixed(t *testing.T) {
	p := poolOf(t, plan.SourceHash, origins(1, 1, 1, 2)...)
	got := ""
	for i := range 24 {
		got += pick(t, p, client(i))[1:]
	}
	if want := "331023230200230322013013"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSourceHashRespectsWeights(t *testing.T) {
	const clients = 40000
	for _, weights := range [][]int{{1}, {1, 1}, {1, 1, 1, 1, 1}, {1, 2, 3}, {1, 10}, {100, 1, 50, 49}, {65536, 65536}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			list := origins(weights...)
			got, sum := make(map[string]int), 0
			for _, name := range choices(t, poolOf(t, plan.SourceHash, list...), clients) {
				got[name]++
			}
			for _, w := range weights {
				sum += w
			}
			for _, o := range list {
				share := float64(o.Weight) / float64(sum)
				sigma := math.Sqrt(clients * share * (1 - share))
				if want := clients * share; math.Abs(float64(got[o.Name])-want) > 4.5*sigma+1 {
					t.Errorf("%s with weight %d got %d clients, want %.0f", o.Name, o.Weight, got[o.Name], want)
				}
			}
		})
	}
}

func TestRemovedOriginMovesOnlyItsClients(t *testing.T) {
	list := origins(3, 1, 2, 5, 1)
	before := choices(t, poolOf(t, plan.SourceHash, list...), 5000)
	for i, gone := range list {
		after := choices(t, poolOf(t, plan.SourceHash, slices.Delete(slices.Clone(list), i, i+1)...), 5000)
		for c, was := range before {
			if was != gone.Name && after[c] != was {
				t.Fatalf("without %s, %s moved from %s to %s", gone.Name, c, was, after[c])
			}
		}
	}
}

func TestMoreWeightMovesClientsOnlyThere(t *testing.T) {
	before := choices(t, poolOf(t, plan.SourceHash, origins(3, 1, 2)...), 5000)
	after := choices(t, poolOf(t, plan.SourceHash, origins(3, 4, 2)...), 5000)
	for c, was := range before {
		if now := after[c]; now != was && now != "o1" {
			t.Fatalf("%s moved from %s to %s", c, was, now)
		}
	}
}

func TestOrderInThePlanDoesNotMatter(t *testing.T) {
	list := origins(3, 1, 2, 5)
	before := choices(t, poolOf(t, plan.SourceHash, list...), 2000)
	for range 5 {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for c, now := range choices(t, poolOf(t, plan.SourceHash, list...), 2000) {
			if now != before[c] {
				t.Fatalf("%s moved from %s to %s with the order %v", c, before[c], now, list)
			}
		}
	}
}

func TestSourceHashKnowsOnlyTheAddress(t *testing.T) {
	p := poolOf(t, plan.SourceHash, origins(1, 1, 1)...)
	for i := range 100 {
		want := pick(t, p, client(i))
		mapped := netip.AddrFrom16(client(i).As16())
		for _, c := range []netip.Addr{client(i), mapped} {
			target, _ := p.Pick(c, uint16(1000+i), 1)
			if target.Origin.Name() != want {
				t.Errorf("%s port %d: got %s, want %s", c, 1000+i, target.Origin.Name(), want)
			}
		}
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	for _, test := range []struct {
		weights []int
		want    string
	}{
		{[]int{1, 1, 1}, "012012012012"},
		{[]int{5, 1, 1}, "00102000010200"},
		{[]int{2, 1}, "010010010"},
		{[]int{7}, "000"},
		{[]int{30000, 30000}, "010101"},
	} {
		t.Run(fmt.Sprint(test.weights), func(t *testing.T) {
			p := poolOf(t, plan.RoundRobin, origins(test.weights...)...)
			got := ""
			for i := range len(test.want) {
				got += pick(t, p, client(i))[1:]
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestRoundRobinBesidesADownOrigin: its turns are shared by the others, not all given to the one behind it.
func TestRoundRobinBesidesADownOrigin(t *testing.T) {
	s := New(quiet(), new(health.Set))
	p := planOf(plan.RoundRobin, origins(1, 1, 1)...)
	apply(t, s, p)
	down(s.Pool("games").view.Load().members[1].origin)
	apply(t, s, p) // as Run does when it hears of it
	got := map[string]int{}
	for i := range 30 {
		got[pick(t, s.Pool("games"), client(i))]++
	}
	if got["o0"] != 15 || got["o2"] != 15 {
		t.Errorf("got %v, want 15 each for o0 and o2", got)
	}
}

func TestLeastSessions(t *testing.T) {
	p := poolOf(t, plan.LeastSessions, origins(1, 2)...)
	got := map[string]int{}
	var held []*Origin
	for i := range 30 {
		target, _ := p.Pick(client(i), 1, 1)
		held = append(held, target.Origin)
		got[target.Origin.Name()]++
	}
	if got["o0"] != 10 || got["o1"] != 20 {
		t.Fatalf("got %v, want 10 and 20", got)
	}
	for _, o := range held {
		if o.Name() == "o0" {
			o.Release()
		}
	}
	for i := range 9 { // 10 sessions of weight 1 are as many as 20 of weight 2
		if target, _ := p.Pick(client(i), 1, 1); target.Origin.Name() != "o0" {
			t.Errorf("got %s, want o0, which has fewer", target.Origin.Name())
		}
	}
}

func TestNegativeLog2(t *testing.T) {
	for range 2000 {
		h := rand.Uint64() >> rand.N(60)
		got := float64(negativeLog2(h)) / (1 << logBits)
		want := 64 - math.Log2(float64(h|1))
		if math.Abs(got-want) > 2.0/(1<<logBits) {
			t.Fatalf("-log2(%#x / 2^64): got %v, want %v", h, got, want)
		}
	}
	for _, h := range []uint64{0, 1, math.MaxUint64, 1 << 63} {
		if got := negativeLog2(h); got == 0 || got > 64<<logBits {
			t.Errorf("-log2(%#x / 2^64): got %d", h, got)
		}
	}
}
