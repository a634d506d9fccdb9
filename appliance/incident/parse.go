package incident

import (
	"encoding/binary"
	"net/netip"
)

// packet is what the evidence counts of a sample.
type packet struct {
	source, destination netip.Addr
	sourcePort, port    uint16
	ports               bool // the packet has ports, and they are in the sample
}

const (
	etherIPv4 = 0x0800
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherIPv6 = 0x86dd

	protocolTCP  = 6
	protocolUDP  = 17
	maxExtension = 8
)

// parse reads the beginning of an Ethernet frame (IEEE 802.3, 802.1Q). It is false where that is no IP packet.
func parse(frame []byte) (p packet, ok bool) {
	if len(frame) < 14 {
		return p, false
	}
	kind, rest := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for range 2 {
		if kind != etherVLAN && kind != etherQinQ || len(rest) < 4 {
			break
		}
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch kind {
	case etherIPv4:
		return parseIPv4(rest)
	case etherIPv6:
		return parseIPv6(rest)
	}
	return p, false
}

// parseIPv4 reads a packet of RFC 791.
func parseIPv4(b []byte) (p packet, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, false
	}
	p.source, p.destination = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	header := int(b[0]&15) * 4
	if later := binary.BigEndian.Uint16(b[6:])&0x1fff != 0; later || header < 20 || header > len(b) {
		return p, true
	}
	return p.withPorts(b[9], b[header:]), true
}

// parseIPv6 reads a packet of RFC 8200, and walks over its extension headers as far as they are in the sample.
func parseIPv6(b []byte) (p packet, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return p, false
	}
	p.source, p.destination = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next, rest := b[6], b[40:]
	for range maxExtension {
		length := 0
		switch next {
		case 0, 43, 60: // hop-by-hop options, routing, destination options
			if len(rest) >= 8 {
				length = 8 + 8*int(rest[1])
			}
		case 44: // fragment; only the first has ports
			if len(rest) >= 8 && binary.BigEndian.Uint16(rest[2:])&^7 == 0 {
				length = 8
			}
		default:
			return p.withPorts(next, rest), true
		}
		if length == 0 || length > len(rest) {
			break
		}
		next, rest = rest[0], rest[length:]
	}
	return p, true
}

func (p packet) withPorts(protocol uint8, b []byte) packet {
	if protocol != protocolTCP && protocol != protocolUDP || len(b) < 4 {
		return p
	}
	p.sourcePort, p.port, p.ports = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
	return p
}

// networkOf is the network that an address is counted under: /24 of IPv4, /48 of IPv6.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // never longer than the address
	return p
}
