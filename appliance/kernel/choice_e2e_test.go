//go:build e2e

package kernel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// choicePlan has one service with a pool of these weights for each IP version.
func choicePlan(choice plan.Choice, weights ...int) *plan.Plan {
	p := vectorPlan()
	for i, f := range families {
		var origins []plan.Origin
		address := f.origin
		for n, weight := range weights {
			origins = append(origins, plan.Origin{
				Name: fmt.Sprintf("server-%d", n), Address: address.String(), FirstPort: 80, LastPort: 80, Weight: weight, State: plan.Active,
			})
			address = address.Next()
		}
		p.Pools = append(p.Pools, plan.Pool{
			Name: "choice" + f.name, Choice: choice, Origins: origins, Health: plan.Health{Check: plan.CheckNone, Fall: 1, Rise: 1},
		})
		p.Services = append(p.Services, plan.Service{
			Name: "choice" + f.name, Pool: len(p.Pools) - 1, TCPHeader: plan.TCPV2, UDPHeader: plan.UDPSPP, Timeouts: p.Services[i].Timeouts,
		})
		for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
			p.Routes = append(p.Routes, plan.Route{
				Protocol: protocol, FirstPort: portChoice, LastPort: portChoice, Service: len(p.Services) - 1,
				Addresses: []netip.Prefix{netip.PrefixFrom(f.edge, f.edge.BitLen())},
			})
		}
	}
	return p
}

const portChoice = 7777

// chosen sends the first packet of a client and tells where it goes. ok is false if it is left to the user path.
func (r *rig) chosen(t testing.TB, f family, protocol uint8, from netip.AddrPort, port uint16) (to netip.AddrPort, ok bool) {
	t.Helper()
	p := f.opening(protocol, from.Port(), port)
	p.from = from
	verdict, out := r.run(t, p.frame(), r.context(arrival{}))
	if verdict != verdictRedirect {
		return netip.AddrPort{}, false
	}
	got, err := readFrame(out)
	if err != nil {
		t.Fatal(err)
	}
	return got.to, true
}

// stranger is a random address of an IP version.
func stranger(random *rand.Rand, f family) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], random.Uint64())
	binary.BigEndian.PutUint64(b[8:], random.Uint64())
	if f.client.Is4() {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	b[0] = 0x20 | b[0]&0x1f
	return netip.AddrFrom16(b)
}

// TestChoice: the program finds the same origin for a client as the user path.
func TestChoice(t *testing.T) {
	const clients = 400 // of each pool and IP version
	r := newRig(t, vectorPlan())
	for _, weights := range [][]int{{1}, {1, 1}, {3, 1, 2}, {100, 1, 7, 7, 50}, {1 << 20, 1, 1 << 31}, manyWeights(64)} {
		r.apply(t, choicePlan(plan.SourceHash, weights...))
		for _, f := range families {
			t.Run(fmt.Sprintf("%d origins/%s", len(weights), f.name), func(t *testing.T) {
				random := rand.New(rand.NewPCG(5, uint64(len(weights))))
				pool := r.pools.Pool("choice" + f.name)
				seen := make(map[netip.Addr]int)
				for i := range clients {
					from := netip.AddrPortFrom(stranger(random, f), uint16(1+random.IntN(65535)))
					protocol := []uint8{protocolTCP, protocolUDP}[i%2]
					got, ok := r.chosen(t, f, protocol, from, portChoice)
					want, reason := pool.Pick(from.Addr(), portChoice, portChoice)
					if !ok || want.Origin == nil || got != want.Addr {
						t.Fatalf("the client %s goes to %s (%t), the user path sends it to %s (%s)", from, got, ok, want.Addr, reason)
					}
					want.Origin.Release()
					seen[got.Addr()]++
				}
				if len(weights) == 2 && (seen[f.origin] < clients/3 || seen[f.origin.Next()] < clients/3) {
					t.Errorf("two origins of the same weight have %v", seen)
				}
				r.wipe(t)
			})
		}
	}
}

func manyWeights(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = 1 + i*i
	}
	return list
}

// TestChoiceOfMany: a pool with more origins than the program looks at is the user path's.
func TestChoiceOfMany(t *testing.T) {
	r := newRig(t, choicePlan(plan.SourceHash, manyWeights(maxMembers+1)...))
	r.each(t, "many", func(t *testing.T, f family, protocol uint8) {
		r.leaves(t, f.opening(protocol, 40000, portChoice).frame(), arrival{}, leftOrigin)
	})
}

// TestChoiceWithout: with an origin down or full, its clients go where the user path sends them, and the others stay.
func TestChoiceWithout(t *testing.T) {
	p := choicePlan(plan.SourceHash, 2, 1, 3)
	r := newRig(t, p)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(6, 6))
			pool := r.pools.Pool("choice" + f.name)
			target, _ := pool.Pick(f.client, portChoice, portChoice)
			target.Origin.Failed(status.ConnectTimeout)
			target.Origin.Release()
			r.must(t, r.path.refresh)
			for range 500 {
				from := netip.AddrPortFrom(stranger(random, f), 40000)
				got, ok := r.chosen(t, f, protocolTCP, from, portChoice)
				want, _ := pool.Pick(from.Addr(), portChoice, portChoice)
				if !ok || got != want.Addr || got == target.Addr {
					t.Fatalf("the client %s goes to %s (%t), the user path sends it to %s; %s is down", from, got, ok, want.Addr, target.Addr)
				}
				want.Origin.Release()
			}
			r.wipe(t)
		})
	}
}

// TestTurns: round robin gives each origin its share, in the order of the user path.
func TestTurns(t *testing.T) {
	r := newRig(t, choicePlan(plan.RoundRobin, 5, 1, 1, 3))
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			pool := r.pools.Pool("choice" + f.name)
			seen := make(map[netip.Addr]int)
			for i := range 100 {
				got, ok := r.chosen(t, f, protocolTCP, netip.AddrPortFrom(f.client, uint16(10000+i)), portChoice)
				want, _ := pool.Pick(f.client, portChoice, portChoice)
				if !ok || got != want.Addr {
					t.Fatalf("turn %d is that of %s (%t), in the user path of %s", i, got, ok, want.Addr)
				}
				want.Origin.Release()
				seen[got.Addr()]++
			}
			for n, share := 0, []int{50, 10, 10, 30}; n < len(share); n++ {
				address := f.origin
				for range n {
					address = address.Next()
				}
				if seen[address] != share[n] {
					t.Errorf("%s has %d of 100, want %d", address, seen[address], share[n])
				}
			}
			r.wipe(t)
		})
	}
}

// TestLeast: the origin with the fewest sessions for its weight is next, whichever path they are on.
func TestLeast(t *testing.T) {
	r := newRig(t, choicePlan(plan.LeastSessions, 1, 2, 1))
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			first, second, third := f.origin, f.origin.Next(), f.origin.Next().Next()
			seen := make(map[netip.Addr][]netip.AddrPort)
			open := func(n int) {
				t.Helper()
				for range n {
					from := netip.AddrPortFrom(f.client, uint16(10000+len(seen[first])+len(seen[second])+len(seen[third])))
					to, ok := r.chosen(t, f, protocolTCP, from, portChoice)
					if !ok {
						t.Fatalf("%s was left to the user path", from)
					}
					seen[to.Addr()] = append(seen[to.Addr()], from)
				}
			}
			shares := func(a, b, c int) {
				t.Helper()
				if len(seen[first]) != a || len(seen[second]) != b || len(seen[third]) != c {
					t.Errorf("the origins have %d, %d and %d, want %d, %d and %d", len(seen[first]), len(seen[second]), len(seen[third]), a, b, c)
				}
			}
			open(40)
			shares(10, 20, 10)
			for _, from := range seen[third][:6] {
				slot, s := r.slot(t, protocolTCP, from, netip.AddrPortFrom(f.edge, portChoice))
				if done, err := r.path.call(bpfEnding{Slot: slot, Generation: s.Generation}); err != nil || !done {
					t.Fatal(done, err)
				}
			}
			open(6)
			shares(10, 20, 16)
			// Of those of the user path the tables tell: now 2 with each in turn.
			pool := r.pools.Pool("choice" + f.name)
			r.must(t, r.path.sweep)
			var taken [3]int
			for range 8 {
				target, _ := pool.Pick(f.client, portChoice, portChoice)
				defer target.Origin.Release()
				for n, a := range []netip.Addr{first, second, third} {
					if target.Addr.Addr() == a {
						taken[n]++
					}
				}
			}
			if taken != [3]int{2, 4, 2} {
				t.Errorf("the user path chose %v", taken)
			}
			r.must(t, r.path.refresh)
			open(8)
			shares(12, 24, 18)
		})
	}
}
