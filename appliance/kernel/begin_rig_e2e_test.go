//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// opening is the first packet of a session or flow, from a port of the client.
func (f family) opening(protocol uint8, clientPort, edgePort uint16) packet {
	p := packet{
		from: netip.AddrPortFrom(f.client, clientPort), to: netip.AddrPortFrom(f.edge, edgePort), protocol: protocol, ttl: 64,
	}
	if protocol == protocolTCP {
		p.flags, p.seq, p.window = flagSYN, 1000, 60000
		return p
	}
	p.payload = []byte("hello")
	return p
}

// each runs a vector for TCP and UDP in IPv4 and IPv6.
func (r *rig) each(t *testing.T, name string, run func(*testing.T, family, uint8)) {
	for _, f := range families {
		for _, protocol := range []uint8{protocolTCP, protocolUDP} {
			t.Run(fmt.Sprintf("%s/%s/%d", name, f.name, protocol), func(t *testing.T) {
				defer r.wipe(t)
				run(t, f, protocol)
			})
		}
	}
}

func prefixEnd(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(b) // 4 or 16 bytes, as they were
	return end
}

// only is the session of a client's port with the plain service.
func (r *rig) only(t testing.TB, protocol uint8, f family, port uint16) bpfSession {
	t.Helper()
	_, s := r.slot(t, protocol, netip.AddrPortFrom(f.client, port), netip.AddrPortFrom(f.edge, portPlain))
	return s
}

// set changes the configuration, until the next apply.
func (r *rig) set(t testing.TB, change func(*bpfConfiguration)) {
	t.Helper()
	if err := r.path.configure(change); err != nil {
		t.Fatal(err)
	}
}

// ports sets the source ports that there are.
func (r *rig) ports(t testing.TB, first, last uint32) {
	t.Helper()
	r.set(t, func(c *bpfConfiguration) { c.FirstPort, c.LastPort = first, last })
}

// publishMembers changes all addresses of origins, until the next apply.
func (r *rig) publishMembers(t testing.TB, change func(*bpfMember)) {
	t.Helper()
	tables := r.path.tables
	tables.members = slices.Clone(tables.members)
	for i := range tables.members {
		change(&tables.members[i])
	}
	if err := r.path.publish(tables); err != nil {
		t.Fatal(err)
	}
}

// roomInSecond makes sure that this second of the program's clock lasts a while.
func roomInSecond() {
	const room = 600 * time.Millisecond
	if rest := time.Second - time.Duration(now())%time.Second; rest < room {
		time.Sleep(rest)
	}
}

// secondsAgo makes the new flows so far those of an earlier second.
func (r *rig) secondsAgo(t testing.TB) {
	t.Helper()
	var totals bpfTotal
	err := r.path.objects.Totals.Lookup(uint32(0), &totals)
	totals.Second--
	err = errors.Join(err, r.path.objects.Totals.Put(uint32(0), &totals))
	for number := range r.path.names.next[kindService] {
		var c bpfCount
		err = errors.Join(err, r.path.objects.ServiceCounts.Lookup(number, &c))
		c.Second--
		err = errors.Join(err, r.path.objects.ServiceCounts.Put(number, &c))
	}
	if err != nil {
		t.Fatal(err)
	}
}
