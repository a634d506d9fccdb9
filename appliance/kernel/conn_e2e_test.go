//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
)

// The services of the vectors, by the edge port that leads to them, in IPv4 and IPv6.
const (
	portPlain    = 1000 // no header at all
	portV1       = 1001 // TCP v1, UDP v2 on each datagram
	portV2       = 1002 // TCP v2, UDP v2 on the first
	portSPP      = 1003 // TCP v2, UDP SPP
	portUser     = 1004 // of the user path
	portTight    = 1005 // UDP without a header; answers bounded by what came in
	portClear    = 1006 // transparent, with v2
	portOne      = 1100 // to 1199: the origin has one port, 25565
	portRange    = 2000 // to 2999: to 5000 and up
	portNarrow   = 2500 // of the plain service, in the middle of those
	portShort    = 3000 // to 3099: the origin has 50 ports, 7000 to 7049
	portFamily   = 4000 // the origin is of the other IP version
	portTwo      = 4001 // two origins
	portNothing  = 9    // of no service
	originOne    = 25565
	amplifyTight = 2
)

var (
	edge4   = netip.MustParseAddr("192.0.2.1")
	edge6   = netip.MustParseAddr("2001:db8:1::1")
	client4 = netip.MustParseAddr("198.51.100.77")
	client6 = netip.MustParseAddr("2001:db8:77::1234")
	origin4 = netip.MustParseAddr("10.1.0.2")
	origin6 = netip.MustParseAddr("2001:db8:2::2")
	second4 = netip.MustParseAddr("10.1.0.3")
	second6 = netip.MustParseAddr("2001:db8:2::3")
)

// family is what the vectors of one IP version use.
type family struct {
	name                         string
	client, edge, origin, second netip.Addr
	source                       netip.Addr
	ip                           int // bytes of the header
}

var families = []family{
	{"IPv4", client4, edge4, origin4, second4, source4, ip4Size},
	{"IPv6", client6, edge6, origin6, second6, source6, ip6Size},
}

// vectorPlan has every service for both IP versions.
func vectorPlan() *plan.Plan {
	p := &plan.Plan{Revision: 1, Steering: plan.Steering{Interfaces: []string{"edge0"}}}
	timeouts := plan.Timeouts{
		Connect: time.Hour, Header: time.Hour, Idle: time.Hour, HalfClose: time.Hour, WriteStall: time.Hour, FlowIdle: time.Hour,
	}
	for i, f := range families {
		pool := func(name string, origins ...plan.Origin) int {
			for n := range origins {
				origins[n].Name, origins[n].Weight, origins[n].State = fmt.Sprintf("origin-%d", n), 1, plan.Active
			}
			p.Pools = append(p.Pools, plan.Pool{
				Name: name + f.name, Choice: plan.SourceHash, Origins: origins, Health: plan.Health{Check: plan.CheckNone, Fall: 1, Rise: 1},
			})
			return len(p.Pools) - 1
		}
		service := func(s plan.Service) int {
			s.Name, s.Timeouts = s.Name+f.name, timeouts
			p.Services = append(p.Services, s)
			return len(p.Services) - 1
		}
		route := func(first, last uint16, service int) {
			for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
				p.Routes = append(p.Routes, plan.Route{
					Protocol: protocol, FirstPort: first, LastPort: last, Service: service,
					Addresses: []netip.Prefix{netip.PrefixFrom(f.edge, f.edge.BitLen())},
				})
			}
		}
		address := f.origin.String()
		same := pool("same", plan.Origin{Address: address})
		plain := service(plan.Service{Name: "plain", Pool: same, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone})
		route(portPlain, portPlain, plain)
		route(portV1, portV1, service(plan.Service{Name: "v1", Pool: same, TCPHeader: plan.TCPV1, UDPHeader: plan.UDPV2Each}))
		route(portV2, portV2, service(plan.Service{Name: "v2", Pool: same, TCPHeader: plan.TCPV2, UDPHeader: plan.UDPV2First}))
		route(portSPP, portSPP, service(plan.Service{Name: "spp", Pool: same, TCPHeader: plan.TCPV2, UDPHeader: plan.UDPSPP}))
		route(portUser, portUser, service(plan.Service{Name: "user", Pool: same, Path: plan.PathUser, TCPHeader: plan.TCPV2}))
		route(portTight, portTight, service(plan.Service{
			Name: "tight", Pool: same, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone, Limits: plan.ServiceLimits{MaxAmplification: amplifyTight},
		}))
		route(portClear, portClear, service(plan.Service{Name: "clear", Pool: same, TCPHeader: plan.TCPV2, UDPHeader: plan.UDPV2Each, Transparent: true}))
		one := pool("one", plan.Origin{Address: address, FirstPort: originOne, LastPort: originOne})
		route(portOne, portOne+99, service(plan.Service{Name: "one", Pool: one, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone}))
		route(portNarrow, portNarrow, plain)
		moved := pool("moved", plan.Origin{Address: address, FirstPort: 5000, LastPort: 5999})
		route(portRange, portRange+999, service(plan.Service{Name: "moved", Pool: moved, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone}))
		short := pool("short", plan.Origin{Address: address, FirstPort: 7000, LastPort: 7049})
		route(portShort, portShort+99, service(plan.Service{Name: "short", Pool: short, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone}))
		other := pool("other", plan.Origin{Address: families[1-i].origin.String()})
		route(portFamily, portFamily, service(plan.Service{Name: "other", Pool: other, TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone}))
		two := pool("two", plan.Origin{Address: address, FirstPort: 80, LastPort: 80}, plan.Origin{Address: f.second.String(), FirstPort: 80, LastPort: 80})
		route(portTwo, portTwo, service(plan.Service{Name: "two", Pool: two, TCPHeader: plan.TCPV2, UDPHeader: plan.UDPNone}))
	}
	return p
}

// segment is a TCP segment with numbers that count from the initial one of its sender, and of the other side.
type segment struct {
	flags    uint8
	seq, ack uint32
	window   uint16
	urgent   uint16
	options  []byte
	payload  string
	ttl      uint8
}

// conn is one TCP connection through the program, from SYN on.
type conn struct {
	*rig
	t                            testing.TB
	client, edge, source, origin netip.AddrPort
	clientISN, originISN         uint32 // as they say it themselves
	shift                        uint32 // of the client's numbers towards the origin, without the header
	header                       string
}

const (
	fromClient = client
	fromOrigin = originSide
)

// dial prepares a connection of this family to an edge port. Its numbers pass 2^32 and 2^31 soon.
func (r *rig) dial(t testing.TB, f family, port uint16) *conn {
	return &conn{
		rig: r, t: t, client: netip.AddrPortFrom(f.client, 40000), edge: netip.AddrPortFrom(f.edge, port),
		origin: netip.AddrPortFrom(f.origin, port), clientISN: 0xfffffff0, originISN: 0x7fffffe0,
	}
}

func (c *conn) packet(from, to netip.AddrPort, s segment, seq, ack uint32) packet {
	p := packet{
		from: from, to: to, protocol: protocolTCP, ttl: s.ttl, flags: s.flags, window: s.window, urgent: s.urgent, options: s.options,
		payload: []byte(s.payload), seq: s.seq + seq,
	}
	if s.flags&flagACK != 0 || s.ack != 0 {
		p.ack = s.ack + ack
	}
	return p
}

// sent is a segment as a side sends it.
func (c *conn) sent(from int, s segment) packet {
	if from == fromClient {
		return c.packet(c.client, c.edge, s, c.clientISN, c.originISN)
	}
	return c.packet(c.origin, c.source, s, c.originISN, c.clientISN+c.shift)
}

// received is a segment as the other side gets it.
func (c *conn) received(from int, s segment) packet {
	if s.ttl == 0 {
		s.ttl = 64
	}
	s.ttl--
	if from == fromClient {
		return c.packet(c.source, c.origin, s, c.clientISN+c.shift, c.originISN)
	}
	return c.packet(c.edge, c.client, s, c.originISN, c.clientISN)
}

// moves sends a segment and compares what the other side gets.
func (c *conn) moves(from int, in, want segment) {
	c.t.Helper()
	same(c.t, c.passes(c.t, c.sent(from, in).frame(), arrival{inner: from == fromOrigin}), c.received(from, want))
}

// refuses sends a segment that is dropped.
func (c *conn) refuses(from int, in segment, why int) {
	c.t.Helper()
	c.drops(c.t, c.sent(from, in).frame(), arrival{inner: from == fromOrigin}, protocolTCP, why)
}

// ignores sends a segment that is left to the stack.
func (c *conn) ignores(from int, in segment, why int) {
	c.t.Helper()
	c.leaves(c.t, c.sent(from, in).frame(), arrival{inner: from == fromOrigin}, why)
}

// syn sends the SYN and learns the source port.
func (c *conn) syn(in, want segment) {
	c.t.Helper()
	got := c.passes(c.t, c.sent(fromClient, in).frame(), arrival{})
	c.source = got.from
	c.shift = got.seq - c.clientISN
	c.learn()
	same(c.t, got, c.received(fromClient, want))
}

// learn makes the header that this connection has to have.
func (c *conn) learn() {
	c.t.Helper()
	_, s := c.session(fromClient)
	var b []byte
	var err error
	switch s.Header {
	case headerV1:
		b, err = header.V1(c.client, c.edge)
	case headerV2:
		b, err = header.V2(plan.TCP, c.client, c.edge, header.TLVs{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.header = string(b)
	if int(s.HeaderLength) != len(b) {
		c.t.Errorf("the header has %d bytes, want %d", s.HeaderLength, len(b))
	}
}

// session is what the program has of the connection.
func (c *conn) session(from int) (uint32, bpfSession) {
	c.t.Helper()
	if from == fromClient {
		return c.slot(c.t, protocolTCP, c.client, c.edge)
	}
	return c.slot(c.t, protocolTCP, c.origin, c.source)
}

// edit changes the session.
func (c *conn) edit(change func(*bpfSession)) {
	c.t.Helper()
	slot, s := c.session(fromClient)
	change(&s)
	c.put(c.t, slot, &s)
}

// is compares the session's state, and why it was closed.
func (c *conn) is(state uint32, reason uint8) {
	c.t.Helper()
	if _, s := c.session(fromClient); s.State != state || s.Reason != reason {
		c.t.Errorf("the session has state %d and reason %d, want %d and %d", s.State, s.Reason, state, reason)
	}
}

// h is the length of the header: what the client's numbers are moved by.
func (c *conn) h() uint32 { return uint32(len(c.header)) }

// opens does the handshake up to the SYN-ACK.
func (c *conn) opens() {
	c.t.Helper()
	c.syn(segment{flags: flagSYN, window: 60000}, segment{flags: flagSYN, window: 60000})
	c.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(c.h())})
	c.is(stateOpen, 0)
}

// established does the handshake; the header was sent, and acknowledged.
func (c *conn) established() {
	c.t.Helper()
	c.opens()
	in, want := segment{flags: flagACK, seq: 1, ack: 1, window: 60000}, segment{flags: flagACK, seq: 1, ack: 1, window: 60000}
	if c.header != "" {
		want.flags, want.payload = flagACK|flagPSH, c.header
	}
	c.moves(fromClient, in, want)
	if c.header != "" {
		c.moves(fromOrigin, segment{flags: flagACK, seq: 1, ack: 1 + c.h(), window: 60000}, segment{flags: flagACK, seq: 1, ack: 1, window: 60000})
	}
}

// carries sends a segment of an established connection, given in the client's view: that is what both sides see, but for the
// header's length in the numbers of the client's stream on the origin's side.
func (c *conn) carries(from int, s segment) {
	c.t.Helper()
	there := s
	if from == fromClient {
		there.seq += c.h()
		c.moves(from, s, there)
		return
	}
	if s.flags&flagACK != 0 {
		there.ack += c.h()
	}
	c.moves(from, there, s)
}

// ackAt and dataAt are segments of an established connection.
func ackAt(seq, ack uint32) segment {
	return segment{flags: flagACK, seq: seq, ack: ack, window: 60000}
}

func dataAt(seq, ack uint32, payload string) segment {
	return segment{flags: flagACK | flagPSH, seq: seq, ack: ack, window: 60000, payload: payload}
}

func finAt(seq, ack uint32) segment {
	return segment{flags: flagACK | flagFIN, seq: seq, ack: ack, window: 60000}
}

func resetAt(seq, ack uint32) segment {
	return segment{flags: flagACK | flagRST, seq: seq, ack: ack}
}

// moved is s with its sequence number moved.
func (s segment) moved(by uint32) segment {
	s.seq += by
	return s
}

// headed is what the packet becomes that takes the header with it.
func (c *conn) headed(s segment) segment {
	s.flags = s.flags&^(flagFIN|flagURG) | flagPSH
	s.payload = c.header
	return s
}

// closes ends an established connection in which nothing was said, the client first.
func (c *conn) closes() {
	c.t.Helper()
	c.closesAt(1, 1)
}
