package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Shape is a kind of packet, of which some parts are different each time: the addresses within their prefixes, ports that
// were left open, sequence numbers, identifications. Checksums are right.
type Shape struct {
	frame               []byte // from the Ethernet header on, with zeros where fields are
	fields              []field
	sumAt, headerSumAt  int
	from, to            netip.Prefix
	transport, protocol int // where the transport's header is, and what is in the pseudo header
}

// field is four bytes of a frame; see flood.c.
type field struct {
	offset       int
	base, varies [4]byte
	sums         uint32
}

// The sums that a field is part of.
const (
	inTransport = 1
	inHeader    = 2
)

// Ends are where packets come from and go to: any address of a prefix, and a port, or any where it is 0.
type Ends struct {
	From, To         netip.Prefix
	FromPort, ToPort uint16
}

// Flags of TCP (RFC 9293, section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

const (
	etherSize  = 14
	icmpv4     = 1
	tcp        = 6
	udp        = 17
	icmpv6     = 58
	fragmented = 44 // the extension header of IPv6
)

// TCP makes segments with these flags and random numbers. One with SYN alone has the options that systems send.
func TCP(e Ends, flags byte, payload []byte) Shape {
	var options []byte
	if flags == SYN { // MSS 1460, SACK permitted, timestamps left out, window scale 7
		options = []byte{2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7}
	}
	head := make([]byte, 20)
	head[12], head[13] = byte((20+len(options))/4<<4), flags
	binary.BigEndian.PutUint16(head[14:], 64240)
	s := packet(e, tcp, concat(head, options, payload))
	s.ports(e)
	s.vary(s.transport+4, [4]byte{}, ones, inTransport)
	if flags&ACK != 0 {
		s.vary(s.transport+8, [4]byte{}, ones, inTransport)
	}
	s.sumAt = s.transport + 16
	return s
}

// UDP makes datagrams with a payload.
func UDP(e Ends, payload []byte) Shape {
	head := make([]byte, 8)
	binary.BigEndian.PutUint16(head[4:], uint16(8+len(payload)))
	s := packet(e, udp, concat(head, payload))
	s.ports(e)
	s.sumAt = s.transport + 6
	return s
}

// Echo makes the requests of ping.
func Echo(e Ends, payload []byte) Shape {
	protocol, kind := icmpv4, byte(8)
	if e.To.Addr().Is6() {
		protocol, kind = icmpv6, 128
	}
	s := packet(e, protocol, concat([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, payload))
	s.vary(s.transport+4, [4]byte{}, ones, inTransport)
	s.sumAt = s.transport + 2
	return s
}

// Fragment makes parts of UDP datagrams of which the rest never comes: first parts, or later ones, which have no ports.
func Fragment(e Ends, later bool, payload []byte) Shape {
	head := make([]byte, 8)
	binary.BigEndian.PutUint16(head[4:], uint16(8+2*len(payload)))
	place := uint16(0)
	if later {
		place = 185 << 3 // 1480 bytes
	}
	body := concat(head, payload)
	body = body[:len(body)&^7]
	if e.To.Addr().Is4() {
		s := packet(e, udp, body)
		binary.BigEndian.PutUint16(s.frame[etherSize+6:], place>>3|1<<13) // more fragments follow
		s.vary(etherSize+4, [4]byte{0, 0, s.frame[etherSize+6], s.frame[etherSize+7]}, [4]byte{255, 255}, inHeader)
		s.portsUnless(later, e)
		return s
	}
	extension := []byte{udp, 0, byte(place >> 8), byte(place) | 1, 0, 0, 0, 0}
	s := packet(e, fragmented, concat(extension, body))
	s.vary(s.transport+4, [4]byte{}, ones, 0)
	s.transport += 8
	s.portsUnless(later, e)
	return s
}

var ones = [4]byte{255, 255, 255, 255}

// packet puts Ethernet and IP in front of what the transport says.
func packet(e Ends, protocol int, body []byte) Shape {
	s := Shape{from: e.From, to: e.To, protocol: protocol}
	if e.From.Addr().Is4() {
		s.transport, s.headerSumAt = etherSize+20, etherSize+10
		s.frame = concat(make([]byte, etherSize+20), body)
		ip := s.frame[etherSize:]
		ip[0], ip[8], ip[9] = 0x45, 57, byte(protocol)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(s.frame[12:], 0x0800)
		sums := uint32(inTransport | inHeader)
		if protocol == icmpv4 { // which has no pseudo header
			sums = inHeader
		}
		s.address(etherSize+12, e.From, sums)
		s.address(etherSize+16, e.To, sums)
		return s
	}
	s.transport = etherSize + 40
	s.frame = concat(make([]byte, etherSize+40), body)
	ip := s.frame[etherSize:]
	ip[0], ip[6], ip[7] = 0x60, byte(protocol), 57
	binary.BigEndian.PutUint16(ip[4:], uint16(len(body)))
	binary.BigEndian.PutUint16(s.frame[12:], 0x86dd)
	s.address(etherSize+8, e.From, inTransport)
	s.address(etherSize+24, e.To, inTransport)
	return s
}

// address writes what is certain of a prefix and leaves the rest to chance.
func (s *Shape) address(offset int, p netip.Prefix, sums uint32) {
	raw := p.Masked().Addr().AsSlice()
	mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	for i := 0; i < len(raw); i += 4 {
		if varies := not([4]byte(mask[i:])); varies != [4]byte{} {
			s.vary(offset+i, [4]byte(raw[i:]), varies, sums)
			continue
		}
		copy(s.frame[offset+i:], raw[i:i+4])
	}
}

func (s *Shape) ports(e Ends) {
	base, varies := [4]byte{}, [4]byte{}
	binary.BigEndian.PutUint16(base[:], e.FromPort)
	binary.BigEndian.PutUint16(base[2:], e.ToPort)
	if e.FromPort == 0 {
		varies[0], varies[1] = 255, 255
	}
	if e.ToPort == 0 {
		varies[2], varies[3] = 255, 255
	}
	s.vary(s.transport, base, varies, inTransport)
}

func (s *Shape) portsUnless(later bool, e Ends) {
	if !later {
		s.ports(e)
	}
}

func (s *Shape) vary(offset int, base, varies [4]byte, sums uint32) {
	copy(s.frame[offset:], make([]byte, 4))
	s.fields = append(s.fields, field{offset, base, varies, sums})
}

// sums add up all that is no field: what the transport's checksum covers, and the IPv4 header.
func (s Shape) sums() (transport, header uint32) {
	if s.headerSumAt > 0 {
		header = add(s.frame[etherSize : etherSize+20])
		transport = add(s.frame[etherSize+12 : etherSize+20])
	} else {
		transport = add(s.frame[etherSize+8 : etherSize+40])
	}
	if s.protocol == icmpv4 {
		transport = 0
	} else {
		var pseudo [4]byte
		binary.BigEndian.PutUint16(pseudo[:], uint16(len(s.frame)-s.transport))
		pseudo[3] = byte(s.protocol)
		transport += add(pseudo[:])
	}
	return transport + add(s.frame[s.transport:]), header
}

// add is the sum of 16-bit words as they lie (RFC 1071, section 2).
func add(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.NativeEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(binary.NativeEndian.Uint16([]byte{b[len(b)-1], 0}))
	}
	return sum
}

// Everything that may be a source or a destination: networks for documentation and benchmarks (RFC 2544, RFC 3849).
var allowed = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8::/32")}

// check refuses what must not leave a test.
func (s Shape) check() error {
	for _, p := range []netip.Prefix{s.from, s.to} {
		inside := false
		for _, a := range allowed {
			inside = inside || a.Contains(p.Addr()) && a.Bits() <= p.Bits()
		}
		if !inside {
			return fmt.Errorf("%s is not within %s or %s", p, allowed[0], allowed[1])
		}
	}
	switch {
	case s.from.Addr().Is4() != s.to.Addr().Is4():
		return fmt.Errorf("%s and %s are of two IP versions", s.from, s.to)
	case len(s.frame) > maxFrame:
		return fmt.Errorf("a frame of %d bytes is longer than %d", len(s.frame), maxFrame)
	case len(s.fields) > maxFields:
		return errors.New("more differs from packet to packet than there is room for")
	}
	return nil
}

func not(b [4]byte) [4]byte {
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// word is four bytes as a program reads them.
func word(b [4]byte) uint32 { return binary.NativeEndian.Uint32(b[:]) }
