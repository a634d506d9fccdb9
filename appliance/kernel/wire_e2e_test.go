//go:build e2e

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// packet is one TCP segment or UDP datagram in one Ethernet frame, as these tests write and read them.
type packet struct {
	from, to netip.AddrPort
	protocol uint8 // protocolTCP, protocolUDP
	ttl      uint8 // 0: 64
	payload  []byte

	// TCP
	flags    uint8
	seq, ack uint32
	window   uint16
	urgent   uint16
	options  []byte // a multiple of 4

	unsummed bool // UDP without a checksum
}

// Flags of TCP.
const (
	flagFIN, flagSYN, flagRST, flagPSH, flagACK, flagURG = 1, 2, 4, 8, 16, 32
)

const (
	etherSize, ip4Size, ip6Size, tcpSize, udpSize = 14, 20, 40, 20, 8
	etherIP4, etherIP6                            = 0x0800, 0x86dd
)

// frame writes the packet with all its checksums.
func (p packet) frame() []byte {
	return p.wrap(p.transport())
}

// transport writes the TCP or UDP header and the payload.
func (p packet) transport() []byte {
	var b []byte
	b = binary.BigEndian.AppendUint16(b, p.from.Port())
	b = binary.BigEndian.AppendUint16(b, p.to.Port())
	at := 16
	if p.protocol == protocolTCP {
		b = binary.BigEndian.AppendUint32(b, p.seq)
		b = binary.BigEndian.AppendUint32(b, p.ack)
		b = append(b, uint8((tcpSize+len(p.options))/4)<<4, p.flags)
		b = binary.BigEndian.AppendUint16(b, p.window)
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint16(b, p.urgent)
		b = append(b, p.options...)
	} else {
		at = 6
		b = binary.BigEndian.AppendUint16(b, uint16(udpSize+len(p.payload)))
		b = append(b, 0, 0)
	}
	b = append(b, p.payload...)
	if !p.unsummed {
		binary.BigEndian.PutUint16(b[at:], transportSum(p.from.Addr(), p.to.Addr(), p.protocol, b))
	}
	return b
}

// wrap puts the IP header and the Ethernet header in front.
func (p packet) wrap(transport []byte) []byte {
	return wrapIP(p.from.Addr(), p.to.Addr(), p.protocol, p.ttl, transport)
}

func wrapIP(from, to netip.Addr, protocol, ttl uint8, payload []byte) []byte {
	if ttl == 0 {
		ttl = 64
	}
	b := make([]byte, 12, etherSize+ip6Size+len(payload))
	if from.Is4() {
		b = binary.BigEndian.AppendUint16(b, etherIP4)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(ip4Size+len(payload)))
		b = append(b, 0x12, 0x34, 0x40, 0, ttl, protocol, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, etherIP6)
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
		b = append(b, protocol, ttl)
	}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	if from.Is4() {
		sumIP4(b)
	}
	return append(b, payload...)
}

// sumIP4 writes the checksum of the IPv4 header of a frame.
func sumIP4(frame []byte) {
	header := frame[etherSize:][:ip4Size]
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^sum16(header))
}

// sum16 is the ones' complement sum of RFC 1071.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := range b {
			if i%2 == 0 {
				sum += uint32(b[i]) << 8
			} else {
				sum += uint32(b[i])
			}
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// transportSum is the checksum of a segment or datagram whose own field is zero. UDP writes 0 as 0xffff (RFC 768).
func transportSum(from, to netip.Addr, protocol uint8, b []byte) uint16 {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	sum := ^sum16(from.AsSlice(), to.AsSlice(), length, []byte{0, protocol}, b)
	if sum == 0 && protocol == protocolUDP {
		return 0xffff
	}
	return sum
}

// readFrame reads a frame and checks every length and checksum in it.
func readFrame(frame []byte) (packet, error) {
	from, to, protocol, ttl, b, err := readIP(frame)
	if err != nil {
		return packet{}, err
	}
	p := packet{protocol: protocol, ttl: ttl}
	switch {
	case protocol == protocolTCP && len(b) >= tcpSize:
		header := int(b[12]>>4) * 4
		if header < tcpSize || header > len(b) {
			return packet{}, fmt.Errorf("a TCP header of %d bytes in a segment of %d", header, len(b))
		}
		p.seq, p.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		p.flags, p.window, p.urgent = b[13], binary.BigEndian.Uint16(b[14:]), binary.BigEndian.Uint16(b[18:])
		p.options, p.payload = b[tcpSize:header], b[header:]
	case protocol == protocolUDP && len(b) >= udpSize:
		if length := int(binary.BigEndian.Uint16(b[4:])); length != len(b) {
			return packet{}, fmt.Errorf("UDP says %d bytes, there are %d", length, len(b))
		}
		p.unsummed = b[6] == 0 && b[7] == 0
		p.payload = b[udpSize:]
	default:
		return packet{}, fmt.Errorf("protocol %d with %d bytes", protocol, len(b))
	}
	if !p.unsummed {
		if sum := sum16(from.AsSlice(), to.AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(b))), []byte{0, protocol}, b); sum != 0xffff {
			return packet{}, fmt.Errorf("the checksum of protocol %d is wrong by %#04x", protocol, ^sum)
		}
	}
	p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	return p, nil
}

// readIP reads the IP header of a frame; what Ethernet padded is no part of the payload.
func readIP(frame []byte) (from, to netip.Addr, protocol, ttl uint8, payload []byte, err error) {
	if len(frame) < etherSize+ip4Size {
		return from, to, 0, 0, nil, fmt.Errorf("a frame of %d bytes", len(frame))
	}
	b := frame[etherSize:]
	length := 0
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherIP4:
		if b[0] != 0x45 || sum16(b[:ip4Size]) != 0xffff {
			return from, to, 0, 0, nil, fmt.Errorf("the IPv4 header %x is wrong", b[:ip4Size])
		}
		length, payload = int(binary.BigEndian.Uint16(b[2:]))-ip4Size, b[ip4Size:]
		from, to, protocol, ttl = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9], b[8]
	case etherIP6:
		if len(b) < ip6Size || b[0]>>4 != 6 {
			return from, to, 0, 0, nil, errors.New("the IPv6 header is wrong")
		}
		length, payload = int(binary.BigEndian.Uint16(b[4:])), b[ip6Size:]
		from, to, protocol, ttl = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[6], b[7]
	}
	if length < 0 || length > len(payload) {
		return from, to, 0, 0, nil, fmt.Errorf("IP says %d bytes, there are %d", length, len(payload))
	}
	return from, to, protocol, ttl, payload[:length], nil
}

// String shows everything that two packets can differ in.
func (p packet) String() string {
	var b strings.Builder
	ttl := p.ttl
	if ttl == 0 {
		ttl = 64
	}
	fmt.Fprintf(&b, "%s > %s protocol %d ttl %d", p.from, p.to, p.protocol, ttl)
	if p.protocol == protocolTCP {
		fmt.Fprintf(&b, " flags %02x seq %08x ack %08x window %d urgent %d options [%x]", p.flags, p.seq, p.ack, p.window, p.urgent, p.options)
	}
	if p.unsummed {
		b.WriteString(" without checksum")
	}
	if len(p.payload) > 200 {
		fmt.Fprintf(&b, " %d bytes %x", len(p.payload), sum16(p.payload))
		return b.String() + fmt.Sprintf(" [%x...]", p.payload[:128])
	}
	fmt.Fprintf(&b, " %d bytes [%x]", len(p.payload), p.payload)
	return b.String()
}

// options joins TCP options and fills them up with NOPs in front, as senders do.
func options(list ...[]byte) []byte {
	var b []byte
	for _, o := range list {
		b = append(b, o...)
	}
	for len(b)%4 != 0 {
		b = append([]byte{1}, b...)
	}
	return b
}

func optionMSS(mss uint16) []byte    { return binary.BigEndian.AppendUint16([]byte{2, 4}, mss) }
func optionScale(scale uint8) []byte { return []byte{3, 3, scale} }
func optionTimestamps(value, echo uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{8, 10}, value), echo)
}

// optionSACK has one block for each two edges (RFC 2018, 3).
func optionSACK(edges ...uint32) []byte {
	b := []byte{5, uint8(2 + 4*len(edges))}
	for _, e := range edges {
		b = binary.BigEndian.AppendUint32(b, e)
	}
	return b
}
