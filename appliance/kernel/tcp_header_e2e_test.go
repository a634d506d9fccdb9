//go:build e2e

package kernel

// The header.
var tcpHeaders = []tcpVector{
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
}
