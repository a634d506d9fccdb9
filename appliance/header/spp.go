package header

import (
	"encoding/binary"
	"net/netip"
)

// SPPSize is the length of an SPP header: magic, client address, proxy address (16 bytes each), client port, proxy port.
const SPPSize = 38

const sppMagic = 0x56ec

// SPP is the Simple Proxy Protocol header in front of every datagram to an origin; src is the client, dst the edge
// address. IPv4 is written as ::ffff:a.b.c.d. The origin puts the same header in front of its replies.
func SPP(src, dst netip.AddrPort) [SPPSize]byte {
	var h [SPPSize]byte
	client, proxy := src.Addr().As16(), dst.Addr().As16()
	binary.BigEndian.PutUint16(h[0:], sppMagic)
	copy(h[2:], client[:])
	copy(h[18:], proxy[:])
	binary.BigEndian.PutUint16(h[34:], src.Port())
	binary.BigEndian.PutUint16(h[36:], dst.Port())
	return h
}

// ParseSPP splits a datagram into its SPP header and the payload, which aliases the datagram and may be empty.
// ok is false when the header is not there: such a reply is dropped, not passed on with its first bytes cut off.
func ParseSPP(datagram []byte) (src, dst netip.AddrPort, payload []byte, ok bool) {
	if len(datagram) < SPPSize || binary.BigEndian.Uint16(datagram) != sppMagic {
		return netip.AddrPort{}, netip.AddrPort{}, nil, false
	}
	client := netip.AddrFrom16([16]byte(datagram[2:18])).Unmap()
	proxy := netip.AddrFrom16([16]byte(datagram[18:34])).Unmap()
	src = netip.AddrPortFrom(client, binary.BigEndian.Uint16(datagram[34:]))
	dst = netip.AddrPortFrom(proxy, binary.BigEndian.Uint16(datagram[36:]))
	return src, dst, datagram[SPPSize:], true
}
