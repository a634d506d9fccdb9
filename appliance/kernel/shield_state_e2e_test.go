//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/status"
)

// bothFamilies runs a test in IPv4 and IPv6, with a shield that has seen nothing.
func (r *rig) bothFamilies(t *testing.T, name string, run func(*testing.T, family)) {
	for _, f := range families {
		t.Run(name+"/"+f.name, func(t *testing.T) {
			r.calm(t)
			run(t, f)
		})
	}
}

// TestShieldFlags sends all combinations of TCP flags (RFC 9293, 3.5 to 3.10).
func TestShieldFlags(t *testing.T) {
	r := newRig(t, shieldPlan())
	model := modelOf(r)
	model.strays = true
	possible := 0
	for _, f := range families {
		for flags := range uint8(64) {
			r.calm(t)
			r.press(t, r.numberOf(t, "plain", f), bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}})
			frame := tcpTo(f, portPlain, flags).frame()
			_, want := model.judge(frame)
			r.judges(t, frame, want)
			if want.reason != status.BogusFlags {
				possible++
			}
			if t.Failed() {
				t.Fatalf("%s with flags %06b", f.name, flags)
			}
		}
	}
	if want := 2 * 6 * 4; possible != want { // with and without PSH and URG
		t.Errorf("%d combinations are possible, want %d", possible, want)
	}
}

// later is when nothing of a test happens any more.
func later() uint64 { return now() + 3600*1e9 }

// TestShieldTruncated cuts packets at every byte, with and without a length that says so.
func TestShieldTruncated(t *testing.T) {
	r := newRig(t, shieldPlan())
	model := modelOf(r)
	for _, v := range []struct {
		name  string
		frame func(f family) []byte
	}{
		{"a SYN", func(f family) []byte {
			p := aSYN(f)
			p.options = make([]byte, 40)
			return p.frame()
		}},
		{"a datagram", whole(aDatagram)},
		{"an error", func(f family) []byte {
			kind, _ := f.icmp([2]uint8{3, 0}, [2]uint8{2, 0})
			return control(kind, 64)(f)
		}},
		{"a fragment", func(f family) []byte { return fragment(aDatagram(f), 0, true) }},
		{"a tagged datagram", func(f family) []byte { return tagged(tagged(aDatagram(f).frame(), 0x8100, 1), 0x8100, 2) }},
		{"extension headers", func(f family) []byte {
			if f.edge.Is4() {
				return withIP4Options(aDatagram(f))
			}
			return extended(protocolHop, protocolRouting, protocolOther)(f)
		}},
	} {
		r.bothFamilies(t, v.name, func(t *testing.T, f family) {
			frame := v.frame(f)
			for size := etherSize + 1; size < len(frame); size++ {
				for _, cut := range [][]byte{frame[:size], said(frame[:size], f)} {
					r.calm(t)
					_, want := model.judge(cut)
					if want.weight > 1 {
						t.Fatalf("%x is an ACK", cut)
					}
					if r.judges(t, cut, want); t.Failed() {
						t.Fatalf("cut at %d: %x", size, cut)
					}
				}
			}
		})
	}
}

// said writes the length of a packet that was cut into its IP header, if that is there still.
func said(frame []byte, f family) []byte {
	b := slices.Clone(frame)
	at := etherSize
	for len(b) > at && b[at-2] == 0x81 {
		at += 4
	}
	if len(b) < at+f.ip {
		return b
	}
	size := len(b) - at
	if f.edge.Is4() {
		b[at+2], b[at+3] = byte(size>>8), byte(size)
	} else {
		b[at+4], b[at+5] = byte((size-ip6Size)>>8), byte(size-ip6Size)
	}
	return b
}

// TestShieldBogons: on request, addresses of no network are nobody's.
func TestShieldBogons(t *testing.T) {
	r := newRig(t, shieldPlan())
	list := append(slices.Clone(private), prefixes("fe80::/10", "fc00::/7", "::/3", "4000::/2", "8000::/1")...)
	for _, p := range list {
		f := families[0]
		if p.Addr().Is6() {
			f = families[1]
		}
		t.Run(p.String(), func(t *testing.T) {
			for _, a := range []netip.Addr{p.Addr(), prefixEnd(p)} {
				if within(nobody, a) {
					continue
				}
				r.calm(t)
				r.judges(t, from(a.String())(f), passed(vectorSYN, r.numberOf(t, "plain", f)))
				r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Bogons = 1 })
				r.judges(t, from(a.String())(f), bogonTCP)
				r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Bogons = 0 })
			}
		})
	}
	r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Bogons = 1 })
	for i, sources := range [][]string{
		{"9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "169.253.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.0.1",
			"192.169.0.0", "198.17.0.1", "198.20.0.0", "198.51.99.1", "198.51.101.0", "203.0.112.1", "203.0.114.0", "223.255.255.255", "1.1.1.1"},
		{"2000::", "2001:db7:ffff::1", "2001:db9::", "2606:4700::1", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		for _, source := range sources {
			t.Run(source, func(t *testing.T) {
				r.calm(t)
				r.judges(t, from(source)(families[i]), passed(vectorSYN, r.numberOf(t, "plain", families[i])))
			})
		}
	}
	t.Run("neighbour discovery", func(t *testing.T) {
		f := families[1]
		r.judges(t, wrapICMP(netip.MustParseAddr("fe80::1"), f.edge, 255, 135, 0, 0, nil), untouched)
		r.judges(t, wrapICMP(netip.MustParseAddr("fe80::1"), f.edge, 254, 135, 0, 0, nil), dropped(status.Bogon, vectorOther, noService, countICMP))
	})
}

// TestShieldTrickles: what is of no use passes as long as it is little.
func TestShieldTrickles(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, v := range []struct {
		name   string
		which  uint32
		most   uint64
		frame  func(f family) []byte
		vector int
		reason status.Reason
		by     int
	}{
		{"no service, TCP", 1, 100, func(f family) []byte { return tcpTo(f, portNothing, flagSYN).frame() }, vectorSYN, status.NoService, countTCP},
		{"no service, UDP", 1, 100, func(f family) []byte { return udpTo(f, 40000, portNothing, "x").frame() }, vectorUDP, status.NoService, countUDP},
		{"fragments", 2, 5000, func(f family) []byte { return fragment(aDatagram(f), 0, true) }, vectorFragment, status.Fragment, countUDP},
		{"later fragments", 2, 5000, func(f family) []byte { return fragment(aDatagram(f), 100, false) }, vectorFragment, status.Fragment, countUDP},
		{"pings", 3, 1000, func(f family) []byte {
			kind, _ := f.icmp([2]uint8{8, 0}, [2]uint8{128, 0})
			return control(kind, 64)(f)
		}, vectorICMP, status.RateLimit, countICMP},
		{"errors", 4, 1000, func(f family) []byte {
			kind, _ := f.icmp([2]uint8{3, 0}, [2]uint8{1, 0})
			return control(kind, 64)(f)
		}, vectorICMP, status.RateLimit, countICMP},
	} {
		r.bothFamilies(t, v.name, func(t *testing.T, f family) {
			frame := v.frame(f)
			r.exhaustTrickles(t)
			r.trickle(t, v.which, v.most-1)
			r.judges(t, frame, passed(v.vector, noService))
			r.trickle(t, v.which, v.most)
			want := dropped(v.reason, v.vector, noService, v.by)
			r.judges(t, frame, want)
			r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldMonitor })
			r.judges(t, frame, want.monitored())
			r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldOn })
			r.trickleSince(t, v.which, now()-2e9, v.most) // another second
			r.judges(t, frame, passed(v.vector, noService))
		})
	}
	r.bothFamilies(t, "neighbour discovery is needed", func(t *testing.T, f family) {
		r.exhaustTrickles(t)
		if f.edge.Is6() {
			r.judges(t, control(135, 255)(f), untouched)
		}
	})
	for _, policy := range []uint32{fragmentsPass, fragmentsDrop} {
		r.bothFamilies(t, fmt.Sprintf("fragments by policy %d", policy), func(t *testing.T, f family) {
			want := aFragment
			if policy == fragmentsPass {
				r.exhaustTrickles(t)
			} else {
				want = dropped(status.Fragment, vectorFragment, noService, countUDP)
			}
			r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Fragments = policy })
			defer r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Fragments = fragmentsLimit })
			r.judges(t, fragment(aDatagram(f), 0, true), want)
			r.judges(t, fragment(aDatagram(f), 185, false), want)
		})
	}
}

// TestShieldReflectors: a few datagrams of ports that a client may have by chance pass, until they are many.
func TestShieldReflectors(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, port := range highReflectorPorts {
		r.bothFamilies(t, fmt.Sprintf("port %d", port), func(t *testing.T, f family) {
			number := r.numberOf(t, "plain", f)
			frame := udpTo(f, port, portPlain, "answer").frame()
			few, many := passed(vectorReflection, number), dropped(status.Reflection, vectorReflection, number, countUDP)
			r.gauges(t, number, func(g bpfGauge) bpfPressure { return bpfPressure{Reflections: g} }, 200, frame, few, many, func(p bpfPressure) bpfGauge { return p.Reflections })
		})
	}
	r.bothFamilies(t, "another service is calm", func(t *testing.T, f family) {
		r.press(t, r.numberOf(t, "plain", f), bpfPressure{Reflections: bpfGauge{Second: later(), Until: later()}})
		number := r.numberOf(t, "tight", f)
		r.judges(t, udpTo(f, 11211, portTight, "answer").frame(), passed(vectorReflection, number))
	})
	r.bothFamilies(t, "the low ones count for the high", func(t *testing.T, f family) {
		number := r.numberOf(t, "plain", f)
		r.press(t, number, bpfPressure{Reflections: bpfGauge{Second: later(), Count: 200}})
		r.judges(t, udpTo(f, 53, portPlain, "answer").frame(), dropped(status.Reflection, vectorReflection, number, countUDP))
		r.judges(t, udpTo(f, 11211, portPlain, "answer").frame(), dropped(status.Reflection, vectorReflection, number, countUDP))
	})
}

// tick is more than the shield's clock may be late: it goes forward with the timer of the kernel.
const tick = 20e6

// gauges takes a gauge over its threshold and back: it is armed for ten seconds by more than rate, and stays so by more than
// half of that.
func (r *rig) gauges(t *testing.T, number uint32, put func(bpfGauge) bpfPressure, rate uint64, frame []byte, few, many judgement, get func(bpfPressure) bpfGauge) {
	t.Helper()
	const second = uint64(1e9)
	for _, v := range []struct {
		name         string
		before       bpfGauge
		want         judgement
		armedAnew    bool
		count, until uint64
	}{
		{"nothing yet", bpfGauge{Second: later()}, few, false, 1, 0},
		{"the last that passes", bpfGauge{Second: later(), Count: rate - 1}, few, false, rate, 0},
		{"the first that does not", bpfGauge{Second: later(), Count: rate}, many, true, rate + 1, 0},
		{"many of the last second", bpfGauge{Second: now() - 2*second, Count: 10 * rate}, few, false, 1, 0},
		{"armed, few come", bpfGauge{Second: later(), Count: 1, Until: later()}, many, false, 2, later()},
		{"armed, half the rate comes", bpfGauge{Second: later(), Count: rate/2 - 1, Until: now() + 5*second}, many, false, rate / 2, 0},
		{"armed, more than that", bpfGauge{Second: later(), Count: rate / 2, Until: now() + 5*second}, many, true, rate/2 + 1, 0},
		{"over", bpfGauge{Second: later(), Count: rate / 2, Until: now() - tick}, few, false, rate/2 + 1, 0},
	} {
		r.press(t, number, put(v.before))
		before := now() - tick
		r.judges(t, frame, v.want)
		g := get(r.pressure(t, number))
		if g.Count != v.count {
			t.Errorf("%s: counted %d, want %d", v.name, g.Count, v.count)
		}
		if armed := g.Until >= before+10*second && g.Until <= now()+10*second; armed != v.armedAnew {
			t.Errorf("%s: armed for ten seconds: %t, want %t (until %d, was %d)", v.name, armed, v.armedAnew, g.Until, v.before.Until)
		}
		if t.Failed() {
			t.Fatal(v.name)
		}
	}
}

// TestShieldStrays: segments without a session are looked up by samples, and all of them once there are many.
func TestShieldStrays(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, v := range []struct {
		name   string
		flags  uint8
		vector int
	}{{"ACK", flagACK, vectorACK}, {"SYN and ACK", flagSYN | flagACK, vectorACK}, {"FIN", flagFIN | flagACK, vectorFIN}, {"RST", flagRST, vectorRST}, {"RST and ACK", flagRST | flagACK, vectorRST}} {
		r.bothFamilies(t, v.name, func(t *testing.T, f family) {
			number := r.numberOf(t, "plain", f)
			frame := tcpTo(f, portPlain, v.flags).frame()
			r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}})
			r.judges(t, frame, dropped(status.NoSession, v.vector, number, countTCP))
			r.judges(t, tcpTo(f, portPlain, flagSYN).frame(), passed(vectorSYN, number))
			r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldMonitor })
			r.judges(t, frame, dropped(status.NoSession, v.vector, number, countTCP).monitored())
			r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldOn })
		})
	}
	r.bothFamilies(t, "one in 32 is looked up", func(t *testing.T, f family) {
		const packets = 6400
		number := r.numberOf(t, "plain", f)
		frame := tcpTo(f, portPlain, flagACK).frame()
		before := r.shieldCounts(t)
		for range packets / 40 {
			r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later()}}) // it is not armed by these
			for range 40 {
				if verdict, _ := r.shieldRun(t, frame); verdict != xdpPass {
					t.Fatalf("the verdict is %d", verdict)
				}
			}
		}
		key := bpfVectorKey{Service: number, Vector: vectorACK}
		after := r.shieldCounts(t)
		got := after.vectors[key].Packets - before.vectors[key].Packets
		if got%32 != 0 || got < packets/2 || got > packets*2 {
			t.Errorf("%d packets were counted as %d", packets, got)
		}
		if bytes := after.vectors[key].Bytes - before.vectors[key].Bytes; bytes != got*uint64(len(frame)) {
			t.Errorf("%d packets have %d bytes, want %d each", got, bytes, len(frame))
		}
	})
	r.bothFamilies(t, "many arm it", func(t *testing.T, f family) {
		number := r.numberOf(t, "plain", f)
		frame := tcpTo(f, portPlain, flagACK).frame()
		r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later()}})
		for i := 0; ; i++ {
			if verdict, _ := r.shieldRun(t, frame); verdict == xdpDrop {
				break
			}
			if i > 10000 {
				t.Fatal("10000 of them do not arm it")
			}
		}
		if g := r.pressure(t, number).Strays; g.Count != 2016 { // 63 looked up
			t.Errorf("it was armed by %d, want more than 2000", g.Count)
		}
		r.judges(t, frame, dropped(status.NoSession, vectorACK, number, countTCP))
		r.judges(t, tcpTo(f, portTight, flagSYN).frame(), passed(vectorSYN, r.numberOf(t, "tight", f)))
	})
	r.bothFamilies(t, "the gauge", func(t *testing.T, f family) {
		number := r.numberOf(t, "plain", f)
		frame := tcpTo(f, portPlain, flagACK).frame()
		many := dropped(status.NoSession, vectorACK, number, countTCP)
		for _, v := range []struct {
			name   string
			before bpfGauge
			anew   bool
		}{
			{"armed, few come", bpfGauge{Second: later(), Until: now() + 5e9}, false},
			{"armed, half the rate", bpfGauge{Second: later(), Count: 999, Until: now() + 5e9}, false},
			{"armed, more than that", bpfGauge{Second: later(), Count: 1000, Until: now() + 5e9}, true},
			{"armed, another second", bpfGauge{Second: now() - 2e9, Count: 9999, Until: now() + 5e9}, false},
		} {
			r.press(t, number, bpfPressure{Strays: v.before})
			before := now() - tick
			r.judges(t, frame, many)
			if g := r.pressure(t, number).Strays; (g.Until >= before+10e9) != v.anew {
				t.Errorf("%s: armed anew: %t, want %t", v.name, !v.anew, v.anew)
			}
		}
	})
}
