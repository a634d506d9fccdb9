//go:build e2e

package kernel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
)

// growthPackets is how many packets one round of a figure of growth takes.
const growthPackets = 20_000

// BenchmarkSessions measures what a packet of a flow costs in the program while a thousand to 200,000 flows have their turns by
// chance. Each round begins with none, so whatever else the machine does is of all sizes alike.
//
//	go test -tags e2e -run '^$' -bench 'BenchmarkSessions|BenchmarkServices' -benchtime 5x ./appliance/kernel
func BenchmarkSessions(b *testing.B) {
	p := vectorPlan()
	for i := range p.Services {
		p.Services[i].Limits = plan.ServiceLimits{}
	}
	p.Limits = plan.Limits{MaxFlows: 1 << 20, NewFlowsPerSec: 10_000_000}
	sizes := []int{1_000, 10_000, 100_000, 200_000}
	took := make([][]float64, len(sizes))
	for range b.N {
		r := newRig(b, p)
		began := 0
		for i, size := range sizes {
			for ; began < size; began++ {
				r.inTurn(b, r.path.objects.Path, nthClient(began))
			}
			if n := r.flows(b); n < size*99/100 {
				b.Fatalf("%d flows are there, want %d", n, size)
			}
			took[i] = append(took[i], r.costs(b, r.path.objects.Path, func() []byte { return nthClient(rand.IntN(size)) }))
		}
	}
	report(b, sizes, took, "flows")
}

// BenchmarkServices measures what a SYN costs in the shield when it is for one of ten ports with a service, and for one of up to
// 100,000 ranges of ports of a thousand services.
func BenchmarkServices(b *testing.B) {
	sizes := []int{10, 1_000, 100_000}
	took := make([][]float64, len(sizes))
	for range b.N {
		for i, size := range sizes {
			p, ends := rangesPlan(size)
			p.Limits = plan.Limits{NewFlowsPerSec: 10_000_000}
			r := newRig(b, p)
			took[i] = append(took[i], r.costs(b, r.path.objects.Shield, func() []byte {
				syn := aSYN(families[0])
				syn.from, syn.to = nthAddress(rand.IntN(1000)), ends[rand.IntN(len(ends))]
				return syn.frame()
			}))
			r.apply(b, vectorPlan()) // its large tables would stay until all rounds are over
		}
	}
	report(b, sizes, took, "ranges")
}

// rangesPlan has as many ranges of ports, of two ports each, and one port of each.
func rangesPlan(ranges int) (p *plan.Plan, ends []netip.AddrPort) {
	const ofAddress = 10_000
	p = vectorPlan()
	pattern := p.Services[0]
	pattern.Path, p.Services, p.Routes = plan.PathAuto, nil, nil
	pattern.Shield.SYNCookies = plan.SYNCookiesOff
	for n := range min(ranges, 1000) {
		pattern.Name = fmt.Sprint("service-", n)
		p.Services = append(p.Services, pattern)
	}
	address := families[0].edge
	for n := range ranges {
		if n > 0 && n%ofAddress == 0 {
			address = address.Next()
		}
		first := uint16(1 + 6*(n%ofAddress))
		p.Routes = append(p.Routes, plan.Route{
			Protocol: plan.TCP, FirstPort: first, LastPort: first + 1, Service: n % len(p.Services), Addresses: []netip.Prefix{netip.PrefixFrom(address, 32)},
		})
		ends = append(ends, netip.AddrPortFrom(address, first))
	}
	return p, ends
}

// nthClient is a datagram of the n-th client to a service with transparent sources, which need no port of the box.
func nthClient(n int) []byte {
	d := aDatagram(families[0])
	d.from, d.to = nthAddress(n), netip.AddrPortFrom(families[0].edge, portClear)
	return d.frame()
}

func nthAddress(n int) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 100<<24|uint32(n))
	return netip.AddrPortFrom(netip.AddrFrom4(a), 40000)
}

// inTurn gives a program one packet of a client.
func (r *rig) inTurn(b *testing.B, p *ebpf.Program, frame []byte) {
	b.Helper()
	context := r.context(arrival{})
	o := ebpf.RunOptions{Data: frame, DataOut: r.output}
	if p == r.path.objects.Path {
		o.Context = &context
	}
	r.must(b, func() error {
		_, err := p.Run(&o)
		return err
	})
}

// costs is what a packet takes in a program, in ns, as the kernel counts (BPF_ENABLE_STATS of bpf(2)).
func (r *rig) costs(b *testing.B, p *ebpf.Program, next func() []byte) float64 {
	b.Helper()
	stop, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stop.Close() //nolint:errcheck // it only reads
	stats := func() (runs uint64, took time.Duration) {
		s, err := p.Stats()
		if err != nil {
			b.Fatal(err)
		}
		return s.RunCount, s.Runtime
	}
	runs, took := stats()
	for range growthPackets {
		r.inTurn(b, p, next())
	}
	after, until := stats()
	return float64(until-took) / float64(after-runs)
}

// flows is how many sessions and flows there are.
func (r *rig) flows(b *testing.B) (n int) {
	b.Helper()
	var key bpfTuple
	var value bpfRef
	all := r.path.objects.Tuples.Iterate()
	for all.Next(&key, &value) {
		n++
	}
	if err := all.Err(); err != nil {
		b.Fatal(err)
	}
	return n / 2
}

// report tells the median of each size, and how much more it is than that of the first.
func report(b *testing.B, sizes []int, took [][]float64, of string) {
	b.Helper()
	var first float64
	for i, all := range took {
		slices.Sort(all)
		median := all[len(all)/2]
		if i == 0 {
			first = median
		}
		b.Logf("%d %s: %.0f ns a packet (%.0f .. %.0f), %.2f times the first", sizes[i], of, median, all[0], all[len(all)-1], median/first)
		b.ReportMetric(median/first, fmt.Sprintf("x-at-%d", sizes[i]))
	}
	b.ReportMetric(0, "ns/op")
}
