//go:build e2e

package kernel

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// This is the shield as the RFCs and ARCHITECTURE.md have it, written without a look at its C: TestShieldModel compares both.

// What a frame is, in the order of bpf/frame.h.
const (
	frameForeign = iota
	frameWhole
	framePiece
	frameBroken
	frameBogus
	frameICMP
	frameStrange
	frameBuried
)

// reading is what the headers of a frame say.
type reading struct {
	kind      int
	from, to  netip.AddrPort
	protocol  uint8
	ttl       uint8
	flags     uint8
	seq, ack  uint32
	icmp      uint8
	transport int
	payload   []byte
}

// readModel reads a frame: Ethernet II, at most two tags (IEEE 802.1Q), IP.
func readModel(frame []byte) reading {
	at := 12
	for tags := 0; ; tags++ {
		if at+2 > len(frame) {
			return reading{kind: frameForeign}
		}
		switch binary.BigEndian.Uint16(frame[at:]) {
		case etherIP4:
			return readModel4(frame, at+2)
		case etherIP6:
			return readModel6(frame, at+2)
		case 0x8100, 0x88a8:
			if tags == 2 {
				return reading{kind: frameBuried}
			}
			at += 4
		default:
			return reading{kind: frameForeign}
		}
	}
}

// readModel4 reads a packet of RFC 791.
func readModel4(frame []byte, at int) (r reading) {
	b := frame[at:]
	if len(b) < 20 {
		return reading{kind: frameForeign}
	}
	source, destination := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	r.from, r.to = netip.AddrPortFrom(source, 0), netip.AddrPortFrom(destination, 0)
	r.ttl, r.protocol = b[8], b[9]
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>4 != 4 || header < 20 || header > total || total > len(b) {
		r.kind = frameBroken
		return r
	}
	body := b[header:total]
	more, offset := b[6]&0x20 != 0, binary.BigEndian.Uint16(b[6:])&0x1fff
	switch {
	case more || offset > 0:
		r.piece(body, offset == 0)
	case r.protocol == protocolICMP6:
		r.kind = frameStrange
	default:
		r.read(body, at+header)
	}
	return r
}

// readModel6 reads a packet of RFC 8200.
func readModel6(frame []byte, at int) (r reading) {
	b := frame[at:]
	if len(b) < 40 {
		return reading{kind: frameForeign}
	}
	source, destination := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	r.from, r.to = netip.AddrPortFrom(source, 0), netip.AddrPortFrom(destination, 0)
	r.protocol, r.ttl = b[6], b[7]
	size := int(binary.BigEndian.Uint16(b[4:]))
	if b[0]>>4 != 6 || size > len(b)-40 || source.Is4In6() || destination.Is4In6() { // RFC 4291, 2.5.5.2
		r.kind = frameBroken
		return r
	}
	body := b[40:][:size]
	for headers := range 6 {
		switch r.protocol {
		case protocolHop:
			if headers > 0 {
				r.kind = frameBroken
				return r
			}
		case protocolRouting, protocolOther, protocolFragment:
		case protocolICMP:
			r.kind = frameStrange
			return r
		default:
			return r.readBehind(frame, at, size, body)
		}
		length := 8
		if len(body) >= 8 && r.protocol != protocolFragment {
			length += int(body[1]) * 8
		}
		if len(body) < length {
			r.kind = frameBroken
			return r
		}
		cut := r.protocol == protocolFragment
		first := cut && binary.BigEndian.Uint16(body[2:])>>3 == 0
		r.protocol = body[0]
		body = body[length:]
		if cut {
			r.piece(body, first)
			return r
		}
	}
	if r.protocol == protocolHop || r.protocol == protocolRouting || r.protocol == protocolOther || r.protocol == protocolFragment || r.protocol == protocolICMP {
		r.kind = frameStrange
		return r
	}
	return r.readBehind(frame, at, size, body)
}

// readBehind reads what is behind extension headers, of which the shield takes 192 bytes.
func (r reading) readBehind(frame []byte, at, size int, body []byte) reading {
	if size-len(body) > 192 {
		r.kind = frameStrange
		return r
	}
	r.read(body, at+40+size-len(body))
	return r
}

// piece reads a fragment: the first has the ports.
func (r *reading) piece(body []byte, first bool) {
	r.kind = framePiece
	if first && len(body) >= 4 && (r.protocol == protocolTCP || r.protocol == protocolUDP) {
		r.ports(body)
	}
}

func (r *reading) ports(body []byte) {
	r.from = netip.AddrPortFrom(r.from.Addr(), binary.BigEndian.Uint16(body))
	r.to = netip.AddrPortFrom(r.to.Addr(), binary.BigEndian.Uint16(body[2:]))
}

// read reads what is behind the headers of IP.
func (r *reading) read(body []byte, at int) {
	r.transport = at
	r.kind = frameBroken
	switch {
	case r.protocol == protocolTCP && len(body) >= 20: // RFC 9293, 3.1
		r.ports(body)
		r.seq, r.ack, r.flags = binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:]), body[13]&0x3f
		header := int(body[12]>>4) * 4
		if header < 20 || header > len(body) || r.from.Port() == 0 || r.to.Port() == 0 {
			return
		}
		r.payload = body[header:]
		r.kind = frameBogus
		switch r.flags &^ (flagPSH | flagURG) {
		case flagSYN, flagSYN | flagACK, flagACK, flagACK | flagFIN, flagRST, flagRST | flagACK:
			r.kind = frameWhole
		}
	case r.protocol == protocolUDP && len(body) >= 8: // RFC 768
		r.ports(body)
		length := int(binary.BigEndian.Uint16(body[4:]))
		if length < 8 || length > len(body) || r.from.Port() == 0 || r.to.Port() == 0 {
			return
		}
		r.payload = body[8:length]
		r.kind = frameWhole
	case (r.protocol == protocolICMP || r.protocol == protocolICMP6) && len(body) >= 8: // RFC 792, RFC 4443
		r.icmp, r.kind = body[0], frameICMP
	case r.protocol != protocolTCP && r.protocol != protocolUDP && r.protocol != protocolICMP && r.protocol != protocolICMP6:
		r.kind = frameStrange
	}
}

// shieldModel is a shield that has seen nothing yet.
type shieldModel struct {
	addresses  []netip.Addr
	service    func(protocol uint8, to netip.AddrPort) (number uint32, reflectors, known bool)
	session    func(r reading) bool
	bogons     bool
	fragments  uint32
	exhausted  bool // nothing trickles through
	strays     bool // each segment without a session is dropped
	reflection bool // too much came from reflectors
}

// modelOf is the model of a rig's plan.
func modelOf(r *rig) *shieldModel {
	m := &shieldModel{session: func(reading) bool { return false }, service: r.modelService}
	for _, f := range families {
		m.addresses = append(m.addresses, f.edge, f.idle())
	}
	return m
}

// modelService looks a service up in the plan: the narrowest route decides.
func (r *rig) modelService(protocol uint8, to netip.AddrPort) (number uint32, reflectors, known bool) {
	best := math.MaxInt
	for _, route := range r.plan.Routes {
		width := int(route.LastPort) - int(route.FirstPort)
		is := route.Protocol == plan.TCP && protocol == protocolTCP || route.Protocol == plan.UDP && protocol == protocolUDP
		if !is || to.Port() < route.FirstPort || to.Port() > route.LastPort || !route.Addresses[0].Contains(to.Addr()) || width >= best {
			continue
		}
		best, known = width, true
		s := &r.plan.Services[route.Service]
		number, reflectors = r.path.names.number[kindService.text(s.Name)], s.Shield.Reflectors
	}
	if !known {
		number = noService
	}
	return number, reflectors, known
}

// nobody are sources that no packet on a wire has (RFC 1122, 3.2.1.3; RFC 4291, 2.5 and 2.7).
var nobody = prefixes("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "ff00::/8")

// private are those that are not routed (RFC 6890 and its registry). Of IPv6, all but 2000::/3 is not.
var (
	private = prefixes("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
	global = netip.MustParsePrefix("2000::/3")
)

func prefixes(list ...string) (p []netip.Prefix) {
	for _, text := range list {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reflectorPorts and highReflectorPorts are those of servers that answer more than they are asked, in ARCHITECTURE.md.
var (
	reflectorPorts     = []uint16{17, 19, 53, 69, 111, 123, 137, 161, 389, 427, 520}
	highReflectorPorts = []uint16{1900, 3283, 3702, 5353, 11211}
)

func (m *shieldModel) judge(frame []byte) (reading, judgement) {
	r := readModel(frame)
	return r, m.judgeReading(r)
}

func (m *shieldModel) judgeReading(r reading) judgement {
	by := countOther
	switch r.protocol {
	case protocolTCP:
		by = countTCP
	case protocolUDP:
		by = countUDP
	case protocolICMP, protocolICMP6:
		by = countICMP
	}
	edge := slices.Contains(m.addresses, r.to.Addr().Unmap())
	from := r.from.Addr()
	ours := slices.Contains(m.addresses, from)
	neighbour := r.kind == frameICMP && r.protocol == protocolICMP6 && r.icmp >= 133 && r.icmp <= 137 && r.ttl == 255
	switch {
	case r.kind == frameForeign, r.kind == frameWhole && m.session(r):
		return untouched
	case r.kind == frameBuried:
		return dropped(status.Malformed, vectorOther, noService, countOther)
	case !edge:
		return untouched
	case r.kind == frameBroken:
		return dropped(status.Malformed, vectorOther, noService, by)
	case r.kind == frameBogus:
		return dropped(status.BogusFlags, vectorFlags, noService, by)
	case from == r.to.Addr(), within(nobody, from):
		return dropped(status.Bogon, vectorOther, noService, by)
	case m.bogons && !neighbour && (within(private, from) || from.Is6() && !global.Contains(from)):
		return dropped(status.Bogon, vectorOther, noService, by)
	case r.kind == frameStrange:
		return dropped(status.OtherProtocol, vectorOther, noService, by)
	case neighbour:
		return untouched
	case r.kind == frameICMP && m.exhausted:
		return dropped(status.RateLimit, vectorICMP, noService, by)
	case r.kind == frameICMP:
		return passed(vectorICMP, noService)
	case r.kind == framePiece && ours:
		return dropped(status.Bogon, vectorFragment, noService, by)
	case r.kind == framePiece && (m.fragments == fragmentsDrop || m.fragments == fragmentsLimit && m.exhausted):
		return dropped(status.Fragment, vectorFragment, noService, by)
	case r.kind == framePiece:
		return passed(vectorFragment, noService)
	}
	j := m.judgeWhole(r, by)
	if begins := j.service != noService && j.reason == status.Normal && (by == countUDP || j.vector == vectorSYN); begins && ours {
		return dropped(status.Bogon, j.vector, j.service, by) // services would answer each other
	}
	return j
}

// judgeWhole judges what has ports and belongs to no session.
func (m *shieldModel) judgeWhole(r reading, by int) judgement {
	vector := vectorUDP
	if r.protocol == protocolTCP {
		switch {
		case r.flags&(flagSYN|flagACK) == flagSYN:
			vector = vectorSYN
		case r.flags&flagRST != 0:
			vector = vectorRST
		case r.flags&flagFIN != 0:
			vector = vectorFIN
		default:
			vector = vectorACK
		}
	}
	number, reflectors, known := m.service(r.protocol, r.to)
	switch {
	case !known && m.exhausted:
		return dropped(status.NoService, vector, noService, by)
	case !known:
		return passed(vector, noService)
	case vector == vectorSYN:
		return passed(vector, number)
	case r.protocol == protocolTCP && m.strays:
		return dropped(status.NoSession, vector, number, by)
	case r.protocol == protocolTCP: // one in 32 is counted, by chance
		return judgement{verdict: xdpPass, vector: vector, service: number, weight: 32}
	case reflectors && slices.Contains(reflectorPorts, r.from.Port()), reflectors && m.reflection && slices.Contains(highReflectorPorts, r.from.Port()):
		return dropped(status.Reflection, vectorReflection, number, by)
	case reflectors && slices.Contains(highReflectorPorts, r.from.Port()):
		return passed(vectorReflection, number)
	case asks(r.payload):
		return passed(vectorQuery, number)
	}
	return passed(vector, number)
}

// asks tells whether a datagram asks a game server for its state: Source (connectionless, 0xffffffff), RakNet's unconnected
// pings (0x01, time, magic, and since protocol 6 a GUID), GameSpy 3 (0xfe 0xfd).
func asks(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	ping := b[0] == 1 && (len(b) == 25 || len(b) == 33)
	return binary.BigEndian.Uint32(b) == 0xffffffff || ping || b[0] == 0xfe && b[1] == 0xfd
}
