//go:build e2e

package kernel

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// BenchmarkShield measures what a packet costs in the shield, beside a program that passes everything. Both run in turns, so that
// whatever else the machine does is theirs alike; the medians are compared.
//
//	go test -tags e2e -run '^$' -bench BenchmarkShield -benchtime 30x ./appliance/kernel
func BenchmarkShield(b *testing.B) {
	r := newRig(b, shieldPlan())
	pass := passAll(b)
	f := families[0]
	r.passes(b, aSYN(f).frame(), arrival{})
	number := r.numberOf(b, "plain", f)
	ack := tcpTo(f, portPlain, flagACK)
	stray := ack
	stray.from = netip.AddrPortFrom(f.client, 40001)
	syn := aSYN(f)
	syn.from = stray.from
	martian := syn
	martian.from = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 40000)
	abroad := syn
	abroad.to = netip.AddrPortFrom(f.foreign(), portPlain)
	for _, v := range []struct {
		name  string
		frame []byte
		armed bool
		want  uint32
	}{
		{"session", ack.frame(), false, xdpPass},
		{"foreign", abroad.frame(), false, xdpPass},
		{"SYN", syn.frame(), false, xdpPass},
		{"datagram", aDatagram(f).frame(), false, xdpPass},
		{"sampled", stray.frame(), false, xdpPass},
		{"stray", stray.frame(), true, xdpDrop},
		{"reflection", udpTo(f, 53, portPlain, "answer").frame(), false, xdpDrop},
		{"martian", martian.frame(), false, xdpDrop},
		{"malformed", behind(aDatagram, 0, 0, 0)(f), false, xdpDrop},
	} {
		b.Run(v.name, func(b *testing.B) {
			r.calm(b)
			for i := range uint32(vectorCount) { // nothing is sampled
				r.trickle(b, trickleSamples+i, math.MaxUint32)
			}
			p := bpfPressure{Strays: bpfGauge{Second: later()}}
			if v.armed {
				p.Strays.Until = later()
			}
			var ours, base []time.Duration
			for range 20 * b.N {
				r.press(b, number, p)
				base = append(base, r.times(b, pass, v.frame, xdpPass))
				ours = append(ours, r.times(b, r.path.objects.Shield, v.frame, v.want))
			}
			slices.Sort(ours)
			slices.Sort(base)
			a, c := ours[len(ours)/2], base[len(base)/2]
			b.ReportMetric(float64(a), "ns/packet")
			b.ReportMetric(float64(c), "ns/pass-all")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// times is what one packet takes in a program.
func (r *rig) times(b *testing.B, p *ebpf.Program, frame []byte, want uint32) (each time.Duration) {
	b.Helper()
	r.must(b, func() error {
		verdict, took, err := p.Benchmark(frame, 1000, nil) // fewer than arm anything
		if err == nil && verdict != want {
			err = fmt.Errorf("the verdict is %d, want %d", verdict, want)
		}
		each = took
		return err
	})
	return each
}
