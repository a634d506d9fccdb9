//go:build e2e

package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/status"
)

// shieldVector is one packet, and what the shield does with it when it has seen nothing before.
type shieldVector struct {
	name    string
	ip      int // 4, 6; 0: both
	frame   func(f family) []byte
	want    judgement
	service string // of want, by the beginning of its name; empty: none
}

// in is the judgement with the number of the service.
func (v shieldVector) in(t testing.TB, r *rig, f family) judgement {
	t.Helper()
	j := v.want
	if j.vector != vectorNone {
		j.service = noService
		if v.service != "" {
			j.service = r.numberOf(t, v.service, f)
		}
	}
	return j
}

// tcpTo and udpTo write packets of a client.
func tcpTo(f family, port uint16, flags uint8) packet {
	p := f.opening(protocolTCP, 40000, port)
	p.flags = flags
	return p
}

func udpTo(f family, source, port uint16, payload string) packet {
	p := f.opening(protocolUDP, source, port)
	p.payload = []byte(payload)
	return p
}

// body writes a packet of any protocol.
func body(f family, protocol uint8, b ...byte) []byte {
	return wrapIP(f.client, f.edge, protocol, 64, b)
}

// from writes a SYN of another client.
func from(source string) func(f family) []byte {
	return func(f family) []byte {
		p := tcpTo(f, portPlain, flagSYN)
		p.from = netip.AddrPortFrom(netip.MustParseAddr(source), 40000)
		return p.frame()
	}
}

// changed writes a packet with other bytes, counted from the IP header.
func changed(p func(f family) packet, at int, bytes ...byte) func(f family) []byte {
	return func(f family) []byte {
		return slices.Concat(p(f).frame()[:etherSize+at], bytes, p(f).frame()[etherSize+at+len(bytes):])
	}
}

// behind is changed, counted from the transport header.
func behind(p func(f family) packet, at int, bytes ...byte) func(f family) []byte {
	return func(f family) []byte { return changed(p, f.ip+at, bytes...)(f) }
}

// short writes a packet with so many bytes behind the IP header, padded by Ethernet.
func short(p func(f family) packet, size int) func(f family) []byte {
	return func(f family) []byte {
		b := wrapIP(f.client, f.edge, p(f).protocol, 64, p(f).transport()[:size])
		return append(b, make([]byte, 60)...)
	}
}

// extended puts extension headers between IPv6 and UDP, each of 8 bytes.
func extended(kinds ...uint8) func(f family) []byte {
	return func(f family) []byte { return extendedBy(8, kinds...)(f) }
}

// extendedBy makes each of so many bytes.
func extendedBy(size int, kinds ...uint8) func(f family) []byte {
	return func(f family) []byte {
		b, next := udpTo(f, 40000, portPlain, "hello").transport(), uint8(protocolUDP)
		for _, kind := range slices.Backward(kinds) {
			extension := make([]byte, size)
			extension[0], extension[1] = next, uint8(size/8-1)
			b, next = append(extension, b...), kind
		}
		return wrapIP(f.client, f.edge, next, 64, b)
	}
}

// control writes ICMP.
func control(kind, ttl uint8) func(f family) []byte {
	return func(f family) []byte { return wrapICMP(f.client, f.edge, ttl, kind, 0, 0, []byte("control")) }
}

func aSYN(f family) packet      { return tcpTo(f, portPlain, flagSYN) }
func aDatagram(f family) packet { return udpTo(f, 40000, portPlain, "hello") }

// whole, tagless frames of p.
func whole(p func(f family) packet) func(f family) []byte {
	return func(f family) []byte { return p(f).frame() }
}

var (
	malformedTCP   = dropped(status.Malformed, vectorOther, noService, countTCP)
	malformedUDP   = dropped(status.Malformed, vectorOther, noService, countUDP)
	malformedICMP  = dropped(status.Malformed, vectorOther, noService, countICMP)
	malformedOther = dropped(status.Malformed, vectorOther, noService, countOther)
	bogonTCP       = dropped(status.Bogon, vectorOther, noService, countTCP)
	strangeOther   = dropped(status.OtherProtocol, vectorOther, noService, countOther)
	aFragment      = passed(vectorFragment, noService)
)

// frameVectors are about what a packet is.
var frameVectors = []shieldVector{
	{"a SYN", 0, whole(aSYN), passed(vectorSYN, 0), "plain"},
	{"a SYN to a service of the user path", 0, func(f family) []byte { return tcpTo(f, portUser, flagSYN).frame() }, passed(vectorSYN, 0), "user"},
	{"a SYN with data", 0, func(f family) []byte {
		p := aSYN(f)
		p.payload = []byte("fast open")
		return p.frame()
	}, passed(vectorSYN, 0), "plain"},
	{"a SYN with 40 bytes of options", 0, func(f family) []byte {
		p := aSYN(f)
		p.options = make([]byte, 40)
		return p.frame()
	}, passed(vectorSYN, 0), "plain"},
	{"a datagram", 0, whole(aDatagram), passed(vectorUDP, 0), "plain"},
	{"an empty datagram", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "").frame() }, passed(vectorUDP, 0), "plain"},
	{"a datagram that Ethernet padded", 0, func(f family) []byte { return append(aDatagram(f).frame(), make([]byte, 20)...) }, passed(vectorUDP, 0), "plain"},
	{"a datagram with bytes behind its end", 0, func(f family) []byte {
		b := append(aDatagram(f).frame(), make([]byte, 4)...)
		setLength(b, len(b)-etherSize)
		return b
	}, passed(vectorUDP, 0), "plain"},
	{"a datagram with a hop limit of 0", 0, func(f family) []byte {
		return changed(aDatagram, map[int]int{ip4Size: 8, ip6Size: 7}[f.ip], 0)(f)
	}, passed(vectorUDP, 0), "plain"},
	{"IPv4 options", 4, func(f family) []byte { return withIP4Options(aSYN(f)) }, passed(vectorSYN, 0), "plain"},
	{"40 bytes of IPv4 options", 4, func(f family) []byte {
		b := slices.Insert(aSYN(f).frame(), etherSize+ip4Size, make([]byte, 40)...)
		b[etherSize] = 0x4f
		binary.BigEndian.PutUint16(b[etherSize+2:], uint16(len(b)-etherSize))
		return b
	}, passed(vectorSYN, 0), "plain"},
	{"a reserved bit where fragments have theirs", 4, changed(aSYN, 6, 0x80), passed(vectorSYN, 0), "plain"},
	{"hop by hop options", 6, extended(protocolHop), passed(vectorUDP, 0), "plain"},
	{"destination options", 6, extended(protocolOther), passed(vectorUDP, 0), "plain"},
	{"a routing header", 6, extended(protocolRouting), passed(vectorUDP, 0), "plain"},
	{"every extension header in the order of RFC 8200", 6, extended(protocolHop, protocolOther, protocolRouting, protocolOther), passed(vectorUDP, 0), "plain"},
	{"extension headers in another order", 6, extended(protocolRouting, protocolOther, protocolRouting), passed(vectorUDP, 0), "plain"},
	{"six extension headers", 6, extended(slices.Repeat([]uint8{protocolOther}, 6)...), passed(vectorUDP, 0), "plain"},
	{"extension headers up to the last byte that is read", 6, extendedBy(192, protocolOther), passed(vectorUDP, 0), "plain"},

	{"a client that is none of the edge's", 0, func(f family) []byte {
		p := aSYN(f)
		p.to = netip.AddrPortFrom(f.foreign(), portPlain)
		return p.frame()
	}, untouched, ""},
	{"ARP", 0, func(family) []byte {
		return append(slices.Repeat([]byte{0xff}, 12), append([]byte{8, 6}, make([]byte, 28)...)...)
	}, untouched, ""},
	{"no IP at all", 0, func(family) []byte { return append(make([]byte, 12), 0x88, 0xcc, 1, 2, 3, 4) }, untouched, ""},
	{"a frame of 802.3", 0, func(family) []byte { return append(make([]byte, 12), 0, 46, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45) }, untouched, ""},

	{"the version of another IP", 0, changed(aSYN, 0, 0x55), malformedTCP, ""},
	{"version 0", 0, changed(aDatagram, 0, 0x05), malformedUDP, ""},
	{"an IPv4 header of 16 bytes", 4, changed(aSYN, 0, 0x44), malformedTCP, ""},
	{"an IPv4 header of no bytes", 4, changed(aSYN, 0, 0x40), malformedTCP, ""},
	{"an IPv4 header that is longer than the packet", 4, changed(func(f family) packet { return udpTo(f, 40000, portPlain, "") }, 0, 0x4f), malformedUDP, ""},
	{"a packet that is shorter than its IPv4 header", 4, changed(aSYN, 2, 0, 19), malformedTCP, ""},
	{"an IPv4 length of 0", 4, changed(aSYN, 2, 0, 0), malformedTCP, ""},
	{"one byte more than there is, IPv4", 4, changed(aSYN, 2, 0, 41), malformedTCP, ""},
	{"65535 bytes, IPv4", 4, changed(aDatagram, 2, 0xff, 0xff), malformedUDP, ""},
	{"one byte more than there is, IPv6", 6, changed(aSYN, 4, 0, 21), malformedTCP, ""},
	{"65535 bytes, IPv6", 6, changed(aDatagram, 4, 0xff, 0xff), malformedUDP, ""},
	{"an IPv6 length of 0", 6, changed(aSYN, 4, 0, 0), malformedTCP, ""},
	{"an IPv4 address as IPv6 source", 6, from("::ffff:198.51.100.77"), malformedTCP, ""},
	{"an IPv4 address as IPv6 destination", 4, func(f family) []byte {
		source := netip.MustParseAddr("2001:db8:77::1")
		return wrapIP(source, netip.AddrFrom16(f.edge.As16()), protocolTCP, 64, aSYN(f).transport())
	}, malformedTCP, ""},
	{"hop by hop options behind others", 6, extended(protocolOther, protocolHop), malformedOther, ""},
	{"hop by hop options twice", 6, extended(protocolHop, protocolHop), malformedOther, ""},
	{"an extension header that is longer than the packet", 6, func(f family) []byte {
		return append(body(f, protocolOther, protocolUDP, 3, 0, 0, 0, 0, 0, 0), make([]byte, 64)...)
	}, malformedOther, ""},
	{"an extension header of 7 bytes", 6, func(f family) []byte { return body(f, protocolRouting, protocolUDP, 0, 0, 0, 0, 0, 0) }, malformedOther, ""},
	{"a fragment header of 7 bytes", 6, func(f family) []byte { return body(f, protocolFragment, protocolUDP, 0, 0, 0, 0, 0, 0) }, malformedOther, ""},
	{"TCP of 19 bytes", 0, short(aSYN, 19), malformedTCP, ""},
	{"TCP of no bytes", 0, func(f family) []byte { return body(f, protocolTCP) }, malformedTCP, ""},
	{"a TCP header of 16 bytes", 0, behind(aSYN, 12, 0x40), malformedTCP, ""},
	{"a TCP header of 0 bytes", 0, behind(aSYN, 12, 0), malformedTCP, ""},
	{"a TCP header that is longer than the packet", 0, behind(aSYN, 12, 0x60), malformedTCP, ""},
	{"from TCP port 0", 0, behind(aSYN, 0, 0, 0), malformedTCP, ""},
	{"to TCP port 0", 0, behind(aSYN, 2, 0, 0), malformedTCP, ""},
	{"UDP of 7 bytes", 0, short(aDatagram, 7), malformedUDP, ""},
	{"UDP of no bytes", 0, func(f family) []byte { return body(f, protocolUDP) }, malformedUDP, ""},
	{"a UDP length of 0", 0, behind(aDatagram, 4, 0, 0), malformedUDP, ""},
	{"a UDP length of 7", 0, behind(aDatagram, 4, 0, 7), malformedUDP, ""},
	{"a UDP length of one byte more than there is", 0, behind(aDatagram, 4, 0, 14), malformedUDP, ""},
	{"from UDP port 0", 0, behind(aDatagram, 0, 0, 0), malformedUDP, ""},
	{"to UDP port 0", 0, behind(aDatagram, 2, 0, 0), malformedUDP, ""},
	{"ICMP of 7 bytes, that Ethernet padded", 4, func(f family) []byte {
		return append(body(f, protocolICMP, 8, 0, 0, 0, 0, 0, 0), make([]byte, 30)...)
	}, malformedICMP, ""},
	{"ICMPv6 of 7 bytes", 6, func(f family) []byte { return body(f, protocolICMP6, 128, 0, 0, 0, 0, 0, 0) }, malformedICMP, ""},
	{"neighbour discovery of 4 bytes", 6, func(f family) []byte { return wrapIP(f.client, f.edge, protocolICMP6, 255, []byte{135, 0, 0, 0}) }, malformedICMP, ""},

	{"IGMP", 0, func(f family) []byte { return body(f, 2, 0x11, 0, 0, 0, 0, 0, 0, 0) }, strangeOther, ""},
	{"IPv4 in IP", 0, func(f family) []byte { return body(f, 4, make([]byte, 40)...) }, strangeOther, ""},
	{"IPv6 in IP", 0, func(f family) []byte { return body(f, 41, make([]byte, 60)...) }, strangeOther, ""},
	{"GRE", 0, func(f family) []byte { return body(f, 47, make([]byte, 8)...) }, strangeOther, ""},
	{"ESP", 0, func(f family) []byte { return body(f, protocolESP, make([]byte, 16)...) }, strangeOther, ""},
	{"AH", 0, func(f family) []byte { return body(f, protocolAH, protocolTCP, 4, 0, 0, 0, 0, 0, 1) }, strangeOther, ""},
	{"SCTP", 0, func(f family) []byte { return body(f, protocolSCTP, make([]byte, 12)...) }, strangeOther, ""},
	{"DCCP", 0, func(f family) []byte { return body(f, 33, make([]byte, 12)...) }, strangeOther, ""},
	{"UDP-Lite", 0, func(f family) []byte { return body(f, 136, aDatagram(f).transport()...) }, strangeOther, ""},
	{"no next header", 0, func(f family) []byte { return body(f, protocolNone) }, strangeOther, ""},
	{"protocol 255", 0, func(f family) []byte { return body(f, 255, 1) }, strangeOther, ""},
	{"ICMPv6 in IPv4", 4, func(f family) []byte { return body(f, protocolICMP6, 128, 0, 0, 0, 0, 0, 0, 0) }, dropped(status.OtherProtocol, vectorOther, noService, countICMP), ""},
	{"ICMP in IPv6", 6, func(f family) []byte { return body(f, protocolICMP, 8, 0, 0, 0, 0, 0, 0, 0) }, dropped(status.OtherProtocol, vectorOther, noService, countICMP), ""},
	{"hop by hop options of IPv6 in IPv4", 4, func(f family) []byte { return body(f, protocolHop, protocolUDP, 0, 0, 0, 0, 0, 0, 0) }, strangeOther, ""},
	{"seven extension headers", 6, extended(slices.Repeat([]uint8{protocolOther}, 7)...), strangeOther, ""},
	{"seven extension headers, the last a fragment's", 6, extended(append(slices.Repeat([]uint8{protocolOther}, 6), protocolFragment)...), strangeOther, ""},
	{"extension headers of 200 bytes", 6, extendedBy(200, protocolOther), dropped(status.OtherProtocol, vectorOther, noService, countUDP), ""},
	{"extension headers that reach beyond the first buffer", 6, extendedBy(2048, protocolOther, protocolOther), dropped(status.OtherProtocol, vectorOther, noService, countUDP), ""},

	{"the source 0.0.0.0", 4, from("0.0.0.0"), bogonTCP, ""},
	{"the source 0.255.255.255", 4, from("0.255.255.255"), bogonTCP, ""},
	{"the source 127.0.0.1", 4, from("127.0.0.1"), bogonTCP, ""},
	{"the source 127.255.255.254", 4, from("127.255.255.254"), bogonTCP, ""},
	{"the source 224.0.0.1", 4, from("224.0.0.1"), bogonTCP, ""},
	{"the source 240.0.0.1", 4, from("240.0.0.1"), bogonTCP, ""},
	{"the source 255.255.255.255", 4, from("255.255.255.255"), bogonTCP, ""},
	{"the source 223.255.255.255", 4, from("223.255.255.255"), passed(vectorSYN, 0), "plain"},
	{"the source ::", 6, from("::"), bogonTCP, ""},
	{"the source ::1", 6, from("::1"), bogonTCP, ""},
	{"the source ff02::1", 6, from("ff02::1"), bogonTCP, ""},
	{"the source fe80::1", 6, from("fe80::1"), passed(vectorSYN, 0), "plain"},
	{"LAND", 0, func(f family) []byte {
		p := aSYN(f)
		p.from = netip.AddrPortFrom(f.edge, portPlain)
		return p.frame()
	}, bogonTCP, ""},
	{"LAND of UDP, from another port", 0, func(f family) []byte {
		p := aDatagram(f)
		p.from = netip.AddrPortFrom(f.edge, 7)
		return p.frame()
	}, dropped(status.Bogon, vectorOther, noService, countUDP), ""},
	{"LAND of ICMP", 4, func(f family) []byte { return wrapICMP(f.edge, f.edge, 64, 8, 0, 0, nil) }, dropped(status.Bogon, vectorOther, noService, countICMP), ""},
	{"a fragment from nobody", 4, func(f family) []byte { return changed(aDatagram, 6, 0x20, 0, 64, protocolUDP, 0, 0, 127)(f) }, dropped(status.Bogon, vectorOther, noService, countUDP), ""},

	{"an echo request", 4, control(8, 64), passed(vectorICMP, noService), ""},
	{"an echo reply", 4, control(0, 64), passed(vectorICMP, noService), ""},
	{"unreachable", 4, control(3, 64), passed(vectorICMP, noService), ""},
	{"a redirect", 4, control(5, 64), passed(vectorICMP, noService), ""},
	{"a timestamp request", 4, control(13, 64), passed(vectorICMP, noService), ""},
	{"an ICMP type that nobody knows", 4, control(250, 255), passed(vectorICMP, noService), ""},
	{"the number of neighbour discovery in IPv4", 4, control(135, 255), passed(vectorICMP, noService), ""},
	{"an echo request of IPv6", 6, control(128, 64), passed(vectorICMP, noService), ""},
	{"too large", 6, control(2, 64), passed(vectorICMP, noService), ""},
	{"a multicast listener query", 6, control(130, 255), passed(vectorICMP, noService), ""},
	{"a router solicitation", 6, control(133, 255), untouched, ""},
	{"a router advertisement", 6, control(134, 255), untouched, ""},
	{"a neighbour solicitation", 6, control(135, 255), untouched, ""},
	{"a neighbour advertisement", 6, control(136, 255), untouched, ""},
	{"a redirect of IPv6", 6, control(137, 255), untouched, ""},
	{"a neighbour solicitation over a router", 6, control(135, 254), passed(vectorICMP, noService), ""},
	{"what comes behind neighbour discovery", 6, control(138, 255), passed(vectorICMP, noService), ""},

	{"a first fragment of UDP", 0, func(f family) []byte { return fragment(aDatagram(f), 0, true) }, aFragment, ""},
	{"a first fragment of TCP", 0, func(f family) []byte { return fragment(aSYN(f), 0, true) }, aFragment, ""},
	{"a later fragment", 0, func(f family) []byte { return fragment(aDatagram(f), 185, true) }, aFragment, ""},
	{"a last fragment", 0, func(f family) []byte { return fragment(aDatagram(f), 185, false) }, aFragment, ""},
	{"the first fragment without all ports", 0, func(f family) []byte {
		b := fragment(aSYN(f), 0, true)
		b = b[:len(b)-len(aSYN(f).transport())+3]
		setLength(b, len(b)-etherSize)
		return b
	}, aFragment, ""},
	{"a fragment over the flags of TCP (RFC 3128)", 0, func(f family) []byte { return fragment(aSYN(f), 1, false) }, aFragment, ""},
	{"a fragment that ends beyond 65535", 0, func(f family) []byte { return fragment(aDatagram(f), 8191, false) }, aFragment, ""},
	{"the only fragment (RFC 6946)", 6, func(f family) []byte { return fragment(aDatagram(f), 0, false) }, aFragment, ""},
	{"a fragment of ESP", 0, func(f family) []byte {
		p := aDatagram(f)
		p.protocol = protocolESP
		return fragment(p, 0, true)
	}, aFragment, ""},
	{"a fragment behind extension headers", 6, extended(protocolHop, protocolRouting, protocolFragment), aFragment, ""},
	{"a fragment of extension headers", 6, extended(protocolFragment, protocolOther), aFragment, ""},

	{"three tags", 0, func(f family) []byte {
		return tagged(tagged(tagged(aSYN(f).frame(), 0x8100, 0), 0x8100, 0), 0x88a8, 0)
	}, malformedOther, ""},
	{"nine tags", 0, func(f family) []byte {
		b := aSYN(f).frame()
		for range 9 {
			b = tagged(b, 0x8100, 0)
		}
		return b
	}, malformedOther, ""},
}

// ours makes another edge address the source of a packet.
func ours(p func(f family) packet) func(f family) packet {
	return func(f family) packet {
		out := p(f)
		out.from = netip.AddrPortFrom(f.idle(), out.from.Port())
		return out
	}
}

// serviceVectors are about what is whole, and asks for a service.
var serviceVectors = slices.Concat([]shieldVector{
	{"a SYN to a port without a service", 0, func(f family) []byte { return tcpTo(f, portNothing, flagSYN).frame() }, passed(vectorSYN, noService), ""},
	{"an ACK to a port without a service", 0, func(f family) []byte { return tcpTo(f, portNothing, flagACK).frame() }, passed(vectorACK, noService), ""},
	{"an RST to a port without a service", 0, func(f family) []byte { return tcpTo(f, portNothing, flagRST).frame() }, passed(vectorRST, noService), ""},
	{"a FIN to a port without a service", 0, func(f family) []byte { return tcpTo(f, portNothing, flagFIN|flagACK).frame() }, passed(vectorFIN, noService), ""},
	{"a SYN and ACK to a port without a service", 0, func(f family) []byte { return tcpTo(f, portNothing, flagSYN|flagACK).frame() }, passed(vectorACK, noService), ""},
	{"a datagram to a port without a service", 0, func(f family) []byte { return udpTo(f, 40000, portNothing, "").frame() }, passed(vectorUDP, noService), ""},
	{"a query to a port without a service", 0, func(f family) []byte { return udpTo(f, 40000, portNothing, "\xff\xff\xff\xffT").frame() }, passed(vectorUDP, noService), ""},
	{"a reflector's answer to a port without a service", 0, func(f family) []byte { return udpTo(f, 53, portNothing, "answer").frame() }, passed(vectorUDP, noService), ""},
	{"an edge address without a service", 0, func(f family) []byte {
		p := aSYN(f)
		p.to = netip.AddrPortFrom(f.idle(), portPlain)
		return p.frame()
	}, passed(vectorSYN, noService), ""},
	{"Source asked for its state", 0, func(f family) []byte {
		return udpTo(f, 40000, portPlain, "\xff\xff\xff\xffTSource Engine Query\x00").frame()
	}, passed(vectorQuery, 0), "plain"},
	{"four bytes of a query", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\xff\xff\xff\xff").frame() }, passed(vectorQuery, 0), "plain"},
	{"three bytes of a query", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\xff\xff\xff").frame() }, passed(vectorUDP, 0), "plain"},
	{"a ping of RakNet", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\x01"+text(32)).frame() }, passed(vectorQuery, 0), "plain"},
	{"a ping of an older RakNet", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\x01"+text(24)).frame() }, passed(vectorQuery, 0), "plain"},
	{"what only begins as a ping of RakNet", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\x01"+text(33)).frame() }, passed(vectorUDP, 0), "plain"},
	{"GameSpy asked for its state", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\xfe\xfd\x00\x01").frame() }, passed(vectorQuery, 0), "plain"},
	{"what only begins as GameSpy", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\xfe\xfe\x00\x01").frame() }, passed(vectorUDP, 0), "plain"},
	{"a query in a frame of four buffers", 0, func(f family) []byte { return udpTo(f, 40000, portPlain, "\xff\xff\xff\xff"+text(14000)).frame() }, passed(vectorQuery, 0), "plain"},
	{"TCP from the port of a reflector", 0, func(f family) []byte { return f.opening(protocolTCP, 53, portPlain).frame() }, passed(vectorSYN, 0), "plain"},

	{"a SYN from an edge address", 0, whole(ours(aSYN)), dropped(status.Bogon, vectorSYN, 0, countTCP), "plain"},
	{"an ACK from an edge address", 0, whole(ours(func(f family) packet { return tcpTo(f, portNothing, flagACK) })), passed(vectorACK, noService), ""},
	{"a datagram from an edge address", 0, whole(ours(aDatagram)), dropped(status.Bogon, vectorUDP, 0, countUDP), "plain"},
	{"a datagram of the user path from an edge address", 0, whole(ours(func(f family) packet { return udpTo(f, 40000, portUser, "hello") })), dropped(status.Bogon, vectorUDP, 0, countUDP), "user"},
	{"a query from an edge address", 0, whole(ours(func(f family) packet { return udpTo(f, 40000, portPlain, "\xff\xff\xff\xffT") })), dropped(status.Bogon, vectorQuery, 0, countUDP), "plain"},
	{"a reflector's answer from an edge address", 0, whole(ours(func(f family) packet { return udpTo(f, 53, portPlain, "answer") })), dropped(status.Reflection, vectorReflection, 0, countUDP), "plain"},
	{"from a high port of reflectors of an edge address", 0, whole(ours(func(f family) packet { return udpTo(f, 11211, portPlain, "answer") })), dropped(status.Bogon, vectorReflection, 0, countUDP), "plain"},
	{"a first fragment from an edge address", 0, func(f family) []byte { return fragment(ours(aDatagram)(f), 0, true) }, dropped(status.Bogon, vectorFragment, noService, countUDP), ""},
	{"a last fragment from an edge address", 0, func(f family) []byte { return fragment(ours(aDatagram)(f), 185, false) }, dropped(status.Bogon, vectorFragment, noService, countUDP), ""},
}, reflectorVectors())

// reflectorVectors are one packet of each reflector.
func reflectorVectors() (list []shieldVector) {
	for _, port := range slices.Concat(reflectorPorts, highReflectorPorts) {
		want := dropped(status.Reflection, vectorReflection, 0, countUDP)
		if port > 1024 {
			want = passed(vectorReflection, 0)
		}
		list = append(list,
			shieldVector{fmt.Sprintf("from port %d", port), 0, func(f family) []byte { return udpTo(f, port, portPlain, "answer").frame() }, want, "plain"},
			shieldVector{fmt.Sprintf("from port %d to a service that takes it", port), 0,
				func(f family) []byte { return udpTo(f, port, portV1, "answer").frame() }, passed(vectorUDP, 0), "v1"})
	}
	for _, port := range []uint16{16, 18, 54, 122, 138, 443, 1899, 1901, 5352, 11212, 65535} {
		list = append(list, shieldVector{fmt.Sprintf("from port %d, which is no reflector's", port), 0,
			func(f family) []byte { return udpTo(f, port, portPlain, "hello").frame() }, passed(vectorUDP, 0), "plain"})
	}
	return list
}

// TestShieldVectors sends each packet as it is, with tags, to nobody's address, in mode monitor and off.
func TestShieldVectors(t *testing.T) {
	r := newRig(t, shieldPlan())
	model := modelOf(r)
	t.Logf("%d vectors", len(frameVectors)+len(serviceVectors))
	for _, f := range families {
		for _, v := range slices.Concat(frameVectors, serviceVectors) {
			if v.ip == 4 && f.edge.Is6() || v.ip == 6 && f.edge.Is4() {
				continue
			}
			t.Run(f.name+"/"+v.name, func(t *testing.T) {
				r.calm(t)
				want := v.in(t, r, f)
				frame := v.frame(f)
				r.judges(t, frame, want)
				if _, also := model.judge(frame); also != want {
					t.Errorf("the model says %+v, want %+v", also, want)
				}
				r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldMonitor })
				r.judges(t, frame, want.monitored())
				r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldOff })
				r.judges(t, frame, untouched)
				r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Mode = shieldOn })
				if readModel(frame).kind == frameBuried {
					return
				}
				r.judges(t, tagged(frame, 0x8100, 100), want)
				r.judges(t, tagged(tagged(frame, 0x8100, 100), 0x88a8, 200), want)
				abroad := f
				abroad.edge = f.foreign()
				if other := v.frame(abroad); string(other) != string(frame) {
					r.judges(t, other, untouched)
				}
			})
		}
	}
}
