//go:build e2e

package kernel

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func withSources(l plan.SourceLimits) *plan.Plan {
	p := vectorPlan()
	p.Limits.Sources = l
	return p
}

// TestRatesOfNewClients: an address or network that opens too much is turned away, until time has passed, and nobody else is.
func TestRatesOfNewClients(t *testing.T) {
	r := newRig(t, vectorPlan())
	r.each(t, "of an address", func(t *testing.T, f family, protocol uint8) {
		r.freshStart(t)
		r.apply(t, withSources(plan.SourceLimits{NewClientsPerAddress: 1}))
		same, near, _ := neighbours(f)
		for i := range uint16(5) {
			r.comesIn(t, f.from(f.client, protocol, 40000+i, portPlain))
		}
		r.turnedAway(t, f.from(f.client, protocol, 40005, portPlain), status.AddressRate)
		r.turnedAway(t, f.from(same, protocol, 40005, portV2), status.AddressRate)
		r.comesIn(t, f.from(near, protocol, 40005, portPlain))
		r.ago(t, 300*time.Millisecond)
		r.turnedAway(t, f.from(f.client, protocol, 40005, portPlain), status.AddressRate)
		r.ago(t, 700*time.Millisecond)
		r.comesIn(t, f.from(same, protocol, 40006, portPlain))
		r.turnedAway(t, f.from(f.client, protocol, 40007, portPlain), status.AddressRate)
		r.ago(t, time.Hour) // no more than the burst
		for i := range uint16(5) {
			r.comesIn(t, f.from(f.client, protocol, 41000+i, portPlain))
		}
		r.turnedAway(t, f.from(f.client, protocol, 41005, portPlain), status.AddressRate)
		r.knows(t, f.client, plan.TCP) // what claims to be from there may be anybody's
		r.turnedAway(t, f.from(f.client, protocol, 41006, portPlain), status.AddressRate)
	})
	r.each(t, "of a network", func(t *testing.T, f family, protocol uint8) {
		r.freshStart(t)
		r.apply(t, withSources(plan.SourceLimits{NewClientsPerNetwork: 1}))
		for i := range 5 {
			r.comesIn(t, f.from(f.host(1, i), protocol, 40000, portPlain))
		}
		r.turnedAway(t, f.from(f.host(1, 9), protocol, 40000, portPlain), status.NetworkRate)
		r.comesIn(t, f.from(f.host(2, 9), protocol, 40000, portPlain))
		r.knows(t, f.host(1, 7), plan.UDP)
		r.comesIn(t, f.from(f.host(1, 7), protocol, 40000, portPlain))
		r.ago(t, time.Second)
		r.comesIn(t, f.from(f.host(1, 10), protocol, 40000, portPlain))
		r.turnedAway(t, f.from(f.host(1, 11), protocol, 40000, portPlain), status.NetworkRate)
	})
	r.each(t, "under pressure", func(t *testing.T, f family, protocol uint8) {
		r.freshStart(t)
		p := vectorPlan()
		for i := range p.Services {
			p.Services[i].Limits.NewClientsPerSec = 10_000
		}
		r.apply(t, p)
		opens := func(n int, addr func(i int) netip.Addr, pressure time.Duration) (dropped int) {
			for i := range n {
				if i%20 == 0 {
					r.useUp(t, pressure)
				}
				if r.front(t, f.from(addr(i), protocol, uint16(10_000+i), portPlain)) == xdpDrop {
					dropped++
				}
			}
			return dropped
		}
		one := func(int) netip.Addr { return f.client }
		if n := opens(1500, one, 0); n > 0 {
			t.Errorf("%d of 1,500 clients of one address are dropped, although there is room", n)
		}
		const most = 7 * time.Second / 10 // of a second's worth: the last quarter is for who is known
		if n := opens(1500, one, most); n < 100 || n > 500 {
			t.Errorf("under pressure %d of 1,500 clients of one address are dropped, want about 500", n)
		}
		if n := opens(100, func(i int) netip.Addr { return f.host(i, 1) }, most); n > 0 {
			t.Errorf("under pressure %d of 100 others are dropped", n)
		}
	})
	r.each(t, "none", func(t *testing.T, f family, protocol uint8) {
		r.freshStart(t)
		r.apply(t, vectorPlan())
		for i := range uint16(1000) {
			r.comesIn(t, f.from(f.client, protocol, 40000+i, portPlain))
		}
	})
}

// TestRatesOfPackets: sessions and flows pay their own address's rate and no other's, and nobody can use it up for them.
func TestRatesOfPackets(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		for name, limits := range map[string]plan.SourceLimits{
			"packets": {PacketsPerAddress: 1, PacketsPerNetwork: 1},
			"bytes":   {BytesPerAddress: 5_000, BytesPerNetwork: 5_000},
		} {
			t.Run(name+" of a session/"+f.name, func(t *testing.T) {
				r.freshStart(t)
				r.apply(t, withSources(limits))
				c := r.dial(t, f, portPlain)
				c.opens()
				said := func() []byte {
					s := dataAt(1, 1, string(make([]byte, 1000)))
					if name == "packets" {
						s.payload = "x"
					}
					return c.packet(c.client, c.edge, s, c.clientISN, c.originISN).frame()
				}
				fill := func(frame []byte) {
					t.Helper()
					for n := range 20 {
						if r.front(t, frame) == xdpDrop {
							if n < 4 || n > 5 {
								t.Errorf("packet %d is dropped, of four", n)
							}
							return
						}
					}
					t.Error("20 packets have passed, of four")
				}
				fill(said()) // nobody knows yet whether the client is real: this is what claims to be it
				c.moves(fromClient, ackAt(1, 1), ackAt(1, 1))
				fill(said())
				r.turnedAway(t, said(), status.AddressRate)
				r.ago(t, time.Second)
				r.comesIn(t, said())
				if name == "bytes" {
					return
				}
				r.front(t, f.from(f.client, protocolUDP, 40000, portPlain))
				r.turnedAway(t, f.from(f.client, protocolUDP, 40000, portPlain), status.AddressRate)
				_, near, far := neighbours(f)
				for range 4 { // of no session: they pay their network's as well
					r.front(t, f.from(near, protocolUDP, 40000, portPlain))
				}
				r.turnedAway(t, f.from(near, protocolUDP, 40000, portPlain), status.AddressRate)
				r.turnedAway(t, f.from(prefixEnd(plan.ClientNetwork(near)), protocolUDP, 40000, portPlain), status.NetworkRate)
				r.comesIn(t, f.from(far, protocolUDP, 40000, portPlain))
			})
		}
		t.Run("of strays/"+f.name, func(t *testing.T) {
			r.freshStart(t)
			r.apply(t, withSources(plan.SourceLimits{PacketsPerAddress: 1}))
			stray := f.opening(protocolTCP, 40000, portPlain)
			stray.flags = flagACK
			for range 4 {
				r.front(t, stray.frame())
			}
			r.turnedAway(t, stray.frame(), status.AddressRate)
		})
	}
}

// TestBudgets: what is beyond a budget is dropped, first those who were never here; sessions and flows go on.
func TestBudgets(t *testing.T) {
	r := newRig(t, vectorPlan())
	services := func(change func(*plan.ServiceLimits)) *plan.Plan {
		p := vectorPlan()
		for i := range p.Services {
			change(&p.Services[i].Limits)
		}
		return p
	}
	box := vectorPlan()
	box.Limits.NewFlowsPerSec = 1
	for _, c := range []struct {
		name     string
		plan     *plan.Plan
		protocol uint8
		all      bool // services have it together
	}{
		{"new sessions of a service", services(func(l *plan.ServiceLimits) { l.NewClientsPerSec = 1 }), protocolTCP, false},
		{"new clients of a service", services(func(l *plan.ServiceLimits) { l.NewClientsPerSec = 1 }), protocolUDP, false},
		{"new flows of a service", services(func(l *plan.ServiceLimits) { l.NewFlowsPerSec = 1 }), protocolUDP, false},
		{"new flows of the box", box, protocolUDP, true},
	} {
		for _, f := range families {
			t.Run(c.name+"/"+f.name, func(t *testing.T) {
				r.freshStart(t)
				r.apply(t, vectorPlan())
				here := f.opening(protocolUDP, 39999, portPlain).frame()
				r.passes(t, here, arrival{}) // a flow of the kernel path
				mine := netip.AddrPortFrom(f.client, 39998)
				r.path.ShareFlow(mine, netip.AddrPortFrom(f.edge, portPlain), status.FlowBegun)
				defer r.path.ShareFlow(mine, netip.AddrPortFrom(f.edge, portPlain), status.FlowOver)
				for i := range 5 {
					r.knows(t, f.host(900, i), plan.TCP)
				}
				r.apply(t, c.plan)
				for i := range 3 { // of four that there may be at once
					r.comesIn(t, f.from(f.host(i, 1), c.protocol, 40000, portPlain))
				}
				r.turnedAway(t, f.from(f.host(100, 1), c.protocol, 40000, portPlain), status.NewClients)
				r.comesIn(t, f.from(f.host(900, 0), c.protocol, 40000, portPlain))
				r.turnedAway(t, f.from(f.host(900, 2), c.protocol, 40000, portPlain), status.NewClients)
				r.comesIn(t, here)
				r.comesIn(t, f.opening(protocolUDP, 39998, portPlain).frame()) // a flow of the user path
				if other := f.from(f.host(101, 1), c.protocol, 40000, portV2); c.all {
					r.turnedAway(t, other, status.NewClients)
					r.comesIn(t, f.from(f.host(101, 1), protocolTCP, 40000, portPlain))
				} else {
					r.comesIn(t, other)
				}
				r.ago(t, time.Second)
				r.turnedAway(t, f.from(f.host(102, 1), c.protocol, 40000, portPlain), status.NewClients)
				r.comesIn(t, f.from(f.host(900, 3), c.protocol, 40000, portPlain))
				r.ago(t, 3*time.Second)
				r.comesIn(t, f.from(f.host(103, 1), c.protocol, 40000, portPlain))
			})
		}
	}
	for n, f := range families {
		t.Run("while it only watches/"+f.name, func(t *testing.T) {
			r.freshStart(t)
			p := services(func(l *plan.ServiceLimits) { l.NewClientsPerSec = 1 })
			p.Shield.Mode = plan.ShieldMonitor
			r.apply(t, p)
			r.must(t, func() error { return r.path.raise(p) })
			defer func() { r.apply(t, vectorPlan()); r.must(t, func() error { return r.path.raise(vectorPlan()) }) }()
			for i := range 20 {
				r.comesIn(t, f.from(f.host(i, 1), protocolUDP, 40000, portPlain))
			}
			var would uint64
			for p := range shieldProtocols {
				n, err := sum(r.path.objects.ShieldDrops, uint32((len(shieldProtocols)+p)*whyCount+int(status.NewClients)))
				if err != nil {
					t.Fatal(err)
				}
				would += n
			}
			if want := uint64(17 * (n + 1)); would < want-2 || would > want {
				t.Errorf("%d would have been dropped, want %d", would, want)
			}
		})
	}
}

// TestAdmission: sources that come too fast get no buckets, and share; those that have some keep them.
func TestAdmission(t *testing.T) {
	r := newRig(t, withSources(plan.SourceLimits{NewClientsPerAddress: 1, NewClientsPerNetwork: 1}))
	few := func(t *testing.T, admit uint32, change func(*bpfSourceLimits)) {
		t.Helper()
		for generation := range uint32(2) {
			var l bpfSourceLimits
			if err := r.path.objects.LimitTables.Lookup(generation, &l); err != nil {
				t.Fatal(err)
			}
			l.Admit = admit
			change(&l)
			putEntry(t, r.path.objects.LimitTables, generation, l)
		}
	}
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			r.freshStart(t)
			few(t, 4096, func(*bpfSourceLimits) {})
			for i := range 5 {
				r.comesIn(t, f.from(f.host(1, 1), protocolUDP, uint16(40000+i), portPlain))
			}
			few(t, 0, func(l *bpfSourceLimits) { l.Strangers = rateEntry(4, time.Second) })
			before, err := sum(r.path.objects.SourceCounts, shared)
			if err != nil {
				t.Fatal(err)
			}
			r.turnedAway(t, f.from(f.host(1, 1), protocolUDP, 41000, portPlain), status.AddressRate) // it has its own
			r.turnedAway(t, f.from(f.host(1, 2), protocolUDP, 41000, portPlain), status.NetworkRate) // it has its network's
			for i := range 4 {
				r.comesIn(t, f.from(f.host(10+i, 1), protocolUDP, 41000, portPlain))
			}
			r.turnedAway(t, f.from(f.host(20, 1), protocolUDP, 41000, portPlain), status.NewClients)
			r.knows(t, f.host(30, 1), plan.TCP)
			r.comesIn(t, f.from(f.host(30, 1), protocolUDP, 41000, portPlain))
			after, err := sum(r.path.objects.SourceCounts, shared)
			if err != nil || after-before != 5 {
				t.Errorf("%d shared a bucket, want 5; %v", after-before, err)
			}
			if n := len(entriesOf[bpfSourceKey, bpfBucket](t, r.path.objects.AddressBuckets)); n != 1 {
				t.Errorf("%d addresses have buckets, want 1", n)
			}
		})
	}
}

// flood gives the shield first datagrams of so many sources, each time another, and returns what one took, in ns, as the kernel
// says.
func (r *rig) flood(t testing.TB, n int, source func(i int) uint32) (each float64) {
	t.Helper()
	frame := families[0].opening(protocolUDP, 50000, portPlain).frame()
	const at = 14 + 12 // of the address in the frame; checksums are nobody's business here
	r.must(t, func() error {
		stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
		if err != nil {
			return err
		}
		before, err := r.path.objects.Shield.Stats()
		if err != nil {
			return err
		}
		context := xdpContext{xdpDataEnd: uint32(len(frame)), xdpIfindex: uint32(r.edge)}
		options := ebpf.RunOptions{Data: frame, Context: &context}
		for i := range n {
			binary.BigEndian.PutUint32(frame[at:], source(i))
			if _, err := r.path.objects.Shield.Run(&options); err != nil {
				return err
			}
		}
		after, err := r.path.objects.Shield.Stats()
		if err != nil {
			return err
		}
		each = float64(after.Runtime-before.Runtime) / float64(after.RunCount-before.RunCount)
		return stats.Close()
	})
	return each
}

// TestFloodOfSources: made-up sources push out no client that is known and no flow, and use up no budget that is theirs; what had
// to make room is counted.
func TestFloodOfSources(t *testing.T) {
	const sources, players = 200_000, 500
	p := withSources(plan.SourceLimits{NewClientsPerAddress: 200, NewClientsPerNetwork: 2000})
	p.Limits.NewFlowsPerSec = 4_000
	r := newRig(t, p)
	f := families[0]
	player := func(i int) netip.Addr { return f.host(20_000+i/250, i%250) }
	for i := range players {
		r.passes(t, f.from(player(i), protocolUDP, 40000, portPlain), arrival{})
		r.path.Good(player(i), plan.UDP)
	}
	r.must(t, r.path.enterKnown)
	random := rand.New(rand.NewPCG(1, 2))
	few := r.flood(t, 20_000, func(i int) uint32 { return 0x0b000000 + uint32(i%1000)*7919 })
	many := r.flood(t, sources, func(int) uint32 { return 0x0a000000 + random.Uint32N(0x60000000) }) // 10.0.0.0 to 105.255.255.255
	for i := range players {
		r.comesIn(t, f.from(player(i), protocolUDP, 40000, portPlain)) // its flow
		if i < 400 {
			r.comesIn(t, f.from(player(i), protocolUDP, 40001, portPlain)) // another one
		}
	}
	var seen status.Edge
	if err := r.path.addSources(&seen); err != nil {
		t.Fatal(err)
	}
	t.Logf("a datagram of one of 1,000 sources took %.0f ns, of random ones %.0f ns; %+v", few, many, seen.Shield.Sources)
	if s := seen.Shield.Sources; s.Known != players || s.Kept == 0 {
		t.Errorf("of %d players and %d sources there is %+v", players, sources, s)
	}
	if many > 6*few {
		t.Errorf("random sources cost %.0f ns, a few %.0f ns", many, few)
	}
}

// TestWhys: the reasons of limits are those of package status.
func TestWhys(t *testing.T) {
	guard := constantsOf(t, "bpf/guard.h", "bpf/limit.h", "bpf/bloom.h", "bpf/hops.h")
	for name, want := range map[string]int{
		"WHY_ADDRESS_RATE": int(status.AddressRate), "WHY_NETWORK_RATE": int(status.NetworkRate), "WHY_NEW_CLIENTS": int(status.NewClients),
		"TRUE_SOURCE": trueSource, "CLAIMED": claimed, "OF_ADDRESS": ofAddress, "OF_NETWORK": ofNetwork, "GOT_ADDRESS": gotAddress,
		"GOT_NETWORK": gotNetwork, "SHARED": shared, "SOURCE_COUNT": sourceCount, "FLOW_BEGUN": flowBegun, "FLOW_PROVEN": flowProven,
		"ADDRESS_BUCKETS": addressBuckets, "NETWORK_BUCKETS": networkBuckets, "KNOWN_SOURCES": maxKnown,
		"BLOOM_WORDS": bloomBytes / 8, "MAX_ON_LINK": maxOnLink,
	} {
		if got, known := guard[name]; !known || got != want {
			t.Errorf("%s is %d in C, %d in Go", name, got, want)
		}
	}
}
