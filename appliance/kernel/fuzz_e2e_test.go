//go:build e2e

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// How a packet of the fuzz test comes in.
const (
	howInner  = 1 << iota // by the interface that leads to origins
	howSummed             // its checksums are put right first, so that those of what is sent have to be right
	howBatch              // as a batch of several
)

// prey is a rig with sessions in every state, that fuzzed packets are about.
type prey struct {
	*rig
	sessions uint64 // how many there are
	flows    uint64
	seeds    []seed
	verdicts map[int]int
}

type seed struct {
	frame []byte
	how   uint8
}

// newPrey makes the sessions. Each has the source port 20000, so that a packet that was once found is about them again.
func newPrey(t testing.TB) *prey {
	t.Helper()
	y := &prey{rig: newRig(t, vectorPlan()), verdicts: make(map[int]int)}
	y.ports(t, 20000, 20000)
	y.fill(t)
	return y
}

// fill begins all sessions anew, and writes the packets to begin with.
func (y *prey) fill(t testing.TB) {
	t.Helper()
	y.wipe(t)
	y.seeds = nil
	add := func(how uint8, p packet) { y.seeds = append(y.seeds, seed{p.frame(), how | howSummed}) }
	stamps := options(optionTimestamps(1, 2), optionSACK(3, 4, 5, 6))
	for _, f := range families {
		for _, port := range []uint16{portPlain, portV1, portV2, portClear} {
			c := y.dial(t, f, port)
			if port == portV1 {
				c.opens() // the header is still to be sent
			} else {
				c.established()
			}
			y.seed(c, f, stamps, add)
		}
		c := y.dial(t, f, portTwo)
		c.origin = netip.AddrPortFrom(f.origin, 80)
		c.syn1()
		add(0, f.opening(protocolTCP, 41000, portPlain))
		add(0, f.opening(protocolTCP, 40000, portPlain))
		add(howInner, c.sent(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 1000, options: options(optionMSS(9000), optionScale(3))}))
		for _, port := range []uint16{portV1, portV2, portSPP, portTight} {
			u := y.flow(t, f, port)
			u.source = y.passes(t, u.sent(fromClient, "hello").frame(), arrival{}).from
			add(0, u.sent(fromClient, text(300)))
			add(howInner, u.sent(fromOrigin, u.spp+text(200)))
			kind, code := f.icmp([2]uint8{3, 3}, [2]uint8{1, 4})
			y.seeds = append(y.seeds, seed{icmpError(f.router(), u.source.Addr(), 64, kind, code, 0, u.received(fromClient, "hello"), 8), howInner | howSummed})
			for _, at := range []int{0, 64, 128} {
				y.seeds = append(y.seeds, seed{fragmentOf(u.sent(fromClient, text(160)), at, 64), 0})
				y.seeds = append(y.seeds, seed{fragmentOf(u.sent(fromOrigin, text(160)), at, 64), howInner})
			}
		}
		y.seeds = append(y.seeds, seed{withOptions(f), 0})
	}
	var totals bpfTotal
	if err := y.path.objects.Totals.Lookup(uint32(0), &totals); err != nil {
		t.Fatal(err)
	}
	y.sessions, y.flows = totals.Sessions, totals.Flows
}

// syn1 sends the SYN, to whichever origin.
func (c *conn) syn1() {
	c.t.Helper()
	got := c.passes(c.t, c.sent(fromClient, synOnly).frame(), arrival{})
	c.source, c.origin = got.from, got.to
}

func withOptions(f family) []byte {
	p := f.opening(protocolTCP, 40000, portPlain)
	if f.client.Is4() {
		return withIP4Options(p)
	}
	return wrapIP(p.from.Addr(), p.to.Addr(), protocolOther, 64, append([]byte{protocolTCP, 0, 1, 4, 0, 0, 0, 0}, p.transport()...))
}

// seed adds packets of a connection.
func (y *prey) seed(c *conn, f family, with []byte, add func(uint8, packet)) {
	for _, s := range []segment{ackAt(1, 1), dataAt(1, 1, text(100)), finAt(1, 1), resetAt(1, 1), synOnly, {flags: flagSYN, seq: 9999, window: 60000}} {
		add(0, c.sent(fromClient, s))
		s.options = with
		if s.flags&flagACK != 0 {
			s.ack += c.h()
		}
		add(howInner, c.sent(fromOrigin, s))
	}
	kind, code := f.icmp([2]uint8{3, 4}, [2]uint8{2, 0})
	about := c.received(fromClient, ackAt(1, 1).moved(c.h()))
	y.seeds = append(y.seeds, seed{icmpError(f.router(), c.source.Addr(), 64, kind, code, 1280, about, 20), howInner | howSummed})
	y.seeds = append(y.seeds, seed{icmpError(f.router(), c.edge.Addr(), 64, kind, code, 1280, c.received(fromOrigin, ackAt(1, 1)), 20), howSummed})
}

// bite gives one packet to the program. Whatever it is: it goes nowhere but to the origin or client of a session, from the
// address that they know, and with a checksum that is right.
func (y *prey) bite(t testing.TB, frame []byte, how uint8) {
	t.Helper()
	const least, most = etherSize + 1, 2000 // what a test run takes
	if len(frame) < least || len(frame) > most {
		return
	}
	frame = slices.Clone(frame)
	summed := how&howSummed != 0 && putSums(frame)
	a := arrival{inner: how&howInner != 0}
	if how&howBatch != 0 {
		a.gso = 2
	}
	context := y.context(a)
	o := &ebpf.RunOptions{Data: frame, DataOut: y.output, Context: &context}
	var result uint32
	var failed error
	y.must(t, func() error {
		result, failed = y.path.objects.Path.Run(o)
		return nil
	})
	if errors.Is(failed, unix.EINVAL) && len(frame) < etherSize+ip6Size {
		return // no test run takes so little of an IP header
	}
	if failed != nil {
		t.Fatalf("run the program with %x: %v", frame, failed)
	}
	verdict := int(int32(result))
	y.verdicts[verdict]++
	switch verdict {
	case verdictNext:
		if string(o.DataOut) != string(frame) {
			t.Errorf("what is left to the stack was changed:\n%x, was\n%x", o.DataOut, frame)
		}
	case verdictDrop:
	case verdictRedirect:
		if err := y.allowed(o.DataOut, frame, summed); err != nil {
			t.Errorf("%v: sent\n%x for\n%x", err, o.DataOut, frame)
		}
	default:
		t.Errorf("the verdict on %x is %d", frame, verdict)
	}
	y.heal(t)
}

// allowed tells what is wrong with a packet that is sent.
func (y *prey) allowed(out, in []byte, summed bool) error {
	from, to, protocol, ttl, b, err := looseIP(out)
	if err != nil {
		return err
	}
	came, _, _, before, _, err := looseIP(in)
	if err != nil {
		return fmt.Errorf("of what came: %w", err)
	}
	if ttl != before-1 {
		return fmt.Errorf("%d hops are left of %d", ttl, before)
	}
	f := families[0]
	if from.Is6() {
		f = families[1]
	}
	client := to == f.client || to == came // a new client's own address, to which a challenge goes
	origin := to == f.origin || to == f.second
	switch {
	case from == f.edge && client:
	case from == f.source && origin:
	case (from == f.client || from == came) && origin: // transparent
	default:
		return fmt.Errorf("from %s to %s", from, to)
	}
	if !summed {
		return nil
	}
	if at, ok := sumAt(protocol, b); ok && !(protocol == protocolUDP && b[at] == 0 && b[at+1] == 0) {
		if sum := looseSum(from, to, protocol, b); sum != 0xffff {
			return fmt.Errorf("the checksum of protocol %d is wrong by %#04x", protocol, ^sum)
		}
	}
	if from.Is4() && sum16(out[etherSize:][:ip4Size]) != 0xffff {
		return errors.New("the checksum of IPv4 is wrong")
	}
	return nil
}

// looseIP reads an IP header without any judgement but that it is there.
func looseIP(frame []byte) (from, to netip.Addr, protocol, ttl uint8, b []byte, err error) {
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == etherIP4 && len(frame) >= etherSize+ip4Size:
		ip := frame[etherSize:]
		length := int(binary.BigEndian.Uint16(ip[2:]))
		if length < ip4Size || length > len(ip) {
			length = len(ip) // a batch
		}
		if protocol = ip[9]; binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
			protocol = protocolFragment // as in IPv6: what follows is no header
		}
		return netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), protocol, ip[8], ip[ip4Size:length], nil
	case kind == etherIP6 && len(frame) >= etherSize+ip6Size:
		ip := frame[etherSize:]
		length := ip6Size + int(binary.BigEndian.Uint16(ip[4:]))
		if length == ip6Size || length > len(ip) {
			length = len(ip)
		}
		return netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[6], ip[7], ip[ip6Size:length], nil
	}
	return from, to, 0, 0, nil, errors.New("there is no IP header")
}

// sumAt is where the checksum of a transport header is.
func sumAt(protocol uint8, b []byte) (int, bool) {
	switch {
	case protocol == protocolTCP && len(b) >= tcpSize:
		return 16, true
	case protocol == protocolUDP && len(b) >= udpSize:
		length := int(binary.BigEndian.Uint16(b[4:]))
		return 6, length >= udpSize && length <= len(b)
	case (protocol == protocolICMP || protocol == protocolICMP6) && len(b) >= 8:
		return 2, true
	}
	return 0, false
}

// looseSum is 0xffff if the checksum is right. UDP sums up what its own length says.
func looseSum(from, to netip.Addr, protocol uint8, b []byte) uint16 {
	switch protocol {
	case protocolICMP:
		return sum16(b)
	case protocolUDP:
		b = b[:binary.BigEndian.Uint16(b[4:])]
	}
	return sum16(from.AsSlice(), to.AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(b))), []byte{0, protocol}, b)
}

// putSums puts the checksums of a frame right, from the inside out, and tells whether it could.
func putSums(frame []byte) bool {
	from, to, protocol, _, b, err := looseIP(frame)
	if err != nil {
		return false
	}
	if from.Is4() {
		if frame[etherSize] != 0x45 {
			return false
		}
		sumIP4(frame)
	}
	if protocol == protocolICMP && len(b) >= 8+ip4Size {
		inner := b[8:][:ip4Size]
		inner[10], inner[11] = 0, 0
		binary.BigEndian.PutUint16(inner[10:], ^sum16(inner))
	}
	at, ok := sumAt(protocol, b)
	if !ok {
		return false
	}
	if protocol == protocolUDP && b[at] == 0 && b[at+1] == 0 {
		return true
	}
	b[at], b[at+1] = 0, 0
	sum := ^looseSum(from, to, protocol, b)
	if sum == 0 && protocol == protocolUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], sum)
	return true
}

// heal begins anew when a packet has begun or ended a session.
func (y *prey) heal(t testing.TB) {
	t.Helper()
	var totals bpfTotal
	if err := y.path.objects.Totals.Lookup(uint32(0), &totals); err != nil {
		t.Fatal(err)
	}
	if totals.Sessions != y.sessions || totals.Flows != y.flows {
		y.fill(t)
	}
}

// mutate changes a packet in a few places.
func mutate(random *rand.Rand, frame []byte) []byte {
	b := slices.Clone(frame)
	for range 1 + random.IntN(4) {
		if len(b) <= etherSize+1 {
			return b
		}
		at := etherSize + random.IntN(len(b)-etherSize)
		switch random.IntN(8) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b[at] = uint8(random.Uint32())
		case 2:
			b[at] = []byte{0, 1, 5, 8, 0x7f, 0x80, 0xff, 0x45, 0x60}[random.IntN(9)]
		case 3:
			b = b[:at]
		case 4:
			b = append(b, make([]byte, random.IntN(200))...)
		case 5: // in the headers, where it matters
			at = etherSize + random.IntN(min(80, len(b)-etherSize))
			b[at] = uint8(random.Uint32())
		case 6: // twice the same piece
			end := min(at+1+random.IntN(40), len(b))
			b = slices.Insert(b, at, slices.Clone(b[at:end])...)
		case 7: // without a piece
			b = slices.Delete(b, at, min(at+1+random.IntN(20), len(b)))
		}
	}
	return b
}

// TestMutations: packets that are nearly those of sessions do no harm.
func TestMutations(t *testing.T) {
	y := newPrey(t)
	random := rand.New(rand.NewPCG(7, 8))
	const packets = 6000
	for range packets {
		s := y.seeds[random.IntN(len(y.seeds))]
		how := s.how
		if random.IntN(10) == 0 {
			how ^= uint8(random.IntN(8))
		}
		if y.bite(t, mutate(random, s.frame), how); t.Failed() {
			break
		}
	}
	for _, verdict := range []int{verdictNext, verdictDrop, verdictRedirect} {
		if y.verdicts[verdict] < packets/20 {
			t.Errorf("the verdicts were %v: too few of %d to tell anything", y.verdicts, verdict)
		}
	}
	y.wipe(t)
}

// FuzzProgram gives any packets to the program.
func FuzzProgram(f *testing.F) {
	y := newPrey(f)
	for _, s := range y.seeds {
		f.Add(s.frame, s.how)
	}
	f.Fuzz(func(t *testing.T, frame []byte, how uint8) { y.bite(t, frame, how) })
}
