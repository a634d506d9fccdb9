//go:build e2e

package kernel

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"breakwater/appliance/status"
)

// TestTCP sends connections through the program, segment by segment. Each vector runs in IPv4 and IPv6, with the services
// that it is about.
func TestTCP(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, v := range tcpVectors {
		for _, f := range families {
			for _, port := range v.ports {
				t.Run(fmt.Sprintf("%s/%s/%d", v.name, f.name, port), func(t *testing.T) {
					defer r.wipe(t)
					v.run(r.dial(t, f, port))
				})
			}
		}
	}
}

// Which services a vector is about.
var (
	plainOnly   = []uint16{portPlain}
	v2Only      = []uint16{portV2}
	headersOnly = []uint16{portV1, portV2}
	allHeaders  = []uint16{portPlain, portV1, portV2, portClear}
)

var synOnly = segment{flags: flagSYN, window: 60000}

var tcpVectors = []struct {
	name  string
	ports []uint16
	run   func(*conn)
}{
	// The begin.
	{"the handshake goes through, and the header is put behind it", allHeaders, (*conn).established},
	{"a SYN that comes again is passed on again", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		slot, _ := c.session(fromClient)
		c.moves(fromClient, synOnly, synOnly)
		if again, s := c.session(fromClient); again != slot || s.State != stateSYN {
			c.t.Errorf("slot %d in state %d, want %d in %d", again, s.State, slot, stateSYN)
		}
	}},
	{"a SYN that comes again after the answer is passed on again", allHeaders, func(c *conn) {
		c.opens()
		c.moves(fromClient, synOnly, synOnly)
		c.is(stateOpen, 0)
	}},
	{"a SYN with another number begins anew when nobody answered", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		old := c.source
		c.events(c.t)
		c.clientISN += 5000
		c.established()
		if c.source == old && c.edge.Port() != portClear {
			c.t.Errorf("the new connection has the source %s of the old one, to which the origin may still answer", c.source)
		}
		events := c.rig.events(c.t)
		if len(events) < 2 || events[0].Type != eventEnd || status.Reason(events[0].Session.Reason) != status.ClientReset || events[1].Type != eventBegin {
			c.t.Errorf("the events are %v", events)
		}
	}},
	{"a SYN with another number in a session that lives is challenged", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, dataAt(1, 1, "hello"))
		c.carries(fromOrigin, dataAt(1, 6, "welcome"))
		c.carries(fromClient, ackAt(6, 5))
		_, before := c.session(fromClient)
		for _, again := range []segment{
			{flags: flagSYN, seq: 0x30000000, window: 60000},
			{flags: flagSYN, seq: 100, window: 60000},
			{flags: flagSYN, seq: 0x90000000, window: 60000, options: options(optionMSS(1460), optionScale(7)), payload: "early", urgent: 3},
		} {
			got := c.passes(c.t, c.sent(fromClient, again).frame(), arrival{})
			same(c.t, got, c.received(fromOrigin, ackAt(5, 6))) // RFC 5961, 4.2
		}
		if _, after := c.session(fromClient); after != before {
			c.t.Errorf("the session became\n%+v, was\n%+v", after, before)
		}
		c.carries(fromOrigin, dataAt(8, 6, "go on"))
		// The client does not know that connection any more.
		c.carries(fromClient, segment{flags: flagRST, seq: 6})
		c.is(stateClosed, uint8(status.ClientReset))
		c.clientISN += 0x30000000
		c.established()
	}},
	{"an origin that is silent is left", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.edit(func(s *bpfSession) { s.Started -= 2.4e9 })
		c.moves(fromClient, synOnly, synOnly)
		c.is(stateSYN, 0)
		c.events(c.t)
		c.edit(func(s *bpfSession) { s.Started -= 0.2e9 })
		c.established() // with the same number
		events := c.rig.events(c.t)
		if len(events) < 2 || events[0].Type != eventEnd || status.Reason(events[0].Session.Reason) != status.ConnectTimeout || events[1].Type != eventBegin {
			c.t.Errorf("the events are %v", events)
		}
	}},
	{"a SYN after the end begins anew", allHeaders, func(c *conn) {
		c.established()
		c.closes()
		c.clientISN += 70000
		c.established()
	}},
	{"a SYN with the same number after a refusal begins anew", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromOrigin, resetAt(0, 1), resetAt(0, 1))
		c.is(stateClosed, uint8(status.OriginRefused))
		c.established()
		c.is(stateOpen, 0)
	}},
	{"an origin that remembers another connection is asked again", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		challenge := ackAt(77, 0x5000) // of the other connection: RFC 9293, 3.10.7.4
		c.moves(fromOrigin, challenge, challenge)
		c.moves(fromClient, segment{flags: flagRST, seq: 0x5000}, segment{flags: flagRST, seq: 0x5000})
		c.is(stateSYN, 0)
		c.moves(fromClient, synOnly, synOnly)
		c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(c.h())})
		c.is(stateOpen, 0)
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
	}},
	{"a SYN-ACK for another SYN opens nothing", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		for _, ack := range []uint32{0, 2, 1 + c.h() + 5, 0x40000000, 0x90000000} {
			wrong := segment{flags: flagSYN | flagACK, seq: 9, ack: ack, window: 60000}
			want := wrong
			want.window -= uint16(c.h())
			c.moves(fromOrigin, wrong, want)
			c.is(stateSYN, 0)
		}
		c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(c.h())})
		c.is(stateOpen, 0)
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
	}},
	{"a SYN-ACK that comes again changes nothing", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromOrigin, dataAt(1, 1, "welcome"))
		c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000, options: options(optionScale(3))},
			segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(c.h()), options: options(optionScale(3))})
		c.is(stateOpen, 0)
		if _, s := c.session(fromClient); s.Side[originSide].Next != c.originISN+8 || s.Side[client].Ack != c.originISN+1 || s.Side[originSide].Scale != 0 {
			c.t.Errorf("the origin's side became %+v", s.Side[originSide])
		}
	}},
	{"a SYN-ACK of a small window keeps none", headersOnly, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 20}, segment{flags: flagSYN | flagACK, ack: 1, window: 0})
	}},

	// Options of a SYN.
	{"the largest segment is what the way out can take", plainOnly, func(c *conn) {
		most := uint16(interfaceMTU - ip4Size - tcpSize)
		if !c.client.Addr().Is4() {
			most = interfaceMTU - ip6Size - tcpSize
		}
		offer := func(mss uint16) segment {
			return segment{flags: flagSYN, window: 60000, options: options(optionMSS(mss), optionScale(7), []byte{4, 2})}
		}
		c.syn(offer(8960), offer(most))
		answer := offer(9000)
		answer.flags, answer.ack = flagSYN|flagACK, 1
		want := answer
		want.options = offer(most).options
		c.moves(fromOrigin, answer, want)
		if _, s := c.session(fromClient); s.Side[client].Scale != 7 || s.Side[originSide].Scale != 7 {
			c.t.Errorf("the scales are %d and %d", s.Side[client].Scale, s.Side[originSide].Scale)
		}
	}},
	{"a small segment stays", plainOnly, func(c *conn) {
		s := segment{flags: flagSYN, window: 60000, options: options(optionMSS(536), optionTimestamps(7, 0), optionScale(14))}
		c.syn(s, s)
	}},
	{"an option at an odd place is found", plainOnly, func(c *conn) {
		in := segment{flags: flagSYN, window: 60000, options: []byte{1, 3, 3, 2, 1, 2, 4, 0xff, 0xff, 0, 0, 0}}
		want := in
		want.options = append([]byte{}, in.options...)
		most := uint16(interfaceMTU - ip4Size - tcpSize)
		if !c.client.Addr().Is4() {
			most = interfaceMTU - ip6Size - tcpSize
		}
		want.options[7], want.options[8] = uint8(most>>8), uint8(most)
		c.syn(in, want)
		if _, s := c.session(fromClient); s.Side[client].Scale != 2 {
			c.t.Errorf("the scale is %d", s.Side[client].Scale)
		}
	}},
	{"a scale beyond 14 counts as 14", plainOnly, func(c *conn) {
		s := segment{flags: flagSYN, window: 60000, options: options(optionScale(200))}
		c.syn(s, s)
		if _, s := c.session(fromClient); s.Side[client].Scale != 14 {
			c.t.Errorf("the scale is %d", s.Side[client].Scale)
		}
	}},
	{"SYN cookies' and ECN's flags stay", v2Only, func(c *conn) {
		const ece, cwr = 0x40, 0x80
		s := segment{flags: flagSYN | ece | cwr, window: 60000}
		c.syn(s, s)
		answer := segment{flags: flagSYN | flagACK | ece, ack: 1, window: 60000}
		want := answer
		want.window -= uint16(c.h())
		c.moves(fromOrigin, answer, want)
		c.moves(fromClient, segment{flags: flagACK | cwr, seq: 1, ack: 1}, segment{flags: flagACK | flagPSH | cwr, seq: 1, ack: 1, payload: c.header})
	}},
	{"TCP Fast Open is the user path's", allHeaders, refusesOption(34, 10)},
	{"TCP Fast Open without a cookie is the user path's", allHeaders, refusesOption(34, 2)},
	{"TCP Fast Open of old is the user path's", allHeaders, refusesOption(254, 12)},
	{"TCP MD5 is the user path's", allHeaders, refusesOption(19, 18)},
	{"TCP-AO is the user path's", allHeaders, refusesOption(29, 16)},
	{"MPTCP is the user path's", allHeaders, refusesOption(30, 12)},
	{"an option without a length is the user path's", plainOnly, refusesBytes(3, 0, 1, 1)},
	{"an option of one byte is the user path's", plainOnly, refusesBytes(2, 1, 1, 1)},
	{"an option beyond the end is the user path's", plainOnly, refusesBytes(1, 1, 8, 10)},
	{"an option without room for its length is the user path's", plainOnly, refusesBytes(1, 1, 1, 8)},
	{"what is behind the end of options does not count", plainOnly, func(c *conn) {
		s := segment{flags: flagSYN, window: 60000, options: []byte{0, 34, 2, 0}}
		c.syn(s, s)
	}},
	{"data in a SYN is the user path's", allHeaders, func(c *conn) {
		c.ignores(fromClient, segment{flags: flagSYN, window: 60000, payload: "early"}, leftOptions)
	}},

	// What belongs to nothing.
	{"what begins with anything but SYN is not ours", plainOnly, func(c *conn) {
		for _, flags := range []uint8{0, flagACK, flagSYN | flagACK, flagRST, flagFIN, flagFIN | flagACK, flagSYN | flagFIN, flagSYN | flagRST, 0x3f} {
			c.ignores(fromClient, segment{flags: flags, seq: 1, window: 100}, leftOther)
		}
	}},
	{"an origin without a session is not ours", plainOnly, func(c *conn) {
		c.source = c.edge
		c.ignores(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1}, leftOther)
	}},

	// The header.
	{"data comes before the header was acknowledged", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, dataAt(1, 1, "first words"), c.headed(dataAt(1, 1, "")))
		c.isSent(dataAt(1, 1, "first words").moved(c.h()))
		_, s := c.session(fromClient)
		if s.Side[client].Bytes != 11 || s.Side[client].Packets != 3 {
			c.t.Errorf("the client sent %d bytes in %d packets, want 11 in 3", s.Side[client].Bytes, s.Side[client].Packets)
		}
		c.moves(fromOrigin, ackAt(1, 1+c.h()+11), ackAt(1, 12))
		if _, s := c.session(fromClient); s.Flags&sessionHeaded == 0 {
			c.t.Error("the header counts as not acknowledged")
		}
	}},
	{"data that follows the header soon does not bring it again", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.edit(func(s *bpfSession) { s.HeaderSent = now() }) // a busy machine may have taken longer
		c.moves(fromClient, dataAt(1, 1, "first words"), dataAt(1, 1, "first words").moved(c.h()))
		c.moves(fromClient, dataAt(12, 1, "more"), dataAt(12, 1, "more").moved(c.h()))
	}},
	{"the header comes again 20 ms later", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.edit(func(s *bpfSession) { s.HeaderSent -= 21e6 })
		c.moves(fromClient, dataAt(1, 1, "first words"), c.headed(dataAt(1, 1, "")))
		c.isSent(dataAt(1, 1, "first words").moved(c.h()))
		c.moves(fromClient, dataAt(1, 1, "first words"), dataAt(1, 1, "first words").moved(c.h()))
		c.edit(func(s *bpfSession) { s.HeaderSent -= 21e6 })
		c.moves(fromClient, dataAt(1, 1, "first words"), c.headed(dataAt(1, 1, "")))
		c.isSent(dataAt(1, 1, "first words").moved(c.h()))
	}},
	{"a header that was lost is sent again when the origin shows that it has what is behind", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.edit(func(s *bpfSession) { s.HeaderSent = now() })
		c.moves(fromClient, dataAt(1, 1, "words"), dataAt(1, 1, "words").moved(c.h()))
		there := ackAt(1, 1)
		there.options = options(optionSACK(c.clientISN+c.shift+1+c.h(), c.clientISN+c.shift+6+c.h()))
		c.edit(func(s *bpfSession) { s.HeaderSent -= 4e6 })
		again := ackAt(1, 1)
		again.flags |= flagPSH
		again.payload = c.header
		same(c.t, c.passes(c.t, c.sent(fromOrigin, there).frame(), arrival{inner: true}), c.received(fromClient, again))
		c.moves(fromOrigin, ackAt(1, 6+c.h()), ackAt(1, 6))
	}},
	{"the header goes with each acknowledgement until it has arrived", headersOnly, func(c *conn) {
		c.opens()
		for range 3 {
			c.moves(fromClient, ackAt(1, 1), c.firstACK())
		}
		c.moves(fromOrigin, dataAt(1, 1, "welcome"), dataAt(1, 1, "welcome"))
		c.moves(fromClient, ackAt(1, 8), c.headed(ackAt(1, 8)))
		c.moves(fromOrigin, ackAt(8, 1+c.h()), ackAt(8, 1))
		c.moves(fromClient, ackAt(1, 8), ackAt(1, 8).moved(c.h()))
	}},
	{"the options of the packet stay in front of the header", headersOnly, func(c *conn) {
		c.opens()
		s := ackAt(1, 1)
		s.options = options(optionTimestamps(1, 2), optionSACK(c.originISN+100, c.originISN+200, c.originISN+300, c.originISN+400))
		c.moves(fromClient, s, c.headed(s))
	}},
	{"a FIN at once comes behind the header", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, finAt(1, 1), c.headed(ackAt(1, 1)))
		c.isSent(finAt(1, 1).moved(c.h()))
		if _, s := c.session(fromClient); s.Side[client].Flags&sideFIN == 0 || s.Side[client].Fin != c.clientISN+2 {
			c.t.Errorf("the client's side is %+v, want its FIN", s.Side[client])
		}
	}},
	{"data and FIN at once come behind the header", headersOnly, func(c *conn) {
		c.opens()
		s := finAt(1, 1)
		s.payload = "all that there is"
		c.moves(fromClient, s, c.headed(ackAt(1, 1)))
		c.isSent(s.moved(c.h()))
	}},
	{"urgent data stays where it is", headersOnly, func(c *conn) {
		c.opens()
		s := dataAt(1, 1, "now!")
		s.flags |= flagURG
		s.urgent = 4
		want := c.headed(s)
		c.moves(fromClient, s, want)
		c.isSent(s.moved(c.h()))
	}},
	{"later data does not bring the header", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, dataAt(500, 1, "from the middle"), dataAt(500, 1, "from the middle").moved(c.h()))
	}},
	{"acknowledgements are moved", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.moves(fromClient, dataAt(1, 1, "0123456789"), dataAt(1, 1, "0123456789").moved(c.h()))
		for _, said := range []uint32{0, 1, c.h() / 2, c.h() - 1} {
			c.moves(fromOrigin, ackAt(1, 1+said), ackAt(1, 1))
			if _, s := c.session(fromClient); s.Flags&sessionHeaded != 0 {
				c.t.Fatalf("%d bytes of the header count as all of it", said)
			}
		}
		c.moves(fromOrigin, ackAt(1, 1+c.h()), ackAt(1, 1))
		if _, s := c.session(fromClient); s.Flags&sessionHeaded == 0 {
			c.t.Error("the header counts as not acknowledged")
		}
		for _, said := range []uint32{0, 5, 10} {
			c.moves(fromOrigin, ackAt(1, 1+c.h()+said), ackAt(1, 1+said))
		}
	}},
	{"one acknowledgement for header and data", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.moves(fromClient, dataAt(1, 1, "0123456789"), dataAt(1, 1, "0123456789").moved(c.h()))
		c.moves(fromOrigin, dataAt(1, 1+c.h()+10, "answer"), dataAt(1, 11, "answer"))
		c.carries(fromClient, dataAt(11, 7, "more"))
	}},
	{"an acknowledgement of what was never sent does not count for the header", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromOrigin, ackAt(1, 1+c.h()+1000), ackAt(1, 1001))
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
	}},
	{"nobody else acknowledges the header", headersOnly, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromOrigin, ackAt(0, 1+c.h()), ackAt(0, 1+c.h()))
		c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(c.h())})
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
	}},
	{"a keepalive before the header has arrived", headersOnly, func(c *conn) {
		c.opens()
		c.moves(fromClient, ackAt(1, 1), c.firstACK())
		c.moves(fromClient, ackAt(0, 1), ackAt(0, 1))
	}},
	{"keepalives", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, ackAt(0, 1))
		c.carries(fromOrigin, ackAt(0, 1))
		c.carries(fromClient, dataAt(0, 1, "\x00")) // with a byte, as some do
		c.is(stateOpen, 0)
	}},

	// Data.
	{"data goes both ways and is counted", allHeaders, func(c *conn) {
		c.established()
		_, before := c.session(fromClient)
		text := strings.Repeat("0123456789", 140)
		c.carries(fromClient, dataAt(1, 1, "hello"))
		c.carries(fromOrigin, dataAt(1, 6, text))
		c.carries(fromClient, ackAt(6, 1401))
		c.carries(fromClient, dataAt(6, 1401, text))
		c.carries(fromOrigin, dataAt(1401, 1406, "!"))
		_, s := c.session(fromClient)
		for side, want := range [2]struct{ bytes, packets uint64 }{{1405, 3}, {1401, 2}} {
			got := s.Side[side]
			if got.Bytes != want.bytes || got.Packets-before.Side[side].Packets != want.packets {
				c.t.Errorf("side %d sent %d bytes in %d packets, want %+v", side, got.Bytes, got.Packets-before.Side[side].Packets, want)
			}
		}
		if got := s.Side[client]; got.Next != c.clientISN+1406 || got.Ack != c.originISN+1401 || got.Flags != sideSpoke|sideProven {
			c.t.Errorf("the client's side is %+v", got)
		}
		if got := s.Side[originSide]; got.Next != c.originISN+1402 || got.Ack != c.clientISN+1406 || got.Flags != sideSpoke {
			c.t.Errorf("the origin's side is %+v", got)
		}
	}},
	{"blocks of selective acknowledgements are moved", allHeaders, func(c *conn) {
		c.established()
		for blocks := 1; blocks <= 4; blocks++ {
			for lead := range 4 {
				for _, stamps := range []bool{false, true} {
					build := func(base uint32) []byte {
						var edges []uint32
						for i := range 2 * blocks {
							edges = append(edges, base+20+uint32(i)*7) // the first of them on both sides of 2^32
						}
						o := bytes.Repeat([]byte{1}, lead)
						if stamps {
							o = append(o, optionTimestamps(0xdeadbeef, 0x05060708)...)
						}
						o = append(o, optionSACK(edges...)...)
						for len(o)%4 != 0 {
							o = append(o, 1)
						}
						return o
					}
					if in := build(c.clientISN - 10 + c.shift + c.h()); len(in) <= 40 {
						there, here := ackAt(1, 1+c.h()), ackAt(1, 1)
						there.options, here.options = in, build(c.clientISN-10)
						c.moves(fromOrigin, there, here)
					}
				}
			}
		}
	}},
	{"blocks of the client are of the origin's numbers", headersOnly, func(c *conn) {
		c.established()
		s := ackAt(1, 1)
		s.options = options(optionSACK(c.originISN+100, c.originISN+200))
		c.carries(fromClient, s)
	}},
	{"options that cannot be read stay", headersOnly, func(c *conn) {
		c.established()
		for _, o := range [][]byte{{5, 0, 1, 1}, {5, 1, 1, 1}, {5, 10, 0, 0}, {1, 1, 1, 5}, {8, 255, 0, 0}, {0, 5, 10, 0}, {77, 2, 1, 1}, {5, 2, 1, 1}} {
			s := ackAt(1, 1)
			s.options = o
			c.carries(fromOrigin, s)
			c.carries(fromClient, s)
		}
	}},
	{"numbers go round", allHeaders, func(c *conn) {
		c.clientISN, c.originISN = 0xffffffff, 0xffffffff
		c.established()
		c.carries(fromClient, dataAt(1, 1, "a"))
		c.carries(fromOrigin, dataAt(1, 2, "b"))
		c.carries(fromClient, dataAt(2, 2, "c"))
		c.carries(fromOrigin, finAt(2, 3))
		c.carries(fromClient, finAt(3, 3))
		c.carries(fromOrigin, ackAt(3, 4))
		c.is(stateClosed, 0)
	}},
	{"numbers pass the middle", allHeaders, func(c *conn) {
		c.clientISN, c.originISN = 0x7fffffff, 0x7ffffffe
		c.established()
		c.carries(fromClient, dataAt(1, 1, "a"))
		c.carries(fromOrigin, dataAt(1, 2, "b"))
		c.closesAt(2, 2)
	}},
	{"the checksum may be any number", plainOnly, func(c *conn) {
		c.established()
		for i := range 200 { // among these, sums that come to 0 and 0xffff
			c.carries(fromClient, dataAt(1, 1, string([]byte{uint8(i * 7), uint8(i * 31), uint8(i)})))
			c.carries(fromOrigin, dataAt(1, 1, string([]byte{uint8(i * 11), uint8(i * 3)})))
		}
	}},
	{"an Ethernet's padding is no data", allHeaders, func(c *conn) {
		pad := func(p packet) []byte { return append(p.frame(), 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad) }
		got := c.passes(c.t, pad(c.sent(fromClient, synOnly)), arrival{})
		c.source, c.shift = got.from, got.seq-c.clientISN
		c.learn()
		same(c.t, got, c.received(fromClient, synOnly))
		answer := segment{flags: flagSYN | flagACK, ack: 1, window: 60000}
		want := answer
		want.window -= uint16(c.h())
		same(c.t, c.passes(c.t, pad(c.sent(fromOrigin, answer)), arrival{inner: true}), c.received(fromOrigin, want))
		same(c.t, c.passes(c.t, pad(c.sent(fromClient, ackAt(1, 1))), arrival{}), c.received(fromClient, c.firstACK()))
		same(c.t, c.passes(c.t, pad(c.sent(fromClient, dataAt(1, 1, "x"))), arrival{}), c.received(fromClient, dataAt(1, 1, "x").moved(c.h())))
		if _, s := c.session(fromClient); s.Side[client].Bytes != 1 {
			c.t.Errorf("the client sent %d bytes, want 1", s.Side[client].Bytes)
		}
	}},
	{"a last hop ends here", allHeaders, func(c *conn) {
		last := synOnly
		last.ttl = 1
		c.refuses(fromClient, last, dropTTL)
		c.established()
		for _, ttl := range []uint8{1, 255} {
			s := dataAt(1, 1, "x")
			if s.ttl = ttl; ttl == 1 {
				c.refuses(fromClient, s, dropTTL)
				s.ack += c.h()
				c.refuses(fromOrigin, s, dropTTL)
				continue
			}
			c.carries(fromClient, s)
			c.carries(fromOrigin, s)
		}
		s := dataAt(2, 1, "y")
		s.ttl = 2
		c.carries(fromClient, s)
	}},

	// Windows.
	{"data beyond what was offered is dropped", allHeaders, func(c *conn) {
		c.established()
		for _, seq := range []uint32{60000 + windowSlack + 2, 0x10000000, 0x7fff0000, 0x80000000, 0xf0000000, uint32(1<<32 - 1<<24 - 100)} {
			c.refuses(fromClient, dataAt(seq, 1, "x"), dropWindow)
			s := dataAt(seq, 1, "x")
			s.ack += c.h()
			c.refuses(fromOrigin, s, dropWindow)
		}
		c.is(stateOpen, 0)
		c.carries(fromClient, dataAt(1, 1, "go on"))
		c.carries(fromOrigin, dataAt(1, 6, "go on"))
	}},
	{"data at the edge of what was offered passes", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, dataAt(60000, 1, "x"))
		c.carries(fromOrigin, dataAt(60000, 1, "x"))
		c.carries(fromClient, dataAt(60001-1+windowSlack-c.h(), 1, "x"))
	}},
	{"a scaled window is wide", plainOnly, func(c *conn) {
		s := segment{flags: flagSYN, window: 60000, options: options(optionScale(7))}
		c.syn(s, s)
		answer := s
		answer.flags, answer.ack = flagSYN|flagACK, 1
		c.moves(fromOrigin, answer, answer)
		c.carries(fromClient, ackAt(1, 1))
		c.carries(fromOrigin, ackAt(1, 1))
		c.carries(fromClient, dataAt(60000*128, 1, "x"))
		c.carries(fromOrigin, dataAt(60000*128, 1, "x"))
		c.refuses(fromClient, dataAt(60000*128+2*windowSlack, 1, "x"), dropWindow)
	}},
	{"old data passes, for the other side to say what it has", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, dataAt(1, 1, strings.Repeat("x", 1000)))
		c.carries(fromOrigin, ackAt(1, 1001))
		c.carries(fromClient, dataAt(1, 1, strings.Repeat("x", 1000)))
	}},
	{"a wrong acknowledgement does not move the window", allHeaders, func(c *conn) {
		c.established()
		for _, ack := range []uint32{100000, 0x01000000, 0x10000000, 0x7ffffff0} {
			c.carries(fromClient, ackAt(1, ack))
			c.carries(fromOrigin, ackAt(1, ack))
		}
		c.carries(fromClient, dataAt(1, 1, "go on"))
		c.carries(fromOrigin, dataAt(1, 6, "go on"))
		c.carries(fromClient, dataAt(6, 6, "and on"))
	}},

	{"a side that takes nothing is noted", allHeaders, func(c *conn) {
		c.established()
		full, some := ackAt(1, 1), ackAt(1, 1)
		full.window, some.window = 0, 1
		for _, from := range []int{fromClient, fromOrigin} {
			c.carries(from, full)
			_, s := c.session(fromClient)
			since := s.Side[from].Stalled
			if since == 0 {
				c.t.Fatalf("side %d counts as one that takes data", from)
			}
			c.carries(from, full)
			if _, s := c.session(fromClient); s.Side[from].Stalled != since {
				c.t.Errorf("side %d counts as one that stalls since %d, then since %d", from, since, s.Side[from].Stalled)
			}
			c.carries(from, some)
			if _, s := c.session(fromClient); s.Side[from].Stalled != 0 {
				c.t.Errorf("side %d counts as one that stalls", from)
			}
		}
	}},

	// The end.
	{"both sides finish, the client first", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, finAt(1, 1))
		c.is(stateOpen, 0)
		c.carries(fromOrigin, ackAt(1, 2))
		c.carries(fromOrigin, dataAt(1, 2, "the rest"))
		c.carries(fromClient, ackAt(2, 9))
		c.carries(fromOrigin, finAt(9, 2))
		c.is(stateOpen, 0)
		c.carries(fromClient, ackAt(2, 10))
		c.is(stateClosed, 0)
		c.carries(fromOrigin, finAt(9, 2)) // the last acknowledgement was lost
		c.carries(fromClient, ackAt(2, 10))
		if _, s := c.session(fromClient); s.Flags&sessionLong != 0 {
			c.t.Error("the origin counts as the one that closed first")
		}
	}},
	{"both sides finish, the origin first", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromOrigin, finAt(1, 1))
		c.carries(fromClient, ackAt(1, 2))
		c.carries(fromClient, dataAt(1, 2, "the rest"))
		c.carries(fromClient, finAt(9, 2))
		c.carries(fromOrigin, ackAt(2, 10))
		c.is(stateClosed, 0)
		if _, s := c.session(fromClient); s.Flags&sessionLong == 0 {
			c.t.Error("it is not known that the origin closed first")
		}
	}},
	{"both sides finish at once", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, finAt(1, 1))
		c.carries(fromOrigin, finAt(1, 1))
		c.carries(fromClient, ackAt(2, 2))
		c.is(stateOpen, 0)
		c.carries(fromOrigin, ackAt(2, 2))
		c.is(stateClosed, 0)
	}},
	{"a FIN with data counts both", allHeaders, func(c *conn) {
		c.established()
		s := finAt(1, 1)
		s.payload = "bye"
		c.carries(fromClient, s)
		c.carries(fromOrigin, ackAt(1, 4)) // not the FIN yet
		c.carries(fromOrigin, finAt(1, 4))
		c.carries(fromClient, ackAt(5, 2))
		c.is(stateOpen, 0)
		c.carries(fromOrigin, ackAt(2, 5))
		c.is(stateClosed, 0)
	}},
	{"an RST of the client ends the session", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, dataAt(1, 1, "half a wo"))
		c.carries(fromClient, resetAt(10, 1))
		c.is(stateClosed, uint8(status.ClientReset))
	}},
	{"an RST of the client at what was acknowledged ends the session", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, dataAt(1, 1, "half a wo"))
		c.carries(fromClient, segment{flags: flagRST, seq: 1})
		c.is(stateClosed, uint8(status.ClientReset))
	}},
	{"an RST of the origin ends the session", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromOrigin, resetAt(1, 1))
		c.is(stateClosed, uint8(status.OriginReset))
	}},
	{"an RST that is not exact is the other side's to judge", allHeaders, func(c *conn) {
		c.established()
		c.carries(fromClient, segment{flags: flagRST, seq: 3000})
		c.carries(fromOrigin, segment{flags: flagRST, seq: 3000})
		c.is(stateOpen, 0)
	}},
	{"an RST outside the window is dropped", allHeaders, func(c *conn) {
		c.established()
		c.refuses(fromClient, segment{flags: flagRST, seq: 0x20000000}, dropWindow)
		c.refuses(fromOrigin, segment{flags: flagRST, seq: 0x20000000}, dropWindow)
		c.is(stateOpen, 0)
	}},
	{"an origin that refuses", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromOrigin, resetAt(0, 1), resetAt(0, 1))
		c.is(stateClosed, uint8(status.OriginRefused))
	}},
	{"a refusal that does not know the SYN ends nothing", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromOrigin, segment{flags: flagRST, seq: 0}, segment{flags: flagRST, seq: 0})
		for _, ack := range []uint32{0, 2, 1 + c.h() + 1, 0x12345678, 0xf0000000} {
			c.moves(fromOrigin, resetAt(0, ack), resetAt(0, ack))
		}
		c.is(stateSYN, 0)
	}},
	{"a client that gives up before the answer", allHeaders, func(c *conn) {
		c.syn(synOnly, synOnly)
		c.moves(fromClient, segment{flags: flagRST, seq: 1}, segment{flags: flagRST, seq: 1})
		c.is(stateClosed, uint8(status.ClientReset))
	}},
	{"a session that was killed is the stack's to answer", allHeaders, func(c *conn) {
		c.established()
		slot, s := c.session(fromClient)
		done, err := c.path.call(bpfEnding{Slot: slot, Generation: s.Generation, Reason: uint32(status.Killed), Flags: sessionKilled})
		if err != nil || !done {
			c.t.Fatalf("the session was not killed: %v", err)
		}
		c.is(stateClosed, uint8(status.Killed))
		c.ignores(fromClient, dataAt(1, 1, "anyone?"), leftOther)
		c.ignores(fromOrigin, dataAt(1, 1+c.h(), "anyone?"), leftOther)
		c.ignores(fromClient, synOnly, leftOther)
	}},
	{"a session that was idle goes without a word", allHeaders, func(c *conn) {
		c.established()
		slot, s := c.session(fromClient)
		e := bpfEnding{Slot: slot, Generation: s.Generation, Reason: uint32(status.Idle)}
		for _, want := range []bool{true, false} { // once
			if done, err := c.path.call(e); err != nil || done != want {
				c.t.Errorf("ended %t, want %t: %v", done, want, err)
			}
		}
		c.is(stateClosed, uint8(status.Idle))
		c.carries(fromClient, dataAt(1, 1, "still under way"))
	}},
	{"begin, answer and end are reported", allHeaders, func(c *conn) {
		c.events(c.t)
		c.established()
		c.closes()
		slot, s := c.session(fromClient)
		var types []uint32
		for _, e := range c.events(c.t) {
			if types = append(types, e.Type); e.Slot != slot || e.Session.Id != s.Id {
				c.t.Errorf("an event is about slot %d and session %x, want %d and %x", e.Slot, e.Session.Id, slot, s.Id)
			}
		}
		if fmt.Sprint(types) != fmt.Sprint([]uint32{eventBegin, eventAnswered, eventEnd}) {
			c.t.Errorf("the events are %d", types)
		}
	}},

	// What cannot happen, or hardly.
	{"without a way back for the data, nothing goes", headersOnly, func(c *conn) {
		c.opens()
		c.must(c.t, func() error { return setLink("edge0", false) })
		c.refuses(fromClient, dataAt(1, 1, "first words"), dropHeader)
		c.must(c.t, func() error { return setLink("edge0", true) })
	}},
	{"a session without a header to send", v2Only, func(c *conn) {
		c.opens()
		c.edit(func(s *bpfSession) { s.Header = headerNone })
		c.refuses(fromClient, ackAt(1, 1), dropInternal)
	}},
}

const windowSlack = 65536

// refusesOption is a vector of a SYN with an option of this kind and length.
func refusesOption(kind, length uint8) func(*conn) {
	o := make([]byte, length)
	o[0], o[1] = kind, length
	return refusesBytes(options(optionMSS(1460), o)...)
}

func refusesBytes(bytes ...byte) func(*conn) {
	return func(c *conn) {
		c.ignores(fromClient, segment{flags: flagSYN, window: 60000, options: bytes}, leftOptions)
	}
}

// firstACK is what the third packet of the handshake becomes.
func (c *conn) firstACK() segment {
	if c.header == "" {
		return ackAt(1, 1)
	}
	return c.headed(ackAt(1, 1))
}

// isSent compares the packet that left by itself, as it came in once more.
func (c *conn) isSent(want segment) {
	c.t.Helper()
	same(c.t, c.sniffs(c.t, protocolTCP, c.source, c.origin), c.received(fromClient, want))
}

// closesAt ends an established connection at these numbers.
func (c *conn) closesAt(clientNext, originNext uint32) {
	c.t.Helper()
	c.carries(fromClient, finAt(clientNext, originNext))
	c.carries(fromOrigin, finAt(originNext, clientNext+1))
	c.carries(fromClient, ackAt(clientNext+1, originNext+1))
	c.is(stateClosed, 0)
}
