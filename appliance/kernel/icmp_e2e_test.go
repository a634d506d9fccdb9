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

// router is who reports errors.
func (f family) router() netip.Addr {
	if f.client.Is4() {
		return netip.MustParseAddr("203.0.113.9")
	}
	return netip.MustParseAddr("2001:db8:99::9")
}

// icmpError is the error of a router about a packet, of which it quotes so many bytes behind the IP header.
func icmpError(from, to netip.Addr, ttl, kind, code uint8, rest uint32, about packet, quote int) []byte {
	inner := about.frame()[etherSize:]
	ip := ip4Size
	if about.from.Addr().Is6() {
		ip = ip6Size
	}
	return wrapICMP(from, to, ttl, kind, code, rest, inner[:min(ip+quote, len(inner))])
}

func wrapICMP(from, to netip.Addr, ttl, kind, code uint8, rest uint32, quoted []byte) []byte {
	b := append(binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, rest), quoted...)
	if from.Is4() {
		binary.BigEndian.PutUint16(b[2:], ^sum16(b))
		return wrapIP(from, to, protocolICMP, ttl, b)
	}
	binary.BigEndian.PutUint16(b[2:], transportSum(from, to, protocolICMP6, b))
	return wrapIP(from, to, protocolICMP6, ttl, b)
}

// quotedAs is the beginning of a packet as an error quotes it that was about another: what is behind the first 8 bytes of the
// transport header is still that of the other.
func quotedAs(p, other packet, quote int) []byte {
	b, o := p.frame()[etherSize:], other.frame()[etherSize:]
	ip := ip4Size
	if p.from.Addr().Is6() {
		ip = ip6Size
	}
	b = slices.Clone(b[:ip+8])
	return append(b, o[ip+8:min(ip+quote, len(o))]...)
}

// icmpKinds are errors, in IPv4 and IPv6.
var icmpKinds = []struct {
	name   string
	four   [2]uint8 // type and code
	six    [2]uint8
	rest   uint32
	reason status.Reason // of a session that was not answered; Normal: it goes on
}{
	{"the port is closed", [2]uint8{3, 3}, [2]uint8{1, 4}, 0, status.OriginRefused},
	{"the host is gone", [2]uint8{3, 1}, [2]uint8{1, 3}, 0, status.NetworkUnreachable},
	{"no way there", [2]uint8{3, 0}, [2]uint8{1, 0}, 0, status.NetworkUnreachable},
	{"forbidden", [2]uint8{3, 13}, [2]uint8{1, 1}, 0, status.NetworkUnreachable},
	{"too large", [2]uint8{3, 4}, [2]uint8{2, 0}, 1280, status.Normal},
}

func (f family) icmp(four, six [2]uint8) (kind, code uint8) {
	if f.client.Is4() {
		return four[0], four[1]
	}
	return six[0], six[1]
}

// TestICMP sends errors about packets of sessions and flows.
func TestICMP(t *testing.T) {
	r := newRig(t, vectorPlan())
	// translated compares an error about what the program sent with the one about what the sender sent.
	translated := func(t *testing.T, c *conn, f family, from int, kind, code uint8, rest uint32, s, before segment, quote int) {
		t.Helper()
		about, original := c.received(from, s), c.sent(from, before)
		original.ttl = about.ttl
		box, own, sender := c.source.Addr(), c.edge.Addr(), c.client.Addr()
		if from == fromOrigin {
			box, own, sender = c.edge.Addr(), c.source.Addr(), c.origin.Addr()
		}
		frame := icmpError(f.router(), box, 64, kind, code, rest, about, quote)
		out := r.check(t, frame, arrival{inner: from == fromClient}, verdictRedirect, func(*counts) {})
		want := quotedICMP(own, sender, kind, code, rest, quotedAs(original, about, quote), frame)
		if string(out) != string(want) {
			t.Errorf("sent\n%x, want\n%x", out, want)
		}
		payload := out[etherSize+f.ip:]
		if sum := icmpSum(own, sender, payload); sum != 0xffff {
			t.Errorf("the checksum of the error is wrong by %#04x", ^sum)
		}
	}
	for _, f := range families {
		for _, k := range icmpKinds {
			kind, code := f.icmp(k.four, k.six)
			for _, port := range allHeaders {
				t.Run(fmt.Sprintf("%s: the SYN/%s/%d", k.name, f.name, port), func(t *testing.T) {
					defer r.wipe(t)
					c := r.dial(t, f, port)
					c.syn(synOnly, synOnly)
					for _, wrong := range []uint32{1, 0xffffffff, 0x80000001, 0x7fffffff, 0x12345} {
						s := synOnly
						s.seq = wrong
						r.drops(t, icmpError(f.router(), c.source.Addr(), 64, kind, code, k.rest, c.received(fromClient, s), 20),
							arrival{inner: true}, protocolTCP, dropWindow)
					}
					c.is(stateSYN, 0)
					translated(t, c, f, fromClient, kind, code, k.rest, synOnly, synOnly, 20)
					if k.reason == status.Normal {
						c.is(stateSYN, 0)
					} else {
						c.is(stateClosed, uint8(k.reason))
					}
				})
				t.Run(fmt.Sprintf("%s: data/%s/%d", k.name, f.name, port), func(t *testing.T) {
					defer r.wipe(t)
					c := r.dial(t, f, port)
					c.established()
					in := dataAt(1, 1, text(1400))
					c.carries(fromClient, in)
					c.carries(fromOrigin, in)
					for _, quote := range []int{8, 20, 21, 500} {
						translated(t, c, f, fromClient, kind, code, k.rest, in.moved(c.h()), in, quote)
						translated(t, c, f, fromOrigin, kind, code, k.rest, in, in, quote)
					}
					c.is(stateOpen, 0)
					for _, wrong := range []uint32{1402, 1401 + 5000, 0xffffff00, 0x80000000, 0x40000000} {
						r.drops(t, icmpError(f.router(), c.source.Addr(), 64, kind, code, k.rest, c.received(fromClient, in.moved(wrong+c.h())), 20),
							arrival{inner: true}, protocolTCP, dropWindow)
						r.drops(t, icmpError(f.router(), c.edge.Addr(), 64, kind, code, k.rest, c.received(fromOrigin, in.moved(wrong)), 20),
							arrival{}, protocolTCP, dropWindow)
					}
				})
			}
			t.Run(k.name+": a datagram/"+f.name, func(t *testing.T) {
				defer r.wipe(t)
				u := r.flow(t, f, portV1)
				u.begins("hello", u.v2+"hello")
				frame := icmpError(f.router(), u.source.Addr(), 64, kind, code, k.rest, u.received(fromClient, u.v2+"hello"), 8)
				r.drops(t, frame, arrival{inner: true}, protocolUDP, dropICMP)
				if _, s := u.session(); (s.State == stateClosed) != (k.reason != status.Normal) || status.Reason(s.Reason) != k.reason {
					t.Errorf("the flow has state %d and reason %d", s.State, s.Reason)
				}
			})
			t.Run(k.name+": an answer/"+f.name, func(t *testing.T) {
				defer r.wipe(t)
				u := r.flow(t, f, portPlain)
				u.begins("hello", "hello")
				u.moves(fromOrigin, "welcome", "welcome")
				frame := icmpError(f.router(), u.edge.Addr(), 64, kind, code, k.rest, u.received(fromOrigin, "welcome"), 8)
				r.drops(t, frame, arrival{}, protocolUDP, dropICMP)
				if _, s := u.session(); s.State != stateOpen {
					t.Errorf("the flow has state %d", s.State)
				}
			})
		}
		t.Run("what is no error of ours/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			c := r.dial(t, f, portV2)
			c.established()
			c.carries(fromClient, dataAt(1, 1, "hello"))
			about := c.received(fromClient, dataAt(1, 1, "hello").moved(c.h()))
			unreachable, code := f.icmp([2]uint8{3, 3}, [2]uint8{1, 4})
			ours := func(change func(*packet)) []byte {
				p := about
				change(&p)
				return icmpError(f.router(), c.source.Addr(), 64, unreachable, code, 0, p, 20)
			}
			leaves := func(frame []byte) {
				t.Helper()
				r.leaves(t, frame, arrival{inner: true}, leftOther)
			}
			for _, kind := range []uint8{0, 4, 5, 8, 9, 11, 12, 13, 128, 129, 133, 134, 135, 136} {
				leaves(icmpError(f.router(), c.source.Addr(), 64, kind, 0, 0, about, 20))
			}
			leaves(ours(func(p *packet) { p.to = netip.AddrPortFrom(p.to.Addr(), 7) }))
			leaves(ours(func(p *packet) { p.from = netip.AddrPortFrom(p.from.Addr(), 7) }))
			leaves(ours(func(p *packet) { p.to = netip.AddrPortFrom(p.to.Addr().Next(), p.to.Port()) }))
			leaves(ours(func(p *packet) { p.protocol = protocolUDP }))
			leaves(ours(func(p *packet) { p.protocol = protocolSCTP }))
			whole := ours(func(*packet) {})
			for _, n := range []int{0, 1, 8, f.ip + 8, f.ip + 15} {
				short := slices.Clone(whole[:etherSize+f.ip+n])
				setLength(short, f.ip+n)
				leaves(short)
				padded := slices.Clone(whole)
				setLength(padded, f.ip+n)
				leaves(padded)
			}
			inner := etherSize + f.ip + 8
			broken := slices.Clone(whole)
			broken[inner] = 0x11
			leaves(broken)
			if f.client.Is4() {
				broken = slices.Clone(whole)
				broken[inner] = 0x46 // options
				leaves(broken)
				broken = slices.Clone(whole)
				broken[inner+7] = 1 // a later fragment has no ports
				leaves(broken)
				broken = slices.Clone(whole)
				broken[etherSize+6] = 0x20 // itself the first fragment
				sumIP4(broken)
				leaves(broken)
			} else {
				mapped := about
				mapped.from = netip.AddrPortFrom(netip.AddrFrom16(source4.As16()), about.from.Port())
				leaves(icmpError(f.router(), c.source.Addr(), 64, unreachable, code, 0, mapped, 20))
			}
			last := icmpError(f.router(), c.source.Addr(), 1, unreachable, code, 0, about, 20)
			r.drops(t, last, arrival{inner: true}, protocolTCP, dropTTL)
		})
	}
}

// quotedICMP is the error as the sender gets it: from the address that it knows, one hop further, the rest as it came.
func quotedICMP(from, to netip.Addr, kind, code uint8, rest uint32, quoted, came []byte) []byte {
	out := wrapICMP(from, to, 63, kind, code, rest, quoted)
	return append(out, came[len(out):]...)
}

// icmpSum is 0xffff if the checksum of an ICMP packet is right.
func icmpSum(from, to netip.Addr, b []byte) uint16 {
	if from.Is4() {
		return sum16(b)
	}
	return sum16(from.AsSlice(), to.AsSlice(), binary.BigEndian.AppendUint32(nil, uint32(len(b))), []byte{0, protocolICMP6}, b)
}
