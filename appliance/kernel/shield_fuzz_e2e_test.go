//go:build e2e

package kernel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"breakwater/appliance/status"
)

// duel is a rig whose shield is compared with the model, packet by packet.
type duel struct {
	*rig
	model    shieldModel
	monitor  bool
	probe    probeObjects
	readings *ebpf.Memory
	samples  *ringbuf.Reader
	services []uint32 // numbers
	sessions map[bpfTuple]bool
	want     shieldCounts
	kinds    [frameBuried + 1]int
	verdicts map[judgement]int
}

func newDuel(t testing.TB) *duel {
	t.Helper()
	d := &duel{rig: newRig(t, shieldPlan()), sessions: make(map[bpfTuple]bool), verdicts: make(map[judgement]int)}
	if err := loadProbeObjects(&d.probe, nil); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { _ = d.probe.Close() })
	var err error
	if d.readings, err = d.probe.Readings.Memory(); err != nil {
		t.Fatal(err)
	}
	if d.samples, err = ringbuf.NewReader(d.path.objects.Samples); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.samples.Close() })
	d.samples.SetDeadline(time.Unix(1, 0))
	for _, s := range d.path.tables.services {
		d.services = append(d.services, s.Number)
	}
	d.model = *modelOf(d.rig)
	for _, f := range families {
		for _, protocol := range []uint8{protocolTCP, protocolUDP} {
			d.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{})
		}
	}
	d.trust(t)
	var tuple bpfTuple
	var ref bpfRef
	for all := d.path.objects.Tuples.Iterate(); all.Next(&tuple, &ref); {
		d.sessions[tuple] = true
	}
	d.model.session = func(r reading) bool {
		return d.sessions[bpfTuple{
			Src: r.from.Addr().As16(), Dst: r.to.Addr().As16(), Sport: htons(r.from.Port()), Dport: htons(r.to.Port()), Protocol: r.protocol,
		}]
	}
	return d
}

// round chooses what the shield has seen and is told, for the packets that follow.
func (d *duel) round(t testing.TB, random *rand.Rand) {
	t.Helper()
	flip := func() bool { return random.IntN(2) == 0 }
	d.model.bogons, d.model.exhausted, d.model.strays, d.model.reflection = flip(), flip(), flip(), flip()
	d.model.fragments, d.monitor = random.Uint32N(3), random.IntN(4) == 0
	d.shieldMode(t, func(c *bpfShieldConfiguration) {
		c.Mode, c.Fragments, c.Bogons = shieldOn, d.model.fragments, 0
		if d.monitor {
			c.Mode = shieldMonitor
		}
		if d.model.bogons {
			c.Bogons = 1
		}
	})
	if d.model.exhausted {
		d.exhaustTrickles(t)
	} else {
		d.trickled(t, 0)
	}
	for i := range uint32(trickleCount - trickleAddresses) { // also samples
		d.trickle(t, trickleAddresses+i, 0)
	}
	p := bpfPressure{Strays: bpfGauge{Second: later()}, Reflections: bpfGauge{Second: later()}}
	if d.model.strays {
		p.Strays.Until = later()
	}
	if d.model.reflection {
		p.Reflections.Until = later()
	}
	for _, number := range d.services {
		d.press(t, number, p)
	}
}

// meet gives one frame to both, and tells what is different. It runs in the namespace.
func (d *duel) meet(frame []byte) error {
	o := &ebpf.RunOptions{Data: frame}
	if _, err := d.probe.Probe.Run(o); err != nil {
		return err
	}
	r, want := d.model.judge(frame)
	d.kinds[r.kind]++
	if err := d.compareReading(frame, r); err != nil {
		return err
	}
	verdict, err := d.path.objects.Shield.Run(o)
	if err != nil {
		return err
	}
	sampled, got, err := d.sample(frame)
	if err != nil {
		return err
	}
	byChance := want.weight > 1
	if sampled || !byChance {
		d.want.add(want, len(frame), d.monitor)
	}
	key := want
	key.service, key.by = 0, 0
	d.verdicts[key]++
	if d.monitor {
		want = want.monitored()
	}
	got.verdict = int(verdict)
	if !sampled && (byChance || want.vector == vectorNone) {
		got.vector, got.service, got.reason = want.vector, want.service, want.reason
	}
	got.by, got.weight = want.by, want.weight
	if got != want {
		return fmt.Errorf("judged %+v, want %+v (%+v)", got, want, r)
	}
	return nil
}

// sample reads what the shield kept of the packet.
func (d *duel) sample(frame []byte) (bool, judgement, error) {
	if d.samples.AvailableBytes() == 0 {
		return false, judgement{vector: vectorNone}, nil
	}
	var record ringbuf.Record
	if err := d.samples.ReadInto(&record); err != nil {
		return false, judgement{}, err
	}
	s := (*bpfSample)(unsafe.Pointer(&record.RawSample[0]))
	size := min(len(frame), len(s.Bytes))
	if int(s.Length) != len(frame) || int(s.Size) != size || string(s.Bytes[:size]) != string(frame[:size]) {
		return false, judgement{}, fmt.Errorf("the sample has %d of %d bytes: %x", s.Size, s.Length, s.Bytes)
	}
	return true, judgement{vector: int(s.Vector), reason: status.Reason(s.Reason), service: s.Service}, nil
}

// compareReading compares what both have read.
func (d *duel) compareReading(frame []byte, want reading) error {
	var raw [unsafe.Sizeof(probeReading{})]byte
	if _, err := d.readings.ReadAt(raw[:], 0); err != nil {
		return err
	}
	p := (*probeReading)(unsafe.Pointer(&raw[0]))
	f := &p.Frame
	if int(p.Kind) != want.kind {
		return fmt.Errorf("read as kind %d, want %d (%+v)", p.Kind, want.kind, want)
	}
	if want.kind == frameForeign || want.kind == frameBuried {
		return nil
	}
	got := reading{
		kind: want.kind, protocol: f.Protocol, ttl: f.Ttl,
		from: netip.AddrPortFrom(netip.AddrFrom16(f.Tuple.Src), htons(f.Tuple.Sport)), to: netip.AddrPortFrom(netip.AddrFrom16(f.Tuple.Dst), htons(f.Tuple.Dport)),
	}
	if f.V4 {
		got.from, got.to = netip.AddrPortFrom(got.from.Addr().Unmap(), got.from.Port()), netip.AddrPortFrom(got.to.Addr().Unmap(), got.to.Port())
	}
	payload := want.payload
	want.payload = nil
	switch want.kind {
	case frameBroken: // as far as it was read
		got.from, got.to = want.from, want.to
		got.transport, got.flags, got.seq, got.ack = want.transport, want.flags, want.seq, want.ack
	case frameWhole, frameBogus, frameICMP, frameStrange:
		got.transport, got.flags, got.seq, got.ack, got.icmp = int(f.Transport), f.Flags, f.Seq, f.Ack, f.Type
	}
	if want.kind == frameWhole && string(frame[f.Payload:][:f.Size]) != string(payload) {
		return fmt.Errorf("read a payload of %d bytes at %d, want %x", f.Size, f.Payload, payload)
	}
	if want.kind == frameStrange {
		got.transport = want.transport
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || int(f.Length) != len(frame) {
		return fmt.Errorf("read %+v of %d bytes, want %+v", got, f.Length, want)
	}
	return nil
}

// TestShieldModel: the shield reads and judges random packets as the model does. BREAKWATER_FUZZ is how many.
func TestShieldModel(t *testing.T) {
	packets := 50000
	if text := os.Getenv("BREAKWATER_FUZZ"); text != "" {
		var err error
		if packets, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	d := newDuel(t)
	random := rand.New(rand.NewPCG(9, uint64(packets)))
	const perRound = 40 // fewer than trickle through
	d.want = d.shieldCounts(t)
	for done := 0; done < packets && !t.Failed(); done += perRound {
		d.round(t, random)
		d.must(t, func() error {
			for range perRound {
				frame := d.invent(random)
				if err := d.meet(frame); err != nil {
					t.Errorf("%x: %v", frame, err)
					return nil
				}
			}
			return nil
		})
	}
	for _, line := range d.shieldCounts(t).diff(d.want) {
		t.Error(line)
	}
	for kind, n := range d.kinds {
		if n < packets/2000 {
			t.Errorf("%d of %d packets were of kind %d: too few to tell anything", n, packets, kind)
		}
	}
	for _, reason := range []status.Reason{
		status.Malformed, status.BogusFlags, status.Bogon, status.OtherProtocol, status.RateLimit, status.Fragment, status.NoService,
		status.NoSession, status.Reflection,
	} {
		if n := d.count(func(j judgement) bool { return j.reason == reason }); n < packets/2000 {
			t.Errorf("%d of %d packets were dropped for %s: too few to tell anything", n, packets, reason)
		}
	}
	for vector := range vectorCount {
		if n := d.count(func(j judgement) bool { return j.vector == vector }); n < packets/2000 {
			t.Errorf("%d of %d packets were of %s: too few to tell anything", n, packets, vectorNames[vector])
		}
	}
}

func (d *duel) count(is func(judgement) bool) (n int) {
	for j, times := range d.verdicts {
		if is(j) {
			n += times
		}
	}
	return n
}

// choose is one of a list.
func choose[T any](random *rand.Rand, list ...T) T { return list[random.IntN(len(list))] }

// invent makes a packet: most are as they should be, some have a few bytes changed.
func (d *duel) invent(random *rand.Rand) []byte {
	f := choose(random, families...)
	from, to := inventSource(random, f), choose(random, f.edge, f.edge, f.edge, f.idle(), f.foreign())
	body, protocol := inventBody(random)
	var b []byte
	if f.edge.Is4() {
		b = invent4(random, from, to, protocol, body)
	} else {
		b = invent6(random, from, to, protocol, body)
	}
	if random.IntN(3) == 0 {
		b = mutate(random, b)
	}
	for range choose(random, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3) {
		b = tagged(b, choose[uint16](random, 0x8100, 0x88a8), uint16(random.Uint32()))
	}
	if random.IntN(50) == 0 {
		b[12+random.IntN(2)] = uint8(random.Uint32())
	}
	if random.IntN(20) == 0 {
		b = append(b, make([]byte, random.IntN(40))...)
	}
	if random.IntN(20) == 0 {
		b = b[:max(etherSize+1, random.IntN(len(b)+1))]
	}
	return b
}

// tagged puts a VLAN tag in front of what is there.
func tagged(frame []byte, kind, control uint16) []byte {
	return slices.Concat(frame[:12], binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, kind), control), frame[12:])
}

func inventSource(random *rand.Rand, f family) netip.Addr {
	if random.IntN(3) > 0 {
		return f.client
	}
	if a := choose(random, f.edge, f.idle(), f.origin, f.foreign()); random.IntN(4) == 0 {
		return a
	}
	for _, i := range random.Perm(len(nobody) + len(private)) {
		p := append(slices.Clone(nobody), private...)[i]
		if p.Addr().Is4() != f.edge.Is4() || random.IntN(2) == 0 {
			continue
		}
		if behind := prefixEnd(p).Next(); behind.IsValid() && random.IntN(2) == 0 {
			return behind // the first that is not one
		}
		return p.Addr()
	}
	b := f.client.AsSlice()
	for i := range b {
		if random.IntN(2) == 0 {
			b[i] = uint8(random.Uint32())
		}
	}
	a, _ := netip.AddrFromSlice(b) // as long as it was
	return a
}

// inventBody makes what is behind the headers of IP.
func inventBody(random *rand.Rand) (b []byte, protocol uint8) {
	word := func(list ...uint16) {
		n := uint16(random.Uint32())
		if random.IntN(8) > 0 {
			n = choose(random, list...)
		}
		b = binary.BigEndian.AppendUint16(b, n)
	}
	source := func() {
		word(append(append([]uint16{40000, 40000, 40000, 40000, 40000, 50000, 1024, 0}, reflectorPorts...), highReflectorPorts...)...)
		word(portPlain, portPlain, portPlain, portV1, portUser, portOne+50, portNarrow, portNothing, 0)
	}
	payload := choose(random, "", "hello", text(33), text(200), "\xff\xff\xff\xffTSource", "\x01"+text(32), "\x01"+text(24), "\xfe\xfdstat", "\xff\xff\xff")
	switch random.IntN(10) {
	case 0, 1, 2, 3:
		source()
		b = binary.BigEndian.AppendUint64(b, random.Uint64())
		flags := choose[uint8](random, flagSYN, flagACK, flagACK|flagPSH, flagACK|flagFIN, flagRST, flagRST|flagACK, flagSYN|flagACK, uint8(random.Uint32()))
		options := random.IntN(11) * 4 * random.IntN(2)
		b = append(b, uint8(tcpSize+options)<<2|uint8(random.IntN(16)), flags, 1, 2, 3, 4, 5, 6)
		return append(append(b, make([]byte, options)...), payload...), protocolTCP
	case 4, 5, 6, 7:
		source()
		b = binary.BigEndian.AppendUint16(b, uint16(udpSize+len(payload)))
		return append(append(b, 1, 2), payload...), protocolUDP
	case 8:
		kind := choose[uint8](random, 0, 3, 8, 11, 1, 2, 128, 129, 133, 135, 136, 137, 138, uint8(random.Uint32()))
		return append(append(b, kind, 0, 1, 2, 3, 4, 5, 6), payload...), choose[uint8](random, protocolICMP, protocolICMP6)
	}
	return []byte(payload), choose[uint8](random, 2, 41, 47, protocolESP, protocolAH, protocolNone, protocolSCTP, uint8(random.Uint32()))
}

func invent4(random *rand.Rand, from, to netip.Addr, protocol uint8, body []byte) []byte {
	ttl := choose[uint8](random, 64, 255, 1, 0)
	b := wrapIP(from, to, protocol, ttl, body)
	b[etherSize+8] = ttl
	if random.IntN(6) == 0 {
		options := 4 * (1 + random.IntN(10))
		b = slices.Insert(b, etherSize+ip4Size, make([]byte, options)...)
		b[etherSize] += uint8(options / 4)
		binary.BigEndian.PutUint16(b[etherSize+2:], uint16(len(b)-etherSize))
	}
	if random.IntN(8) == 0 {
		binary.BigEndian.PutUint16(b[etherSize+6:], choose[uint16](random, 0x2000, 0x2001, 1, 0x8000, 0x1fff, uint16(random.Uint32())))
	}
	return b
}

func invent6(random *rand.Rand, from, to netip.Addr, protocol uint8, body []byte) []byte {
	for range random.IntN(9) * random.IntN(2) * random.IntN(2) {
		kind := choose[uint8](random, protocolHop, protocolRouting, protocolOther, protocolFragment)
		extension := []byte{protocol, 0, uint8(random.Uint32()), uint8(random.Uint32()), 0, 0, 0, 0}
		if kind == protocolFragment && random.IntN(2) == 0 {
			extension[2], extension[3] = 0, 1
		}
		if kind != protocolFragment {
			extension[1] = choose[uint8](random, 0, 0, 0, 1, 2, 7, 31)
			extension = append(extension, make([]byte, int(extension[1])*8)...)
		}
		body, protocol = append(extension, body...), kind
	}
	ttl := choose[uint8](random, 64, 255, 1, 0)
	b := wrapIP(from, to, protocol, ttl, body)
	b[etherSize+7] = ttl
	return b
}
