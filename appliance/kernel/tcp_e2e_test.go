//go:build e2e

package kernel

import (
	"fmt"
	"slices"
	"testing"

	"breakwater/appliance/status"
)

// TestTCP sends connections through the program, segment by segment. Each vector runs in IPv4 and IPv6, with the services
// that it is about.
func TestTCP(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, v := range slices.Concat(tcpBegins, tcpHeaders, tcpData, tcpEnds) {
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

// tcpVector is a connection, packet by packet.
type tcpVector struct {
	name  string
	ports []uint16
	run   func(*conn)
}

// The begin.
var tcpBegins = []tcpVector{
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
