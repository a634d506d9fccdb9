//go:build e2e

package kernel

import (
	"bytes"
	"fmt"
	"strings"

	"breakwater/appliance/status"
)

// Data.
var tcpData = []tcpVector{
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
}

// The end.
var tcpEnds = []tcpVector{
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
