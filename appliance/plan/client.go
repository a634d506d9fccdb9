package plan

import "net/netip"

// How many bits of an address name what limits count as one source. One household, or one machine of an attacker, has a whole
// /64 of IPv6 and may take any address in it (RFC 4862, RFC 8981).
const (
	clientAddress6 = 64
	clientNetwork4 = 24
	clientNetwork6 = 48
)

// ClientAddress is what limits by address count addr under: itself, or its /64.
func ClientAddress(addr netip.Addr) netip.Prefix {
	return cut(addr, 32, clientAddress6)
}

// ClientNetwork is what limits by network count addr under: its IPv4 /24 or IPv6 /48.
func ClientNetwork(addr netip.Addr) netip.Prefix {
	return cut(addr, clientNetwork4, clientNetwork6)
}

func cut(addr netip.Addr, bits4, bits6 int) netip.Prefix {
	addr = addr.Unmap()
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	return netip.PrefixFrom(addr.WithZone(""), bits).Masked()
}
