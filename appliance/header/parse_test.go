package header

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"breakwater/appliance/plan"
)

var compareAddresses = cmpopts.EquateComparable(ap("0.0.0.0:0"))

// raw is a version 2 header written by hand; body is everything behind the length.
func raw(versionCommand, family byte, body ...byte) []byte {
	h := append([]byte(signature), versionCommand, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	return append(h, body...)
}

// address4 are client ip4a and edge address ip4b in a version 2 header.
var address4 = []byte{203, 0, 113, 7, 198, 51, 100, 1, 0xc8, 0x22, 0x63, 0xdd}

// tlv is one field of a version 2 header.
func tlv(kind byte, value ...byte) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

func must(t testing.TB) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// valid are headers of a TCP stream with what they say.
func valid(t testing.TB) map[string]struct {
	bytes []byte
	want  Header
} {
	all := TLVs{UniqueID: []byte("0123456789abcdef"), Authority: "play.example.net", CRC32C: true}
	type entry = struct {
		bytes []byte
		want  Header
	}
	return map[string]entry{
		"v1 ipv4":    {must(t)(V1(ap(ip4a), ap(ip4b))), Header{Version: 1, Source: ap(ip4a), Destination: ap(ip4b)}},
		"v1 ipv6":    {must(t)(V1(ap(ip6a), ap(ip6b))), Header{Version: 1, Source: ap(ip6a), Destination: ap(ip6b)}},
		"v1 mixed":   {must(t)(V1(ap(ip4a), ap(ip6b))), Header{Version: 1, Source: ap(ip4a), Destination: ap(ip6b)}},
		"v1 unknown": {[]byte("PROXY UNKNOWN\r\n"), Header{Version: 1, Local: true}},
		"v1 longest": {[]byte("PROXY UNKNOWN " + ones + " " + ones + " 65535 65535\r\n"), Header{Version: 1, Local: true}},
		"v2 ipv4":    {must(t)(V2(plan.TCP, ap(ip4a), ap(ip4b), TLVs{})), Header{Version: 2, Source: ap(ip4a), Destination: ap(ip4b)}},
		"v2 ipv6":    {must(t)(V2(plan.TCP, ap(ip6a), ap(ip6b), TLVs{})), Header{Version: 2, Source: ap(ip6a), Destination: ap(ip6b)}},
		"v2 fields": {must(t)(V2(plan.TCP, ap(ip6a), ap(ip4b), all)), Header{
			Version: 2, Source: ap(ip6a), Destination: ap(ip4b), Authority: all.Authority, UniqueID: all.UniqueID,
		}},
		"v2 unknown fields": {raw(0x21, 0x11, slices.Concat(address4, tlv(4, 0, 0, 0), tlv(0xea, 1, 2), tlv(0x20))...),
			Header{Version: 2, Source: ap(ip4a), Destination: ap(ip4b)}},
		"v2 local":               {Local(), Header{Version: 2, Local: true}},
		"v2 local with anything": {raw(0x20, 0x11, 1, 2, 3), Header{Version: 2, Local: true}},
		"v2 longest": {raw(0x21, 0x11, append(slices.Clone(address4), tlv(4, make([]byte, MaxSize-fixedV2-12-3)...)...)...),
			Header{Version: 2, Source: ap(ip4a), Destination: ap(ip4b)}},
	}
}

func TestParse(t *testing.T) {
	for name, test := range valid(t) {
		t.Run(name, func(t *testing.T) {
			stream := append(slices.Clone(test.bytes), "PROXY TCP4 is payload now\r\n"...)
			got, n, err := Parse(stream)
			if err != nil || n != len(test.bytes) {
				t.Fatalf("got length %d, %v, want %d", n, err, len(test.bytes))
			}
			if diff := cmp.Diff(got, test.want, compareAddresses); diff != "" {
				t.Errorf("got - want +\n%s", diff)
			}
		})
	}
}

func TestEveryPrefixNeedsMore(t *testing.T) {
	for name, test := range valid(t) {
		t.Run(name, func(t *testing.T) {
			for i := range test.bytes {
				if h, n, err := Parse(test.bytes[:i]); n != 0 || err != nil || h.Version != 0 {
					t.Fatalf("%d of %d bytes: got %+v, %d, %v, want to need more", i, len(test.bytes), h, n, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	long := make([]byte, MaxAuthority+1)
	zero4 := tlv(3, 0, 0, 0, 0)
	for _, test := range []struct {
		name  string
		bytes []byte
	}{
		{"http", []byte("G")},
		{"minecraft", []byte{0x10, 0x00}},
		{"v1 in lower case", []byte("p")},
		{"v1 other word", []byte("PROXX")},
		{"v1 two spaces", []byte("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n")},
		{"v1 tab", []byte("PROXY\t")},
		{"v1 no family", []byte("PROXY \r\n")},
		{"v1 udp", []byte("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n")},
		{"v1 line feed alone", []byte("PROXY UNKNOWN\n")},
		{"v1 carriage return alone", []byte("PROXY UNKNOWN\rx")},
		{"v1 two carriage returns", []byte("PROXY UNKNOWN\r\r")},
		{"v1 zero byte", []byte("PROXY TCP4\x00")},
		{"v1 not ascii", []byte("PROXY TCP4 \xff")},
		{"v1 leading zero in a port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n")},
		{"v1 port too big", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n")},
		{"v1 signed port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n")},
		{"v1 leading zero in an address", []byte("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n")},
		{"v1 ipv6 in tcp4", []byte("PROXY TCP4 ::1 ::1 1 2\r\n")},
		{"v1 ipv4 in tcp6", []byte("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n")},
		{"v1 zone", []byte("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n")},
		{"v1 missing port", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n")},
		{"v1 one word too many", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n")},
		{"v1 one byte too long", []byte("PROXY UNKNOWN " + strings.Repeat("f", maxV1-16+1) + "\r\n")},
		{"v1 carriage return as byte 107", []byte("PROXY " + strings.Repeat("f", maxV1-7) + "\r")},
		{"v1 without end", []byte("PROXY " + strings.Repeat("f", maxV1))},
		{"v2 broken signature", []byte("\r\n\r\n\x00\r\nQUIX")},
		{"v2 version 1", []byte(signature + "\x11")},
		{"v2 unknown command", []byte(signature + "\x22")},
		{"v2 too long", raw(0x21, 0x11, append(slices.Clone(address4), tlv(4, make([]byte, MaxSize-fixedV2-12-2)...)...)...)[:fixedV2]},
		{"v2 no addresses", raw(0x21, 0x11)},
		{"v2 half the addresses", raw(0x21, 0x11, address4[:11]...)},
		{"v2 family of ipv6 with ipv4", raw(0x21, 0x21, address4...)},
		{"v2 unspecified family", raw(0x21, 0x00)},
		{"v2 unix", raw(0x21, 0x31, make([]byte, 216)...)},
		{"v2 udp on a tcp stream", raw(0x21, 0x12, address4...)},
		{"v2 truncated field", raw(0x21, 0x11, append(slices.Clone(address4), 5, 0)...)},
		{"v2 field beyond the end", raw(0x21, 0x11, append(slices.Clone(address4), 5, 0, 2, 1)...)},
		{"v2 long authority", raw(0x21, 0x11, append(slices.Clone(address4), tlv(2, long...)...)...)},
		{"v2 long unique id", raw(0x21, 0x11, append(slices.Clone(address4), tlv(5, long...)...)...)},
		{"v2 wrong checksum", raw(0x21, 0x11, slices.Concat(address4, zero4)...)},
		{"v2 two checksums", raw(0x21, 0x11, slices.Concat(address4, zero4, zero4)...)},
		{"v2 short checksum", raw(0x21, 0x11, slices.Concat(address4, tlv(3, 0))...)},
		{"v2 checksum beyond the end", raw(0x21, 0x11, slices.Concat(address4, zero4[:5])...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, n, err := Parse(test.bytes)
			if err == nil || n != 0 {
				t.Errorf("got %+v, %d, %v, want an error", h, n, err)
			}
		})
	}
}

// TestTwoChecksums: with two fields it is open which one counts, also when the last is right.
func TestTwoChecksums(t *testing.T) {
	h := raw(0x21, 0x11, slices.Concat(address4, tlv(3, 0, 0, 0, 0), tlv(3, 0, 0, 0, 0))...)
	at := len(h) - 4
	binary.BigEndian.PutUint32(h[at:], crc32c(h, at))
	if got, _, err := Parse(h); err == nil {
		t.Errorf("got %+v, want an error", got)
	}
}

// TestEveryVersionAndFamily tries all values of the two bytes behind the signature.
func TestEveryVersionAndFamily(t *testing.T) {
	body := make([]byte, 216) // the addresses of the largest family
	for command := range 256 {
		for family := range 256 {
			local := command == 0x20 && slices.Contains([]int{0, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32}, family)
			proxy := command == 0x21 && (family == 0x11 || family == 0x21)
			size := 216
			if proxy && family == 0x11 {
				size = 12
			} else if proxy {
				size = 36
			}
			h, n, err := Parse(raw(byte(command), byte(family), body[:size]...))
			if (err == nil) != (local || proxy) || h.Local != local || err == nil && n != fixedV2+size {
				t.Fatalf("command %#x family %#x: got %+v, %d, %v", command, family, h, n, err)
			}
		}
	}
}

// TestOneByteChanged changes each byte to each value: no panic, no length beyond the input, and under a checksum
// no changed address is believed.
func TestOneByteChanged(t *testing.T) {
	for name, test := range valid(t) {
		if len(test.bytes) > 256 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for i := range test.bytes {
				for change := 1; change < 256; change++ {
					broken := slices.Clone(test.bytes)
					broken[i] ^= byte(change)
					h, n, err := Parse(broken)
					if n > len(broken) || err != nil && n != 0 {
						t.Fatalf("byte %d changed by %#x: got %d, %v", i, change, n, err)
					}
					if name == "v2 fields" && i >= fixedV2 && i < fixedV2+36 && err == nil {
						t.Fatalf("byte %d changed by %#x: believed %+v", i, change, h)
					}
				}
			}
		})
	}
}

func TestParseDatagram(t *testing.T) {
	want := Header{Version: 2, Source: ap(ip4a), Destination: ap(ip6b), UniqueID: []byte("7")}
	head := must(t)(V2(plan.UDP, want.Source, want.Destination, TLVs{UniqueID: want.UniqueID, CRC32C: true}))
	for _, payload := range []string{"", "x", "a longer payload"} {
		got, rest, err := ParseDatagram(append(slices.Clone(head), payload...))
		if err != nil || string(rest) != payload {
			t.Fatalf("got payload %q, %v, want %q", rest, err, payload)
		}
		if diff := cmp.Diff(got, want, compareAddresses); diff != "" {
			t.Errorf("got - want +\n%s", diff)
		}
	}
	for i := range head {
		if _, _, err := ParseDatagram(head[:i]); err == nil {
			t.Errorf("%d of %d bytes were taken for a header", i, len(head))
		}
	}
}

func TestParseDatagramRefuses(t *testing.T) {
	for name, d := range map[string][]byte{
		"version 1":        must(t)(V1(ap(ip4a), ap(ip4b))),
		"tcp":              must(t)(V2(plan.TCP, ap(ip4a), ap(ip4b), TLVs{})),
		"no header":        []byte("\xff\xff\xff\xffTSource Engine Query\x00"),
		"unix datagram":    raw(0x21, 0x32, make([]byte, 216)...),
		"broken signature": bytes.Replace(raw(0x21, 0x12, address4...), []byte("QUIT"), []byte("QUIX"), 1),
	} {
		if h, payload, err := ParseDatagram(d); err == nil {
			t.Errorf("%s: got %+v, %q, want an error", name, h, payload)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, test := range valid(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _, _ = Parse(test.bytes)
			}
		})
	}
}
