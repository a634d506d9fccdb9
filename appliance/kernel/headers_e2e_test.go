//go:build e2e

package kernel

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
)

// specialAddresses have every run of zeros that an IPv6 address can have, and the shortest and longest of IPv4.
func specialAddresses(f family) (list []netip.Addr) {
	if f.client.Is4() {
		for _, text := range []string{"1.2.3.4", "9.9.9.9", "10.100.0.1", "100.0.0.10", "198.51.100.255", "223.255.255.255", "0.0.0.1", "255.255.255.254"} {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	for zeros := range 256 { // which of the eight groups are zero
		if zeros == 255 {
			continue
		}
		var b [16]byte
		for group := range 8 {
			if zeros>>group&1 == 0 {
				value := []uint16{0x1, 0x12, 0x123, 0x1234, 0x1000, 0xabcd, 0xf, 0x00f0}[group]
				b[2*group], b[2*group+1] = uint8(value>>8), uint8(value)
			}
		}
		if a := netip.AddrFrom16(b); !a.Is4In6() {
			list = append(list, a)
		}
	}
	for _, text := range []string{
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "::1", "::ffff:0:0", "64:ff9b::192.0.2.1", "2001:db8:0:1:0:0:0:1", "fe80::1",
	} {
		if a := netip.MustParseAddr(text); !a.Is4In6() {
			list = append(list, a)
		}
	}
	return list
}

// TestHeaders: v1, v2 and SPP have the bytes that package header writes, for clients and edge addresses of every form. Each address is a
// client in one half of the test and an edge address in the other, as it cannot be both.
func TestHeaders(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		random := rand.New(rand.NewPCG(1, 2))
		halves := [2][]netip.Addr{}
		for i, a := range specialAddresses(f) {
			halves[i%2] = append(halves[i%2], a)
		}
		for i := range 200 {
			halves[i%2] = append(halves[i%2], stranger(random, f))
		}
		for half, clients := range halves {
			edges := halves[1-half]
			r.apply(t, planOn(edges))
			for _, v := range headerVectors {
				t.Run(fmt.Sprintf("%s/%s/%d", v.name, f.name, half), func(t *testing.T) {
					for i := range max(len(clients), len(edges)) {
						client, edge := clients[i%len(clients)], edges[(i*7+3)%len(edges)]
						src := netip.AddrPortFrom(client, []uint16{1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 65535}[i%10])
						r.wantHeader(t, v.protocol, src, netip.AddrPortFrom(edge, v.port), v.want)
					}
					r.wipe(t)
				})
			}
		}
	}
}

var headerVectors = []struct {
	name     string
	port     uint16
	protocol uint8
	want     func(src, dst netip.AddrPort) ([]byte, error)
}{
	{"TCP v1", portV1, protocolTCP, header.V1},
	{"TCP v2", portV2, protocolTCP, func(src, dst netip.AddrPort) ([]byte, error) { return header.V2(plan.TCP, src, dst, header.TLVs{}) }},
	{"UDP v2", portV1, protocolUDP, func(src, dst netip.AddrPort) ([]byte, error) { return header.V2(plan.UDP, src, dst, header.TLVs{}) }},
	{"UDP SPP", portSPP, protocolUDP, func(src, dst netip.AddrPort) ([]byte, error) {
		h := header.SPP(src, dst)
		return h[:], nil
	}},
}

// planOn is the plan of vectors, with these edge addresses of one IP version.
func planOn(edges []netip.Addr) *plan.Plan {
	p := vectorPlan()
	for i := range p.Routes {
		if p.Routes[i].Addresses[0].Addr().Is4() != edges[0].Is4() {
			continue
		}
		p.Routes[i].Addresses = nil
		for _, a := range edges {
			p.Routes[i].Addresses = append(p.Routes[i].Addresses, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return p
}

func (r *rig) wantHeader(t testing.TB, protocol uint8, src, dst netip.AddrPort, of func(src, dst netip.AddrPort) ([]byte, error)) {
	t.Helper()
	want, err := of(src, dst)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.headerOf(t, protocol, src, dst); got != string(want) {
		t.Fatalf("the header of %s to %s is\n%s, want\n%s", src, dst, hex.Dump([]byte(got)), hex.Dump(want))
	}
}

// headerOf is the header that the origin gets of a client.
func (r *rig) headerOf(t testing.TB, protocol uint8, src, dst netip.AddrPort) string {
	t.Helper()
	send := func(p packet, a arrival) packet {
		t.Helper()
		p.protocol = protocol
		verdict, out := r.run(t, p.frame(), r.context(a))
		if verdict != verdictRedirect {
			t.Fatalf("the verdict on %s is %d", p, verdict)
		}
		got, err := readFrame(out)
		if err != nil {
			t.Fatalf("what became of %s cannot be read: %v", p, err)
		}
		return got
	}
	if protocol == protocolUDP {
		return string(send(packet{from: src, to: dst}, arrival{}).payload)
	}
	got := send(packet{from: src, to: dst, flags: flagSYN, seq: 1, window: 1000}, arrival{})
	send(packet{from: got.to, to: got.from, flags: flagSYN | flagACK, seq: 1, ack: 2, window: 1000}, arrival{inner: true})
	return string(send(packet{from: src, to: dst, flags: flagACK, seq: 2, ack: 2, window: 1000}, arrival{}).payload)
}
