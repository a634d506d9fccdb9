//go:build e2e

package attack

import (
	"net/netip"
	"slices"

	"breakwater/appliance/status"
	"breakwater/test/attack/flood"
)

// vector is a kind of attack, and how the box is to call it.
type vector struct {
	name   string
	named  status.Vector
	shapes func(f family) []flood.Shape // nil: no flood of packets but a crowd
	rate   int                          // packets a second; 0: that of the run
}

// vectors are what small servers see most. Each comes over both IP versions at once.
var vectors = []vector{
	{name: "syn", named: status.VectorSYN, shapes: segments(flood.SYN)},
	{name: "ack", named: status.VectorACK, shapes: segments(flood.ACK)},
	{name: "rst", named: status.VectorRST, shapes: segments(flood.RST)},
	{name: "fin", named: status.VectorFIN, shapes: segments(flood.FIN | flood.ACK)},
	{name: "flags", named: status.VectorFlags, shapes: segments(0, flood.FIN|flood.PSH|flood.URG, flood.SYN|flood.FIN, flood.SYN|flood.RST)},
	{name: "udp to all ports", named: status.VectorUDP, shapes: datagrams(0, 0, make([]byte, 64))},
	{name: "udp to the game", named: status.VectorUDP, shapes: datagrams(0, udpPort, make([]byte, 512))},
	{name: "reflection", named: status.VectorReflection, shapes: reflected},
	{name: "a2s", named: status.VectorQuery, shapes: datagrams(0, udpPort, []byte("\xff\xff\xff\xffTSource Engine Query\x00"))},
	{name: "raknet", named: status.VectorQuery, shapes: datagrams(0, udpPort, raknetPing)},
	{name: "fragments", named: status.VectorFragment, shapes: fragments},
	{name: "icmp", named: status.VectorICMP, shapes: pings},
	{name: "carpet", named: status.VectorUDP, shapes: carpet},
	{name: "connections", named: status.VectorConnection, shapes: nil},
}

// raknetPing is an unconnected ping of RakNet: a time, the magic, and who asks.
var raknetPing = slices.Concat([]byte{1}, make([]byte, 8),
	[]byte("\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"), []byte("attacker"))

// to is from any stranger to the edge address.
func (f family) to(fromPort, toPort uint16) flood.Ends {
	return flood.Ends{From: f.strangers, To: netip.PrefixFrom(f.edge, f.edge.BitLen()), FromPort: fromPort, ToPort: toPort}
}

func segments(flags ...byte) func(f family) []flood.Shape {
	return func(f family) (shapes []flood.Shape) {
		for _, set := range flags {
			shapes = append(shapes, flood.TCP(f.to(0, tcpPort), set, nil))
		}
		return shapes
	}
}

func datagrams(fromPort, toPort uint16, payload []byte) func(f family) []flood.Shape {
	return func(f family) []flood.Shape { return []flood.Shape{flood.UDP(f.to(fromPort, toPort), payload)} }
}

// reflected is what servers of others answer to a game they never heard of: DNS, NTP, SSDP, memcached.
func reflected(f family) (shapes []flood.Shape) {
	for port, size := range map[uint16]int{53: 1200, 123: 468, 1900: 320, 11211: 1400} {
		shapes = append(shapes, flood.UDP(f.to(port, 0), make([]byte, size)))
	}
	return shapes
}

func fragments(f family) []flood.Shape {
	payload := make([]byte, 1000)
	return []flood.Shape{flood.Fragment(f.to(0, udpPort), false, payload), flood.Fragment(f.to(0, udpPort), true, payload)}
}

func pings(f family) []flood.Shape {
	return []flood.Shape{flood.Echo(f.to(0, 0), make([]byte, 56))}
}

// carpet is for every address of a prefix a little.
func carpet(f family) []flood.Shape {
	return []flood.Shape{flood.UDP(flood.Ends{From: f.strangers, To: f.carpet}, make([]byte, 128))}
}
