package header

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"

	"breakwater/appliance/plan"
)

// V1 is the line of version 1 for a TCP session. Client and edge address of two families are both written as IPv6,
// the IPv4 one as ::ffff:a.b.c.d: a line has one family (section 2.1).
// An address that is not valid is an error.
func V1(src, dst netip.AddrPort) ([]byte, error) {
	if err := checkAddresses(src, dst); err != nil {
		return nil, err
	}
	h := proxyproto.HeaderProxyFromAddrs(1, net.TCPAddrFromAddrPort(src), net.TCPAddrFromAddrPort(dst))
	return format(h)
}

// V2 is the binary header of version 2. Client and edge address of two families are both written as IPv6.
// Without TLVs it has 28 bytes for IPv4 and 52 for IPv6. An address that is not valid, another protocol than TCP and
// UDP, and a TLV beyond its limit are errors.
func V2(network plan.Protocol, src, dst netip.AddrPort, t TLVs) ([]byte, error) {
	if err := checkAddresses(src, dst); err != nil {
		return nil, err
	}
	var h *proxyproto.Header
	switch network {
	case plan.TCP:
		h = proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(src), net.TCPAddrFromAddrPort(dst))
	case plan.UDP:
		h = proxyproto.HeaderProxyFromAddrs(2, net.UDPAddrFromAddrPort(src), net.UDPAddrFromAddrPort(dst))
	default:
		return nil, fmt.Errorf("write a PROXY header: protocol %q is neither tcp nor udp", network)
	}
	if err := setTLVs(h, t); err != nil {
		return nil, err
	}
	bytes, err := format(h)
	if err == nil && t.CRC32C {
		at := fixedV2 + addressBlock(bytes) + tlvHead
		binary.BigEndian.PutUint32(bytes[at:], crc32c(bytes, at))
	}
	return bytes, err
}

// Local is the header of version 2 for a connection of our own, a health check: it names no client, and the origin
// takes the addresses of the socket (section 2.2, command LOCAL).
func Local() []byte {
	return []byte(signature + "\x20\x00\x00\x00")
}

func checkAddresses(src, dst netip.AddrPort) error {
	if !src.IsValid() {
		return fmt.Errorf("write a PROXY header: the source address %s is not valid", src)
	}
	if !dst.IsValid() {
		return fmt.Errorf("write a PROXY header: the destination address %s is not valid", dst)
	}
	return nil
}

// setTLVs adds the wished TLVs, the checksum first and still zero, so that its place is known.
func setTLVs(h *proxyproto.Header, t TLVs) error {
	if len(t.UniqueID) > MaxUniqueID {
		return fmt.Errorf("write a PROXY header: the unique id has %d bytes, at most %d are allowed", len(t.UniqueID), MaxUniqueID)
	}
	if len(t.Authority) > MaxAuthority {
		return fmt.Errorf("write a PROXY header: the authority has %d bytes, at most %d are allowed", len(t.Authority), MaxAuthority)
	}
	var list []proxyproto.TLV
	if t.CRC32C {
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_CRC32C, Value: make([]byte, crc32.Size)})
	}
	if t.Authority != "" {
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(t.Authority)})
	}
	if len(t.UniqueID) > 0 {
		list = append(list, proxyproto.TLV{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: t.UniqueID})
	}
	if list == nil {
		return nil
	}
	return h.SetTLVs(list)
}

func format(h *proxyproto.Header) ([]byte, error) {
	bytes, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("write a PROXY header: %w", err)
	}
	return bytes, nil
}
