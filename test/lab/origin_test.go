package lab

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
)

// TestReplyIsCutToADatagram: the line comes first, so a reply that does not fit loses the end of the payload.
func TestReplyIsCutToADatagram(t *testing.T) {
	o := &origin{names: map[netip.Addr]string{}}
	f := flow{netip.MustParseAddrPort("198.18.2.1:40000"), netip.MustParseAddrPort("198.18.2.2:53")}
	spp := header.SPP(f.peer, f.local)
	for _, tt := range []struct {
		name     string
		datagram []byte
		want     int
	}{
		{"empty", nil, -1},
		{"largest", make([]byte, maxDatagram), maxDatagram},
		{"largest with SPP", append(spp[:], make([]byte, maxDatagram-len(spp))...), maxDatagram},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := o.replyTo(f, tt.datagram, newMemory())
			if !bytes.Contains(got, []byte(`"origin":"198.18.2.2"`)) {
				t.Errorf("got no line in a reply of %d bytes", len(got))
			}
			if tt.want >= 0 && len(got) != tt.want {
				t.Errorf("got %d bytes, want %d", len(got), tt.want)
			}
			if tt.want < 0 && !bytes.HasSuffix(got, []byte("\n")) {
				t.Errorf("got %q, want the line alone", got)
			}
		})
	}
}

// TestMemoryIsBounded: forgetting comes by generations, and what is used stays.
func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	at := func(n int) flow {
		peer := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		return flow{netip.AddrPortFrom(peer, 1), netip.AddrPort{}}
	}
	used := at(0)
	m.put(used, header.Header{Version: 2})
	for n := 1; n < 4*maxRemembered; n++ {
		m.put(at(n), header.Header{Version: 2})
		if _, ok := m.get(used); !ok {
			t.Fatalf("got a flow in use forgotten after %d others", n)
		}
	}
	if held := len(m.young) + len(m.old); held > 2*maxRemembered {
		t.Errorf("got %d flows held, want at most %d", held, 2*maxRemembered)
	}
	if _, ok := m.get(at(1)); ok {
		t.Error("got a flow remembered that 200,000 others came after")
	}
	m.since = time.Now().Add(-2 * forgetAfter)
	m.put(at(1), header.Header{})
	if len(m.young) != 1 {
		t.Errorf("got %d flows in the new generation, want 1", len(m.young))
	}
}

func TestSaw(t *testing.T) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:1"), netip.MustParseAddrPort("198.18.1.10:2")
	peer, local := netip.MustParseAddrPort("198.18.2.1:3"), netip.MustParseAddrPort("198.18.2.2:4")
	v2, err := header.V2(plan.UDP, src, dst, header.TLVs{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := header.ParseDatagram(v2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		header header.Header
		want   Answer
	}{
		{"of a client", parsed, Answer{"o", peer, "v2", src, dst}},
		{"of a health check", header.Header{Version: 2, Local: true}, Answer{"o", peer, "v2", peer, local}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Answer{"o", peer, "none", peer, local}
			got.saw(tt.header)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
