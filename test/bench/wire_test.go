package main

import (
	"net/netip"
	"testing"
)

func TestParseHeader(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc6\x12\x01\x01" + "\xc6\x12\x01\x02" + "\x30\x39" + "\x1f\x42"
	v1 := "PROXY TCP4 198.18.1.1 198.18.1.2 12345 8002\r\n"
	tlv := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0f" + v2[16:] + "\x04\x00\x00"
	for _, tc := range []struct {
		name string
		want Header
		in   string
		size int
		bad  bool
	}{
		{"v2", HeaderV2, v2, 28, false},
		{"v2 and data", HeaderV2, v2 + "data", 28, false},
		{"v2 with a TLV", HeaderV2, tlv, 31, false},
		{"v2 not whole", HeaderV2, v2[:27], 0, false},
		{"v2 first byte", HeaderV2, v2[:1], 0, false},
		{"v2 LOCAL", HeaderV2, v2[:12] + "\x20" + v2[13:], 0, true},
		{"v2 of IPv6", HeaderV2, v2[:13] + "\x21" + v2[14:], 0, true},
		{"v2 missing", HeaderV2, "H", 0, true},
		{"v2 but v1 came", HeaderV2, v1, 0, true},
		{"v1", HeaderV1, v1, len(v1), false},
		{"v1 and data", HeaderV1, v1 + "data\r\n", len(v1), false},
		{"v1 not whole", HeaderV1, v1[:20], 0, false},
		{"v1 without end", HeaderV1, v1[:40] + string(make([]byte, 80)), 0, true},
		{"v1 UNKNOWN", HeaderV1, "PROXY UNKNOWN\r\n", 0, true},
		{"v1 bad address", HeaderV1, "PROXY TCP4 198.18.1 198.18.1.2 1 2\r\n", 0, true},
		{"v1 bad port", HeaderV1, "PROXY TCP4 198.18.1.1 198.18.1.2 1 70000\r\n", 0, true},
		{"v1 but v2 came", HeaderV1, v2, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source, dest, size, err := parseHeader(tc.want, []byte(tc.in))
			if (err != nil) != tc.bad || size != tc.size {
				t.Fatalf("got size %d, error %v, want size %d, bad %t", size, err, tc.size, tc.bad)
			}
			if size == 0 {
				return
			}
			if want := netip.MustParseAddrPort("198.18.1.1:12345"); source != want {
				t.Errorf("source: got %s, want %s", source, want)
			}
			if want := netip.MustParseAddrPort("198.18.1.2:8002"); dest != want {
				t.Errorf("destination: got %s, want %s", dest, want)
			}
		})
	}
}

func TestFrameCarriesAddresses(t *testing.T) {
	client, dialled := netip.MustParseAddrPort("198.18.1.1:258"), netip.MustParseAddrPort("198.18.1.2:65000")
	f := newFrame(opHello, 1<<40)
	f.setAddresses(sockaddr(client), sockaddr(dialled))
	if c, d := f.addresses(); c != client || d != dialled || f.length() != 1<<40 {
		t.Errorf("got %s, %s, %d", c, d, f.length())
	}
}
