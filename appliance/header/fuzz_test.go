package header

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/plan"
)

// FuzzParse checks what holds for any bytes: a header found in them is found again with anything behind it, and none
// of its prefixes says something else than "need more".
func FuzzParse(f *testing.F) {
	for _, test := range valid(f) {
		f.Add(test.bytes)
	}
	f.Fuzz(func(t *testing.T, buf []byte) {
		h, n, err := Parse(buf)
		if n < 0 || n > len(buf) || n > MaxSize || err != nil && n != 0 {
			t.Fatalf("length %d of %d, %v", n, len(buf), err)
		}
		if n == 0 {
			return
		}
		if !h.Local && (!h.Source.IsValid() || !h.Destination.IsValid()) {
			t.Fatalf("no addresses in %+v", h)
		}
		for i := range n {
			if _, m, err := Parse(buf[:i]); m != 0 || err != nil {
				t.Fatalf("the first %d of %d bytes: %d, %v", i, n, m, err)
			}
		}
		again, m, err := Parse(append(slices.Clone(buf[:n]), "\r\nPROXY "...))
		if m != n || err != nil || again.Source != h.Source || !bytes.Equal(again.UniqueID, h.UniqueID) {
			t.Fatalf("with bytes behind it: %+v, %d, %v, want %+v, %d", again, m, err, h, n)
		}
	})
}

func FuzzParseDatagram(f *testing.F) {
	for _, test := range valid(f) {
		f.Add(test.bytes)
	}
	head, err := V2(plan.UDP, ap(ip4a), ap(ip6b), TLVs{CRC32C: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(head, "payload"...))
	f.Fuzz(func(t *testing.T, d []byte) {
		_, payload, err := ParseDatagram(d)
		if err == nil && !bytes.HasSuffix(d, payload) {
			t.Fatalf("payload %q is not the end of %q", payload, d)
		}
	})
}

func FuzzParseSPP(f *testing.F) {
	h := SPP(ap(ip4a), ap(ip6b))
	f.Add(append(h[:], "payload"...))
	f.Add(h[:])
	f.Fuzz(func(t *testing.T, d []byte) {
		src, dst, payload, ok := ParseSPP(d)
		if !ok {
			return
		}
		again := SPP(src, dst)
		if !bytes.Equal(append(again[:], payload...), d) {
			t.Fatalf("%x was read as %s, %s, %x", d, src, dst, payload)
		}
	})
}

// FuzzRoundTrip writes headers for any addresses and reads them again.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{203, 0, 113, 7}, uint16(51234), []byte{198, 51, 100, 1}, uint16(25565), []byte("id"), "play.example.net", true)
	f.Add(make([]byte, 16), uint16(0), []byte{255, 255, 255, 255}, uint16(65535), []byte(nil), "", false)
	f.Fuzz(func(t *testing.T, a []byte, aPort uint16, b []byte, bPort uint16, id []byte, authority string, sum bool) {
		from, ok := netip.AddrFromSlice(a)
		to, ok2 := netip.AddrFromSlice(b)
		if !ok || !ok2 || len(id) > MaxUniqueID || len(authority) > MaxAuthority {
			return
		}
		src, dst := netip.AddrPortFrom(from, aPort), netip.AddrPortFrom(to, bPort)
		line := must(t)(V1(src, dst))
		binary := must(t)(V2(plan.TCP, src, dst, TLVs{UniqueID: id, Authority: authority, CRC32C: sum}))
		for _, written := range [][]byte{line, binary} {
			h, n, err := Parse(written)
			if err != nil || n != len(written) || h.Source != netip.AddrPortFrom(from.Unmap(), aPort) ||
				h.Destination != netip.AddrPortFrom(to.Unmap(), bPort) {
				t.Fatalf("%q was read as %+v, %d, %v", written, h, n, err)
			}
			if h.Version == 2 && (h.Authority != authority || !bytes.Equal(h.UniqueID, id)) {
				t.Fatalf("%q was read as %+v", written, h)
			}
		}
	})
}
