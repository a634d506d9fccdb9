//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"testing"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// flow is one UDP flow through the program.
type flow struct {
	*rig
	t                            testing.TB
	client, edge, source, origin netip.AddrPort
	v2, spp                      string // the header that it has to have
}

func (r *rig) flow(t testing.TB, f family, port uint16) *flow {
	t.Helper()
	u := &flow{
		rig: r, t: t, client: netip.AddrPortFrom(f.client, 40000), edge: netip.AddrPortFrom(f.edge, port), origin: netip.AddrPortFrom(f.origin, port),
	}
	v2, err := header.V2(plan.UDP, u.client, u.edge, header.TLVs{})
	if err != nil {
		t.Fatal(err)
	}
	spp := header.SPP(u.client, u.edge)
	u.v2, u.spp = string(v2), string(spp[:])
	return u
}

func (u *flow) sent(from int, payload string) packet {
	if from == fromClient {
		return packet{from: u.client, to: u.edge, protocol: protocolUDP, payload: []byte(payload), ttl: 64}
	}
	return packet{from: u.origin, to: u.source, protocol: protocolUDP, payload: []byte(payload), ttl: 64}
}

func (u *flow) received(from int, payload string) packet {
	if from == fromClient {
		return packet{from: u.source, to: u.origin, protocol: protocolUDP, payload: []byte(payload), ttl: 63}
	}
	return packet{from: u.edge, to: u.client, protocol: protocolUDP, payload: []byte(payload), ttl: 63}
}

// begins sends the first datagram and learns the source port.
func (u *flow) begins(payload, want string) {
	u.t.Helper()
	got := u.passes(u.t, u.sent(fromClient, payload).frame(), arrival{})
	u.source = got.from
	same(u.t, got, u.received(fromClient, want))
}

// moves sends a datagram and compares what the other side gets.
func (u *flow) moves(from int, payload, want string) {
	u.t.Helper()
	same(u.t, u.passes(u.t, u.sent(from, payload).frame(), arrival{inner: from == fromOrigin}), u.received(from, want))
}

func (u *flow) refuses(from int, payload string, why int) {
	u.t.Helper()
	u.drops(u.t, u.sent(from, payload).frame(), arrival{inner: from == fromOrigin}, protocolUDP, why)
}

func (u *flow) session() (uint32, bpfSession) {
	u.t.Helper()
	return u.slot(u.t, protocolUDP, u.client, u.edge)
}

func (u *flow) ends() {
	u.t.Helper()
	slot, s := u.session()
	if done, err := u.path.call(bpfEnding{Slot: slot, Generation: s.Generation}); err != nil || !done {
		u.t.Fatal(done, err)
	}
}

// text is n bytes of which no two neighbours are equal.
func text(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = uint8(i*7 + i>>8)
	}
	return string(b)
}

// sizes are payloads on both sides of what is moved in one piece.
var sizes = []int{0, 1, 2, 3, 84, 127, 128, 129, 255, 256, 257, 383, 1000, 1400}

// TestUDP sends flows through the program, in IPv4 and IPv6.
func TestUDP(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, v := range udpVectors {
		for _, f := range families {
			for _, port := range v.ports {
				t.Run(fmt.Sprintf("%s/%s/%d", v.name, f.name, port), func(t *testing.T) {
					defer r.wipe(t)
					v.run(r.flow(t, f, port), f)
				})
			}
		}
	}
}

var udpVectors = []struct {
	name  string
	ports []uint16
	run   func(*flow, family)
}{
	{"no header", []uint16{portPlain}, func(u *flow, _ family) {
		u.begins("hello", "hello")
		for _, n := range sizes {
			u.moves(fromClient, text(n), text(n))
			u.moves(fromOrigin, text(n), text(n))
		}
	}},
	{"v2 on each datagram", []uint16{portV1, portClear}, func(u *flow, _ family) {
		u.begins("hello", u.v2+"hello")
		for _, n := range sizes {
			u.moves(fromClient, text(n), u.v2+text(n))
			u.moves(fromOrigin, text(n), text(n))
		}
	}},
	{"v2 on the first datagram", []uint16{portV2}, func(u *flow, _ family) {
		u.begins("hello", u.v2+"hello")
		for _, n := range sizes {
			u.moves(fromClient, text(n), text(n))
			u.moves(fromOrigin, text(n), text(n))
		}
	}},
	{"v2 on a first datagram of any size", []uint16{portV1, portV2}, func(u *flow, f family) {
		for i, n := range sizes {
			u := u.rig.flow(u.t, f, u.edge.Port())
			u.client = netip.AddrPortFrom(f.client, uint16(50000+i))
			v2, err := header.V2(plan.UDP, u.client, u.edge, header.TLVs{})
			if err != nil {
				u.t.Fatal(err)
			}
			u.begins(text(n), string(v2)+text(n))
		}
	}},
	{"SPP both ways", []uint16{portSPP}, func(u *flow, _ family) {
		u.begins("hello", u.spp+"hello")
		for _, n := range sizes {
			u.moves(fromClient, text(n), u.spp+text(n))
			u.moves(fromOrigin, u.spp+text(n), text(n))
		}
	}},
	{"an answer without SPP, or with another", []uint16{portSPP}, func(u *flow, _ family) {
		u.begins("hello", u.spp+"hello")
		u.refuses(fromOrigin, "", dropSPP)
		u.refuses(fromOrigin, text(37), dropSPP)
		u.refuses(fromOrigin, text(38), dropSPP)
		u.refuses(fromOrigin, u.spp[:37], dropSPP)
		for i := range u.spp {
			wrong := []byte(u.spp + "answer")
			wrong[i] ^= 0x80
			u.refuses(fromOrigin, string(wrong), dropSPP)
		}
		if _, s := u.session(); s.State != stateSYN || s.Side[originSide].Packets != 0 {
			u.t.Errorf("the origin counts as one that answered: %+v", s)
		}
		u.moves(fromOrigin, u.spp, "")
	}},
	{"a datagram without a checksum stays one", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		for _, n := range sizes {
			in, want := u.sent(fromClient, text(n)), u.received(fromClient, heading+text(n))
			in.unsummed, want.unsummed = true, true
			same(u.t, u.passes(u.t, in.frame(), arrival{}), want)
			if heading == u.v2 {
				heading = "" // towards the client there is none
			}
			in, want = u.sent(fromOrigin, heading+text(n)), u.received(fromOrigin, text(n))
			in.unsummed, want.unsummed = true, true
			same(u.t, u.passes(u.t, in.frame(), arrival{inner: true}), want)
			heading = map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		}
	}},
	{"a checksum of zero is written as 0xffff", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		found := 0
		for i := range 65536 { // one of these comes to it
			payload := string([]byte{uint8(i >> 8), uint8(i)})
			want := u.received(fromClient, heading+payload)
			if b := want.transport(); b[6] != 0xff || b[7] != 0xff {
				continue
			}
			found++
			u.moves(fromClient, payload, heading+payload)
		}
		if found == 0 {
			u.t.Error("none of the payloads had such a checksum")
		}
	}},
	{"an Ethernet's padding, and what is behind the datagram", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		padded := append(u.sent(fromClient, "x").frame(), make([]byte, 17)...)
		same(u.t, u.passes(u.t, padded, arrival{}), u.received(fromClient, heading+"x"))
		if u.edge.Port() == portSPP {
			padded = append(u.sent(fromOrigin, heading+"x").frame(), make([]byte, 17)...)
			same(u.t, u.passes(u.t, padded, arrival{inner: true}), u.received(fromOrigin, "x"))
		}
	}},
	{"a datagram that does not fit is dropped", []uint16{portPlain, portV1, portSPP}, func(u *flow, f family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		most := interfaceMTU - f.ip - udpSize
		u.begins("hello", heading+"hello")
		u.moves(fromClient, text(most-len(heading)), heading+text(most-len(heading)))
		u.refuses(fromClient, text(most-len(heading)+1), dropOversize)
		if u.edge.Port() == portPlain {
			u.moves(fromOrigin, text(most), text(most))
			u.refuses(fromOrigin, text(most+1), dropOversize)
		}
		if _, s := u.session(); s.Side[client].Bytes != uint64(5+most-len(heading)) || s.Side[client].Packets != 2 {
			u.t.Errorf("the client sent %d bytes in %d datagrams", s.Side[client].Bytes, s.Side[client].Packets)
		}
	}},
	{"a batch of datagrams", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		in := u.sent(fromClient, text(100))
		if heading != "" { // the program asks interfaces for single ones
			u.drops(u.t, in.frame(), arrival{gso: 2}, protocolUDP, dropInternal)
			return
		}
		same(u.t, u.passes(u.t, in.frame(), arrival{gso: 2}), u.received(fromClient, text(100)))
	}},
	{"answers to a client that may not be real", []uint16{portTight}, func(u *flow, f family) {
		u.begins("", "") // 84 bytes on the wire, 86 with IPv6, so that twice that may come back
		u.moves(fromOrigin, text(40), text(40))
		u.refuses(fromOrigin, text(40), dropAmplification)
		u.refuses(fromOrigin, "", dropAmplification)
		u.moves(fromClient, "", "") // a first time after an answer
		u.refuses(fromOrigin, text(500), dropAmplification)
		u.moves(fromOrigin, "", "")
		u.moves(fromClient, "", "") // a second time
		u.moves(fromOrigin, text(1400), text(1400))
		u.moves(fromOrigin, text(1400), text(1400))
	}},
	{"an answer as large as may be", []uint16{portTight}, func(u *flow, f family) {
		u.begins("", "")
		const ether = 38 // preamble and gap with it
		most := amplifyTight*max(84, ether+f.ip+udpSize) - ether - f.ip - udpSize
		u.refuses(fromOrigin, text(most+1), dropAmplification)
		u.moves(fromOrigin, text(most), text(most))
	}},
	{"a last hop ends here", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		in := u.sent(fromClient, "x")
		in.ttl = 1
		u.drops(u.t, in.frame(), arrival{}, protocolUDP, dropTTL)
		in = u.sent(fromOrigin, heading+"x")
		in.ttl = 1
		if heading == u.v2 {
			in.payload = []byte("x")
		}
		u.drops(u.t, in.frame(), arrival{inner: true}, protocolUDP, dropTTL)
	}},
	{"begin, answer and end are reported, and all is counted", []uint16{portPlain, portV1, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.events(u.t)
		u.begins("hello", heading+"hello")
		answer := "welcome"
		if heading == u.spp {
			answer = heading + answer
		}
		u.moves(fromOrigin, answer, "welcome")
		u.moves(fromOrigin, answer, "welcome")
		_, s := u.session()
		if s.State != stateOpen || s.Side[client].Bytes != 5 || s.Side[client].Packets != 1 || s.Side[originSide].Bytes != 14 || s.Side[originSide].Packets != 2 {
			u.t.Errorf("the session is %+v", s)
		}
		u.ends()
		var types []uint32
		for _, e := range u.rig.events(u.t) {
			types = append(types, e.Type)
		}
		if fmt.Sprint(types) != fmt.Sprint([]uint32{eventBegin, eventAnswered, eventEnd}) {
			u.t.Errorf("the events are %d", types)
		}
	}},
	{"a flow that is over begins anew", []uint16{portPlain, portV1, portV2, portSPP}, func(u *flow, _ family) {
		heading := map[uint16]string{portV1: u.v2, portV2: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.begins("hello", heading+"hello")
		old := u.source
		u.ends()
		u.leaves(u.t, u.sent(fromOrigin, "too late").frame(), arrival{inner: true}, leftOther)
		u.begins("again", heading+"again")
		if u.edge.Port() == portV2 {
			// The origin may remember that it saw the header from this port, so the port rests.
			if u.source == old {
				u.t.Error("the port of the first flow is used again")
			}
			if _, s := u.slot(u.t, protocolUDP, u.origin, old); s.State != stateClosed {
				u.t.Errorf("the first flow has state %d", s.State)
			}
		}
	}},
	{"a port that rests is not taken", []uint16{portV2}, func(u *flow, f family) {
		u.ports(u.t, 20000, 20000)
		defer u.apply(u.t, vectorPlan())
		u.begins("hello", u.v2+"hello")
		u.ends()
		u.leaves(u.t, u.sent(fromClient, "again").frame(), arrival{}, leftPort)
	}},
	{"a port that does not rest is taken", []uint16{portV1, portSPP}, func(u *flow, f family) {
		heading := map[uint16]string{portV1: u.v2, portSPP: u.spp}[u.edge.Port()]
		u.ports(u.t, 20000, 20000)
		defer u.apply(u.t, vectorPlan())
		u.begins("hello", heading+"hello")
		other := u.rig.flow(u.t, f, u.edge.Port())
		other.client = netip.AddrPortFrom(f.client, 40001)
		u.leaves(u.t, other.sent(fromClient, "hello").frame(), arrival{}, leftPort)
		u.ends()
		got := u.passes(u.t, other.sent(fromClient, "hello").frame(), arrival{})
		if got.from != u.source {
			u.t.Errorf("the source is %s, want %s", got.from, u.source)
		}
	}},
	{"a flow that was killed begins anew", []uint16{portPlain}, func(u *flow, _ family) {
		u.begins("hello", "hello")
		_, s := u.session()
		u.must(u.t, func() error {
			_, err := u.path.Kill(status.ID(s.Id))
			return err
		})
		if _, s := u.session(); s.State != stateClosed || status.Reason(s.Reason) != status.Killed {
			u.t.Errorf("the flow has state %d and reason %d", s.State, s.Reason)
		}
		u.leaves(u.t, u.sent(fromOrigin, "too late").frame(), arrival{inner: true}, leftOther)
		u.begins("again", "again")
	}},
}
