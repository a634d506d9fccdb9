// Package header writes and reads what tells an origin who the client is: the PROXY protocol, versions 1 and 2,
// and the Simple Proxy Protocol (SPP). It is the only place that knows these bytes:
//
//	first, err := header.V2(plan.TCP, client, edge, header.TLVs{UniqueID: []byte("42")})
//	h, n, err := header.Parse(buf) // n == 0 and no error: read more
//
// Parse reads what strangers send. It never panics, never looks past the header, and never guesses: bytes are a
// complete valid header, the beginning of one, or an error.
//
// The rules are those of the PROXY protocol specification of HAProxy (proxy-protocol.txt, sections 2.1 and 2.2).
package header

import "net/netip"

const (
	// MaxSize bounds a version 2 header as a whole. The specification allows 65551 bytes; a client certificate in
	// an SSL TLV, the largest thing in use, has 1 to 2 KiB.
	MaxSize = 4096
	// MaxUniqueID is the longest PP2_TYPE_UNIQUE_ID value (section 2.2.5).
	MaxUniqueID = 128
	// MaxAuthority is the longest PP2_TYPE_AUTHORITY value: a host name has at most 255 bytes (RFC 1035 2.3.4).
	MaxAuthority = 255
)

const (
	maxV1     = 107 // the longest line that version 1 allows, with CRLF (section 2.1)
	fixedV2   = 16  // signature, version and command, family and protocol, length (section 2.2)
	lineV1    = "PROXY "
	signature = "\r\n\r\n\x00\r\nQUIT\n"
)

// TLVs are the optional fields of a version 2 header. The zero value asks for none.
type TLVs struct {
	UniqueID  []byte // at most MaxUniqueID bytes; empty: not sent
	Authority string // at most MaxAuthority bytes; empty: not sent
	CRC32C    bool   // a checksum over the whole header
}

// Header is what a received header says.
type Header struct {
	Version int // 1 or 2
	// Local is true when the connection speaks for nobody else: a health check of the sender, or "UNKNOWN" in
	// version 1. The socket's own addresses count then, and all other fields are zero.
	Local       bool
	Source      netip.AddrPort // the client; IPv4 also when it was written as ::ffff:a.b.c.d
	Destination netip.AddrPort // what the client dialled
	Authority   string
	UniqueID    []byte // a copy
}
