package incident

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// frame makes an Ethernet frame with these addresses and ports.
func frame(source, destination string, protocol uint8, sourcePort, port uint16) []byte {
	from, to := netip.MustParseAddr(source), netip.MustParseAddr(destination)
	b := make([]byte, 12, 64)
	l4 := make([]byte, 8)
	binary.BigEndian.PutUint16(l4, sourcePort)
	binary.BigEndian.PutUint16(l4[2:], port)
	if from.Is4() {
		b = append(b, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0)
	} else {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, protocol, 64)
	}
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), l4...)
}

func TestParse(t *testing.T) {
	v4, v6 := frame("192.0.2.1", "198.18.1.10", 6, 1234, 80), frame("2001:db8::1", "2001:db8:1::10", 17, 53, 27015)
	tagged := append(append(append([]byte{}, v4[:12]...), 0x81, 0, 0, 7), v4[12:]...)
	later := append([]byte{}, v4...)
	later[14+7] = 5 // a later fragment has no ports
	options := append(append(append([]byte{}, v6[:54]...), 17, 0, 0, 0, 0, 0, 0, 0), v6[54:]...)
	options[14+6] = 0
	tests := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"IPv4", v4, "192.0.2.1 1234 -> 198.18.1.10 80 true"},
		{"IPv6", v6, "2001:db8::1 53 -> 2001:db8:1::10 27015 true"},
		{"tagged", tagged, "192.0.2.1 1234 -> 198.18.1.10 80 true"},
		{"later fragment", later, "192.0.2.1 0 -> 198.18.1.10 0 false"},
		{"extension header", options, "2001:db8::1 53 -> 2001:db8:1::10 27015 true"},
		{"ICMP", frame("192.0.2.1", "198.18.1.10", 1, 8, 0), "192.0.2.1 0 -> 198.18.1.10 0 false"},
		{"cut in the ports", v4[:36], "192.0.2.1 0 -> 198.18.1.10 0 false"},
		{"cut in the header", v4[:30], ""},
		{"ARP", append(make([]byte, 12), 8, 6, 1, 2, 3), ""},
		{"nothing", nil, ""},
	}
	for _, test := range tests {
		p, ok := parse(test.frame)
		got := ""
		if ok {
			got = fmt.Sprint(p.source, " ", p.sourcePort, " -> ", p.destination, " ", p.port, " ", p.ports)
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(frame("192.0.2.1", "198.18.1.10", 6, 1234, 80))
	f.Add(frame("2001:db8::1", "2001:db8:1::10", 17, 53, 27015))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := parse(data)
		if ok && (!p.source.IsValid() || !p.destination.IsValid() || !networkOf(p.source).IsValid()) {
			t.Errorf("%x: %+v", data, p)
		}
		var e evidence
		e.add(status.Sample{Bytes: data})
		_ = e.tell(false)
	})
}

func TestTheMostFrequentAreFound(t *testing.T) {
	var top top
	for i := range 50000 {
		top.add(fmt.Sprint("random ", i*7919%50000))
		if i%10 == 0 {
			top.add("often")
		}
		if i%20 == 0 {
			top.add("sometimes")
		}
	}
	list := top.list()
	if len(list) != topShown || list[0].Value != "often" || list[1].Value != "sometimes" || len(top.counts) > topWidth {
		t.Fatalf("got %v of %d", list, len(top.counts))
	}
	if c := list[0]; c.Count < 5000 || c.Count-c.Error > 5000 {
		t.Errorf("often came 5000 times, got %+v", c)
	}
}

// attacked is a world with one open incident of a vector on service web.
func attacked(t *testing.T, vector status.Vector) *world {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(5, peace().with(rates{{"web", vector}: 3000}))
	if len(w.began) != 1 {
		t.Fatalf("%d incidents, want 1", len(w.began))
	}
	return w
}

func TestEvidence(t *testing.T) {
	w := attacked(t, status.VectorUDP)
	for i := range 300 {
		w.d.Add([]status.Sample{
			{Number: uint64(i), Time: w.now, Service: "web", Vector: status.VectorUDP, Verdict: status.SampleDrop, Reason: status.AddressRate,
				Bytes: frame(fmt.Sprintf("192.0.2.%d", i%3), "198.18.1.10", 17, 123, 27015)},
			{Time: w.now, Service: "other", Vector: status.VectorUDP, Bytes: frame("203.0.113.1", "198.18.1.10", 17, 1, 1)},                 // another service
			{Time: w.now.Add(-time.Minute), Service: "web", Vector: status.VectorUDP, Bytes: frame("203.0.113.2", "198.18.1.10", 17, 1, 1)}, // before it began
		})
	}
	e := w.d.Open()[0].Evidence
	if e.Proven || e.Samples != 300 || len(e.Sources) != 3 || e.Sources[0].Count != 100 || e.Networks[0] != (Count{"192.0.2.0/24", 300, 0}) ||
		e.SourcePorts[0].Value != "123" || e.Ports[0].Value != "27015" || e.Destinations[0].Value != "198.18.1.10" || e.Reasons[0].Value != "address-rate" {
		t.Errorf("got %+v", e)
	}
	kept := w.d.Packets(1)
	if len(kept) != MaxPackets || kept[0].Number != 0 || kept[MaxPackets/2-1].Number != 99 || kept[MaxPackets/2].Number != 200 || kept[MaxPackets-1].Number != 299 {
		t.Errorf("%d packets are kept: %d, %d, %d, %d", len(kept), kept[0].Number, kept[MaxPackets/2-1].Number, kept[MaxPackets/2].Number, kept[len(kept)-1].Number)
	}
	w.ticks(30, peace())
	if got := w.ended[0].Packets; len(got) != MaxPackets {
		t.Errorf("%d packets are told at the end, want %d", len(got), MaxPackets)
	}
}

func TestManyAddressesAreACarpet(t *testing.T) {
	for addresses, want := range map[int]status.Vector{1: status.VectorACK, 2: status.VectorACK, 8: VectorCarpet, 254: VectorCarpet} {
		w := attacked(t, status.VectorACK)
		for i := range 400 {
			w.d.Add([]status.Sample{{Time: w.now, Service: "web", Vector: status.VectorACK, Bytes: frame("192.0.2.1", fmt.Sprintf("198.18.1.%d", i%addresses), 6, 1, 2)}})
		}
		if i := w.d.Open()[0]; i.Vector != want || i.Parts[0].Vector != status.VectorACK {
			t.Errorf("%d addresses are named %s, want %s", addresses, i.Vector, want)
		}
	}
}

// TestServicesOfOneAddressAreNoCarpet: a flood of random ports hits many services, but one address.
func TestServicesOfOneAddressAreNoCarpet(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(5, rates{{"a", status.VectorUDP}: 3000, {"b", status.VectorUDP}: 3000, {"c", status.VectorUDP}: 3000})
	for range 100 {
		w.d.Add([]status.Sample{{Time: w.now, Service: "a", Vector: status.VectorUDP, Bytes: frame("192.0.2.1", "198.18.1.10", 17, 1, 2)}})
	}
	if got := w.d.Open()[0].Vector; got != status.VectorUDP {
		t.Errorf("it is named %s, want udp", got)
	}
}

func TestOnlyProvenSessionsAreEvidence(t *testing.T) {
	w := attacked(t, status.VectorConnection)
	session := func(client string, path plan.Path, state string, bytes uint64, age time.Duration) status.Session {
		return status.Session{Protocol: plan.TCP, Path: path, Service: "web", State: state, BytesToOrigin: bytes, Started: w.now.Add(-age), Client: netip.MustParseAddrPort(client)}
	}
	sessions := []status.Session{
		session("192.0.2.1:1", plan.PathUser, "connecting", 0, 0),
		session("192.0.2.1:2", plan.PathKernel, "open", 10, time.Second),
		session("192.0.2.66:1", plan.PathKernel, "open", 0, 0), // the origin has answered, the client has not
		session("192.0.2.67:1", plan.PathUser, "open", 10, time.Hour),
	}
	udp := session("192.0.2.68:1", plan.PathUser, "open", 10, 0)
	udp.Protocol = plan.UDP
	sessions = append(sessions, udp)
	w.d.AddSessions(sessions)
	w.d.AddSessions(sessions) // the same ones count once
	e := w.d.Open()[0].Evidence
	if !e.Proven || e.Samples != 2 || len(e.Sources) != 1 || e.Sources[0] != (Count{"192.0.2.1", 2, 0}) || e.Networks[0].Value != "192.0.2.0/24" {
		t.Errorf("got %+v", e)
	}
}
