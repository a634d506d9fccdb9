package header

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"breakwater/appliance/plan"
)

const (
	ip4a = "203.0.113.7:51234"
	ip4b = "198.51.100.1:25565"
	ip6a = "[2001:db8::7]:51234"
	ip6b = "[2001:db8:1::1]:25565"
)

var ap = netip.MustParseAddrPort

func TestV1(t *testing.T) {
	for _, test := range []struct{ name, src, dst, want string }{
		{"ipv4", ip4a, ip4b, "PROXY TCP4 203.0.113.7 198.51.100.1 51234 25565\r\n"},
		{"ipv6", ip6a, ip6b, "PROXY TCP6 2001:db8::7 2001:db8:1::1 51234 25565\r\n"},
		{"ipv6 client", ip6a, ip4b, "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 51234 25565\r\n"},
		{"ipv6 edge address", ip4a, ip6b, "PROXY TCP6 ::ffff:203.0.113.7 2001:db8:1::1 51234 25565\r\n"},
		{"mapped addresses are ipv4", "[::ffff:203.0.113.7]:1", "[::ffff:198.51.100.1]:2", "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n"},
		{"a zone is not sent", "[fe80::1%eth0]:1", "[fe80::2%eth0]:2", "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		{"longest of ipv4", "255.255.255.255:65535", "255.255.255.255:65535", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"},
		{"longest of ipv6", "[" + ones + "]:65535", "[" + ones + "]:65535", "PROXY TCP6 " + ones + " " + ones + " 65535 65535\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := V1(ap(test.src), ap(test.dst))
			if err != nil || string(got) != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

const ones = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

func TestV2(t *testing.T) {
	const (
		sig  = "0d0a0d0a000d0a515549540a"
		v4   = "cb007107c6336401c82263dd"
		v6   = "20010db8000000000000000000000007" + "20010db8000100000000000000000001" + "c82263dd"
		mix  = "20010db8000000000000000000000007" + "00000000000000000000ffffc6336401" + "c82263dd"
		mix2 = "00000000000000000000ffffcb007107" + "20010db8000100000000000000000001" + "c82263dd"
	)
	for _, test := range []struct {
		name     string
		network  plan.Protocol
		src, dst string
		tlvs     TLVs
		want     string
	}{
		{"tcp ipv4", plan.TCP, ip4a, ip4b, TLVs{}, sig + "2111000c" + v4},
		{"udp ipv4", plan.UDP, ip4a, ip4b, TLVs{}, sig + "2112000c" + v4},
		{"tcp ipv6", plan.TCP, ip6a, ip6b, TLVs{}, sig + "21210024" + v6},
		{"udp ipv6", plan.UDP, ip6a, ip6b, TLVs{}, sig + "21220024" + v6},
		{"tcp ipv6 client", plan.TCP, ip6a, ip4b, TLVs{}, sig + "21210024" + mix},
		{"udp ipv6 edge address", plan.UDP, ip4a, ip6b, TLVs{}, sig + "21220024" + mix2},
		{"unique id", plan.TCP, ip4a, ip4b, TLVs{UniqueID: []byte("abc")}, sig + "21110012" + v4 + "050003616263"},
		{"authority and unique id", plan.TCP, ip4a, ip4b, TLVs{UniqueID: []byte{9}, Authority: "a.b"}, sig + "21110016" + v4 + "020003612e62" + "05000109"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := V2(test.network, ap(test.src), ap(test.dst), test.tlvs)
			if err != nil || hex.EncodeToString(got) != test.want {
				t.Errorf("got %x, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestLocal(t *testing.T) {
	if got, want := hex.EncodeToString(Local()), "0d0a0d0a000d0a515549540a20000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// slowCRC32C is the textbook form of CRC-32C (RFC 3720 appendix B.4), bit by bit.
func slowCRC32C(data []byte) uint32 {
	crc := ^uint32(0)
	for _, b := range data {
		crc ^= uint32(b)
		for range 8 {
			crc = crc>>1 ^ crc&1*0x82f63b78
		}
	}
	return ^crc
}

func TestV2Checksum(t *testing.T) {
	if got := slowCRC32C([]byte("123456789")); got != 0xe3069283 {
		t.Fatalf("the check value of CRC-32C is %#x, want 0xe3069283", got)
	}
	for _, dst := range []string{ip4b, ip6b} {
		got, err := V2(plan.TCP, ap(ip4a), ap(dst), TLVs{CRC32C: true, UniqueID: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		at := fixedV2 + addressBlock(got) + tlvHead
		sum := hex.EncodeToString(got[at : at+4])
		copy(got[at:], []byte{0, 0, 0, 0})
		want := slowCRC32C(got)
		if sum != hex.EncodeToString([]byte{byte(want >> 24), byte(want >> 16), byte(want >> 8), byte(want)}) {
			t.Errorf("%s: got checksum %s, want %08x", dst, sum, want)
		}
	}
}

func TestRefusesToWrite(t *testing.T) {
	var none netip.AddrPort
	good := ap(ip4a)
	for _, test := range []struct {
		name  string
		write func() ([]byte, error)
		want  string
	}{
		{"v1 without source", func() ([]byte, error) { return V1(none, good) }, "source address"},
		{"v1 without destination", func() ([]byte, error) { return V1(good, none) }, "destination address"},
		{"v2 without source", func() ([]byte, error) { return V2(plan.TCP, none, good, TLVs{}) }, "source address"},
		{"another protocol", func() ([]byte, error) { return V2("sctp", good, good, TLVs{}) }, "neither tcp nor udp"},
		{"long unique id", func() ([]byte, error) {
			return V2(plan.TCP, good, good, TLVs{UniqueID: make([]byte, MaxUniqueID+1)})
		}, "129 bytes"},
		{"long authority", func() ([]byte, error) {
			return V2(plan.TCP, good, good, TLVs{Authority: strings.Repeat("a", MaxAuthority+1)})
		}, "256 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.write()
			if got != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %x, %v, want an error with %q", got, err, test.want)
			}
		})
	}
}

func TestSPP(t *testing.T) {
	for _, test := range []struct{ name, src, dst, want string }{
		{"ipv4", ip4a, ip4b, "56ec" + "00000000000000000000ffffcb007107" + "00000000000000000000ffffc6336401" + "c82263dd"},
		{"ipv6", ip6a, ip6b, "56ec" + "20010db8000000000000000000000007" + "20010db8000100000000000000000001" + "c82263dd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := SPP(ap(test.src), ap(test.dst))
			if got := hex.EncodeToString(h[:]); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			src, dst, payload, ok := ParseSPP(append(h[:], "ping"...))
			if !ok || src != ap(test.src) || dst != ap(test.dst) || string(payload) != "ping" {
				t.Errorf("read back %s, %s, %q, %v", src, dst, payload, ok)
			}
		})
	}
}

func TestParseSPPRefuses(t *testing.T) {
	h := SPP(ap(ip4a), ap(ip4b))
	for n := range SPPSize {
		if _, _, _, ok := ParseSPP(h[:n]); ok {
			t.Errorf("%d bytes were taken for a header", n)
		}
	}
	for i := range 2 {
		broken := h
		broken[i] ^= 1
		if _, _, _, ok := ParseSPP(broken[:]); ok {
			t.Errorf("magic %x was taken", broken[:2])
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	src, dst := ap(ip6a), ap(ip6b)
	id := TLVs{UniqueID: []byte("0123456789abcdef"), CRC32C: true}
	b.Run("v1", func(b *testing.B) {
		for b.Loop() {
			_, _ = V1(src, dst)
		}
	})
	b.Run("v2", func(b *testing.B) {
		for b.Loop() {
			_, _ = V2(plan.TCP, src, dst, TLVs{})
		}
	})
	b.Run("v2 with fields", func(b *testing.B) {
		for b.Loop() {
			_, _ = V2(plan.TCP, src, dst, id)
		}
	})
	b.Run("spp", func(b *testing.B) {
		for b.Loop() {
			_ = SPP(src, dst)
		}
	})
}
