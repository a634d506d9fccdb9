//go:build e2e

package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// Protocols of IP besides TCP and UDP.
const (
	protocolICMP, protocolICMP6                          = 1, 58
	protocolHop, protocolRouting, protocolFragment       = 0, 43, 44
	protocolESP, protocolAH, protocolNone, protocolOther = 50, 51, 59, 60 // 60: destination options
	protocolSCTP                                         = 132
)

// TestShapes sends packets that are not as they should be, or of no kind that the program carries, to services and into
// sessions.
func TestShapes(t *testing.T) {
	r := newRig(t, vectorPlan())
	r.each(t, "IPv4 options, IPv6 extension headers", func(t *testing.T, f family, protocol uint8) {
		p := f.opening(protocol, 40000, portPlain)
		if f.client.Is4() {
			r.leaves(t, withIP4Options(p), arrival{}, leftExtension)
			return
		}
		for _, next := range []uint8{protocolHop, protocolRouting, protocolOther} {
			extension := []byte{protocol, 0, 1, 4, 0, 0, 0, 0}
			r.leaves(t, wrapIP(p.from.Addr(), p.to.Addr(), next, 64, append(extension, p.transport()...)), arrival{}, leftExtension)
		}
	})
	r.each(t, "the first fragment, of TCP or for a header", func(t *testing.T, f family, protocol uint8) {
		port := map[uint8]uint16{protocolTCP: portPlain, protocolUDP: portV1}[protocol]
		first := fragment(f.opening(protocol, 40000, port), 0, true)
		r.drops(t, first, arrival{}, protocol, dropFragment)
		r.leaves(t, first, arrival{ifindex: 1}, leftOther)
		r.leaves(t, first, arrival{inner: true}, leftOther)
		r.must(t, r.path.Drain)
		r.leaves(t, first, arrival{}, leftOther)
		r.apply(t, vectorPlan())
		none, why := fragment(f.opening(protocol, 40000, portNothing), 0, true), leftOther
		user := fragment(f.opening(protocol, 40000, portUser), 0, true)
		if protocol == protocolUDP {
			why = leftService
		}
		r.leaves(t, none, arrival{}, why)
		r.leaves(t, user, arrival{}, why)
	})
	r.each(t, "a fragment of a session", func(t *testing.T, f family, protocol uint8) {
		port := map[uint8]uint16{protocolTCP: portPlain, protocolUDP: portSPP}[protocol]
		p := f.opening(protocol, 40000, port)
		got := r.passes(t, p.frame(), arrival{})
		answer := packet{from: got.to, to: got.from, protocol: protocol, payload: []byte("answer")}
		r.drops(t, fragment(answer, 0, true), arrival{inner: true}, protocol, dropFragment)
		r.drops(t, fragment(p, 0, true), arrival{}, protocol, dropFragment)
	})
	r.each(t, "a later fragment of nothing", func(t *testing.T, f family, protocol uint8) {
		r.leaves(t, fragment(f.opening(protocol, 40000, portPlain), 185, true), arrival{}, leftOther)
		r.leaves(t, fragment(f.opening(protocol, 40000, portPlain), 185, false), arrival{}, leftOther)
	})
	for _, f := range families {
		t.Run("a datagram in fragments/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			u := r.flow(t, f, portTight)
			for _, from := range []int{fromClient, fromOrigin} {
				a := arrival{inner: from == fromOrigin}
				whole := u.sent(from, text(1600))
				if from == fromClient {
					// The source port is known when the first fragment was carried.
					first := r.check(t, fragmentOf(whole, 0, 1000), a, verdictRedirect, func(*counts) {})
					u.source = netip.AddrPortFrom(f.source, binary.BigEndian.Uint16(first[len(first)-1000:]))
				}
				want := u.received(from, text(1600))
				for at := 0; at < 1608; at += 1000 {
					out := r.check(t, fragmentOf(whole, at, 1000), a, verdictRedirect, func(*counts) {})
					if string(out) != string(fragmentOf(want, at, 1000)) {
						t.Errorf("sent\n%x, want\n%x", out, fragmentOf(want, at, 1000))
					}
				}
				other := fragmentOf(whole, 1000, 1000)
				other[etherSize+map[int]int{ip4Size: 5, ip6Size: ip6Size + 7}[f.ip]]++ // the number of another datagram
				if f.client.Is4() {
					sumIP4(other)
				}
				r.leaves(t, other, a, leftOther)
				last := fragmentOf(whole, 1000, 1000)
				last[etherSize+map[int]int{ip4Size: 8, ip6Size: 7}[f.ip]] = 1
				if f.client.Is4() {
					sumIP4(last)
				}
				r.drops(t, last, a, protocolUDP, dropTTL)
				// Another beginning of it.
				short := fragmentOf(whole, 0, 1000)
				short = short[:len(short)-1000+4]
				setLength(short, len(short)-etherSize)
				r.leaves(t, short, a, leftOther)
				none := whole
				none.to = netip.AddrPortFrom(whole.to.Addr(), 0)
				r.leaves(t, fragmentOf(none, 0, 1000), a, map[bool]int{true: leftService, false: leftOther}[from == fromClient])
			}
		})
		t.Run("a fragment of a large datagram earns no large answer/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			u := r.flow(t, f, portTight)
			frame := fragmentOf(u.sent(fromClient, text(65000)), 0, 64)
			out := r.check(t, frame, arrival{}, verdictRedirect, func(*counts) {})
			u.source = netip.AddrPortFrom(f.source, binary.BigEndian.Uint16(out[len(out)-64:]))
			u.moves(fromOrigin, text(40), text(40))
			u.refuses(fromOrigin, text(1000), dropAmplification)
		})
	}
	r.each(t, "a first fragment that is too short for ports", func(t *testing.T, f family, protocol uint8) {
		p := f.opening(protocol, 40000, portPlain)
		whole := fragment(p, 0, true)
		short := whole[:len(whole)-len(p.transport())+3]
		setLength(short, len(short)-etherSize)
		r.leaves(t, short, arrival{}, leftOther)
	})
	for _, f := range families {
		t.Run("fragments of other protocols/"+f.name, func(t *testing.T) {
			for _, protocol := range []uint8{protocolICMP6, protocolESP, protocolSCTP} {
				p := f.opening(protocolUDP, 40000, portPlain) // as an echo whose checksum is the port of a service
				p.protocol = protocol
				r.leaves(t, fragment(p, 0, true), arrival{}, leftOther)
			}
		})
		t.Run("other protocols/"+f.name, func(t *testing.T) {
			for _, protocol := range []uint8{2, 47, protocolESP, protocolAH, protocolSCTP, protocolNone, 255} {
				p := f.opening(protocolUDP, 40000, portPlain)
				p.protocol = protocol
				r.leaves(t, p.frame(), arrival{}, leftOther)
			}
		})
		t.Run("other kinds of frames/"+f.name, func(t *testing.T) {
			for _, kind := range []uint16{0x0806, 0x8100, 0x88cc, 0x0004, 0xffff} {
				frame := f.opening(protocolTCP, 40000, portPlain).frame()
				binary.BigEndian.PutUint16(frame[12:], kind)
				r.leaves(t, frame, arrival{}, leftOther)
			}
		})
	}
	r.each(t, "a wrong version of IP", func(t *testing.T, f family, protocol uint8) {
		frame := f.opening(protocol, 40000, portPlain).frame()
		if f.client.Is4() {
			for _, first := range []byte{0x44, 0x40, 0x55, 0x65} {
				frame[etherSize] = first
				sumIP4(frame)
				r.leaves(t, frame, arrival{}, leftOther)
			}
		}
	})
	r.each(t, "IP says more than there is", func(t *testing.T, f family, protocol uint8) {
		frame := f.opening(protocol, 40000, portPlain).frame()
		for _, more := range []int{1, 100, 30000} {
			setLength(frame, len(frame)-etherSize+more)
			r.leaves(t, frame, arrival{}, leftOther) // the stack counts it
		}
	})
	r.each(t, "no room for the transport header", func(t *testing.T, f family, protocol uint8) {
		frame := f.opening(protocol, 40000, portPlain).frame()
		for _, n := range []int{0, 1, 4, 7} {
			short := frame[:etherSize+f.ip+n]
			setLength(short, f.ip+n)
			r.leaves(t, short, arrival{}, leftOther)
		}
	})
	for _, f := range families {
		t.Run("TCP headers that are wrong/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			frame := func(port uint16, doff uint8) []byte {
				p := f.opening(protocolTCP, 40000, port)
				b := p.transport()
				b[12] = doff << 4
				b[16], b[17] = 0, 0
				binary.BigEndian.PutUint16(b[16:], transportSum(p.from.Addr(), p.to.Addr(), protocolTCP, b))
				return p.wrap(b)
			}
			for _, doff := range []uint8{0, 1, 4, 6, 15} {
				r.drops(t, frame(portPlain, doff), arrival{}, protocolTCP, dropMalformed)
				r.leaves(t, frame(portNothing, doff), arrival{}, leftOther)
				r.leaves(t, frame(portUser, doff), arrival{}, leftOther)
			}
		})
		t.Run("UDP lengths that are wrong/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			frame := func(port, length uint16) []byte {
				p := f.opening(protocolUDP, 40000, port)
				b := p.transport()
				binary.BigEndian.PutUint16(b[4:], length)
				return p.wrap(b)
			}
			for _, length := range []uint16{0, 7, udpSize + 6, 1400, 65535} {
				r.drops(t, frame(portPlain, length), arrival{}, protocolUDP, dropMalformed)
				r.leaves(t, frame(portNothing, length), arrival{}, leftOther)
			}
		})
	}
	r.each(t, "port 0", func(t *testing.T, f family, protocol uint8) {
		r.drops(t, f.opening(protocol, 0, portPlain).frame(), arrival{}, protocol, dropMalformed)
		r.leaves(t, f.opening(protocol, 40000, 0).frame(), arrival{}, leftOther)
	})
	t.Run("IPv4 addresses in IPv6", func(t *testing.T) {
		for _, protocol := range []uint8{protocolTCP, protocolUDP} {
			p := families[0].opening(protocol, 40000, portPlain)
			got := r.passes(t, p.frame(), arrival{})
			mapped := func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }
			inside := p
			inside.from, inside.to = netip.AddrPortFrom(mapped(p.from.Addr()), 40000), netip.AddrPortFrom(mapped(p.to.Addr()), portPlain)
			r.leaves(t, inside.frame(), arrival{}, leftOther)
			inside.from, inside.to = netip.AddrPortFrom(mapped(got.to.Addr()), got.to.Port()), netip.AddrPortFrom(mapped(got.from.Addr()), got.from.Port())
			r.leaves(t, inside.frame(), arrival{inner: true}, leftOther)
			inside.from, inside.to = netip.AddrPortFrom(mapped(client4), 45000), netip.AddrPortFrom(mapped(edge4), portPlain)
			r.leaves(t, inside.frame(), arrival{}, leftOther)
			inside.from = netip.AddrPortFrom(client6, 45000)
			r.leaves(t, inside.frame(), arrival{}, leftOther)
		}
		r.wipe(t)
	})
	t.Run("a batch without a length", func(t *testing.T) {
		// Linux writes no length into a packet beyond 64 KiB that it put together.
		c := r.dial(t, families[0], portPlain)
		c.established()
		frame := c.sent(fromClient, dataAt(1, 1, "a batch")).frame()
		frame[16], frame[17] = 0, 0
		sumIP4(frame)
		if verdict, _ := r.run(t, frame, r.context(arrival{gso: 2})); verdict != verdictRedirect {
			t.Errorf("the verdict is %d", verdict)
		}
		if _, s := c.session(fromClient); s.Side[client].Bytes != 7 || s.Side[client].Next != c.clientISN+8 {
			t.Errorf("the client's side is %+v", s.Side[client])
		}
		r.drops(t, frame, arrival{}, protocolTCP, dropMalformed) // a single one has a length
		r.wipe(t)
	})
}

// withIP4Options writes the packet with four bytes of IPv4 options.
func withIP4Options(p packet) []byte {
	frame := p.frame()
	b := append([]byte{}, frame[:etherSize+ip4Size]...)
	b[etherSize] = 0x46
	b = append(append(b, 1, 1, 1, 0), frame[etherSize+ip4Size:]...)
	binary.BigEndian.PutUint16(b[etherSize+2:], uint16(len(b)-etherSize))
	header := b[etherSize:][:ip4Size+4]
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^sum16(header))
	return b
}

// fragment writes the packet as a fragment of a larger one. offset counts 8 bytes.
func fragment(p packet, offset uint16, more bool) []byte {
	if p.from.Addr().Is4() {
		frame := p.frame()
		field := offset
		if more {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(frame[etherSize+6:], field)
		sumIP4(frame)
		return frame
	}
	field := offset << 3
	if more {
		field |= 1
	}
	b := []byte{p.protocol, 0, uint8(field >> 8), uint8(field), 1, 2, 3, 4}
	return wrapIP(p.from.Addr(), p.to.Addr(), protocolFragment, 64, append(b, p.transport()...))
}

// fragmentOf cuts size bytes out of a datagram; at is a multiple of 8.
func fragmentOf(p packet, at, size int) []byte {
	b := p.transport()
	end := min(at+size, len(b))
	field := uint16(at) // in IPv6; in IPv4 an eighth of it
	if p.from.Addr().Is4() {
		frame := wrapIP(p.from.Addr(), p.to.Addr(), p.protocol, p.ttl, b[at:end])
		field /= 8
		if end < len(b) {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(frame[etherSize+6:], field)
		sumIP4(frame)
		return frame
	}
	if end < len(b) {
		field |= 1
	}
	extension := []byte{p.protocol, 0, uint8(field >> 8), uint8(field), 1, 2, 3, 4}
	return wrapIP(p.from.Addr(), p.to.Addr(), protocolFragment, p.ttl, append(extension, b[at:end]...))
}

// setLength writes the length of the packet into the IP header of a frame.
func setLength(frame []byte, length int) {
	if binary.BigEndian.Uint16(frame[12:]) == etherIP4 {
		binary.BigEndian.PutUint16(frame[etherSize+2:], uint16(length))
		sumIP4(frame)
		return
	}
	binary.BigEndian.PutUint16(frame[etherSize+4:], uint16(length-ip6Size))
}
