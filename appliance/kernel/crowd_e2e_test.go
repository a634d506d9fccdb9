//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// bounded is the plan of the vectors with these limits for every service.
func bounded(l plan.ServiceLimits) *plan.Plan {
	p := vectorPlan()
	for i := range p.Services {
		p.Services[i].Limits = l
	}
	return p
}

// neighbours of the client of a family: the same source for limits by address, one of the same network, a stranger.
func neighbours(f family) (same, near, far netip.Addr) {
	if f.client.Is4() {
		b := f.client.As4()
		return f.client, netip.AddrFrom4([4]byte{b[0], b[1], b[2], b[3] ^ 1}), netip.AddrFrom4([4]byte{b[0], b[1], b[2] ^ 1, b[3]})
	}
	b := f.client.As16()
	same16, near16, far16 := b, b, b
	same16[15] ^= 1
	near16[7] ^= 1
	far16[5] ^= 1
	return netip.AddrFrom16(same16), netip.AddrFrom16(near16), netip.AddrFrom16(far16)
}

// holders are the sources that have sessions, as text.
func (r *rig) holders(t testing.TB) (list []string) {
	t.Helper()
	var key bpfSource
	var held bpfHolder
	all := r.path.objects.Holders.Iterate()
	for all.Next(&key, &held) {
		list = append(list, fmt.Sprintf("%s network %d: %d and %d", netip.AddrFrom16(key.Address).Unmap(), key.Network, held.Sessions, held.Others))
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestSourceLimits: whoever has all its sessions is left to the user path; what that has counts, and what is over does not.
func TestSourceLimits(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		same, near, far := neighbours(f)
		opening := func(from netip.Addr, port uint16) []byte {
			p := f.opening(protocolTCP, port, portPlain)
			p.from = netip.AddrPortFrom(from, port)
			return p.frame()
		}
		passes := func(from netip.Addr, port uint16) { t.Helper(); r.passes(t, opening(from, port), arrival{}) }
		leaves := func(from netip.Addr, port uint16) { t.Helper(); r.leaves(t, opening(from, port), arrival{}, leftLimit) }

		t.Run("by address/"+f.name, func(t *testing.T) {
			defer r.apply(t, vectorPlan())
			r.apply(t, bounded(plan.ServiceLimits{MaxSessionsPerAddress: 3}))
			passes(f.client, 40000)
			passes(same, 40001)
			r.path.ShareSource("plain"+f.name, same, 1)
			leaves(f.client, 40002)
			passes(near, 40002)
			r.path.ShareSource("plain"+f.name, same, -1)
			passes(f.client, 40003)
			leaves(same, 40004)
			r.passes(t, f.opening(protocolTCP, 40004, portV2).frame(), arrival{}) // another service
			r.passes(t, f.opening(protocolUDP, 40004, portPlain).frame(), arrival{})
			slot, s := r.slot(t, protocolTCP, netip.AddrPortFrom(f.client, 40000), netip.AddrPortFrom(f.edge, portPlain))
			if done, err := r.path.call(bpfEnding{Slot: slot, Generation: s.Generation}); err != nil || !done {
				t.Fatal(done, err)
			}
			passes(f.client, 40005)
			r.path.ShareSource("plain"+f.name, far, 1) // it ends, and so does all that the last process had
			r.must(t, r.path.forgetOthers)
			r.wipe(t)
			if left := r.holders(t); len(left) > 0 {
				t.Errorf("without sessions there are %q", left)
			}
		})
		t.Run("by network/"+f.name, func(t *testing.T) {
			defer r.apply(t, vectorPlan())
			r.apply(t, bounded(plan.ServiceLimits{MaxSessionsPerNetwork: 2}))
			passes(f.client, 40000)
			passes(near, 40000)
			leaves(f.client, 40001)
			leaves(near, 40001)
			passes(far, 40000)
			r.wipe(t)
			if left := r.holders(t); len(left) > 0 {
				t.Errorf("without sessions there are %q", left)
			}
		})
		t.Run("by rate/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			defer r.apply(t, vectorPlan())
			r.apply(t, bounded(plan.ServiceLimits{NewSessionsPerAddress: 1}))
			for i := range uint16(4) {
				passes(f.client, 40000+i)
			}
			r.path.ShareSource("plain"+f.name, same, 1) // the fifth
			leaves(same, 40010)
			passes(near, 40010)
			r.paidAgo(t, time.Second)
			passes(same, 40010)
			leaves(f.client, 40011)
		})
	}
}

// paidAgo makes what addresses have used up of their rate older.
func (r *rig) paidAgo(t testing.TB, by time.Duration) {
	t.Helper()
	all := make(map[bpfSource]uint64)
	var key bpfSource
	var until uint64
	for i := r.path.objects.Paid.Iterate(); i.Next(&key, &until); {
		all[key] = until - uint64(by)
	}
	for key, until := range all {
		if err := r.path.objects.Paid.Put(key, until); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProvenClients: a client counts at the user path once it has acknowledged what only it was told; who is silent then, or
// never was there, is given up.
func TestProvenClients(t *testing.T) {
	r := newRig(t, bounded(plan.ServiceLimits{MaxSessionsPerAddress: 3}))
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			r.sources = nil
			told := func(want string) {
				t.Helper()
				r.path.mu.Lock()
				defer r.path.mu.Unlock()
				if err := r.path.readEvents(); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(r.sources); got != want {
					t.Errorf("the user path was told %s, want %s", got, want)
				}
			}
			reason := func(c *conn, after time.Duration) string {
				t.Helper()
				_, s := c.session(fromClient)
				clock := s.Started + uint64(after)
				why, over := r.path.timedOut(&s, func(at uint64) time.Duration { return time.Duration(clock - min(at, clock)) })
				if !over {
					return "none"
				}
				return why.String()
			}
			c := r.dial(t, f, portPlain)
			c.opens()
			told("[]")
			if got := reason(c, 19*time.Second); got != "none" {
				t.Errorf("a client that has not answered for 19 s: %s", got)
			}
			if got := reason(c, 21*time.Second); got != status.ClientTimeout.String() {
				t.Errorf("a client that has not answered for 21 s: %s", got)
			}
			c.moves(fromClient, segment{flags: flagACK, seq: 1, ack: 2, window: 60000}, segment{flags: flagACK, seq: 1, ack: 2, window: 60000})
			told("[]") // it acknowledged what it was not told
			c.moves(fromClient, ackAt(1, 1), ackAt(1, 1))
			told(fmt.Sprintf("[plain%s %s 1]", f.name, f.client))
			if got := reason(c, 21*time.Second); got != "none" {
				t.Errorf("a client that has answered: %s", got)
			}
			number := func() uint32 { _, s := c.session(fromClient); return s.Service }()
			limits := r.path.tables.timeouts[number]
			limits.FirstByte = 2 * time.Second
			r.path.tables.timeouts[number] = limits
			if got := reason(c, 3*time.Second); got != status.FirstByteTimeout.String() {
				t.Errorf("a client that has said nothing for 3 of 2 s: %s", got)
			}
			c.moves(fromClient, dataAt(1, 1, "x"), dataAt(1, 1, "x"))
			if got := reason(c, 3*time.Second); got != "none" {
				t.Errorf("a client that has said something: %s", got)
			}
			limits.FirstByte = 0
			r.path.tables.timeouts[number] = limits
			c.moves(fromClient, resetAt(2, 1), resetAt(2, 1))
			told(fmt.Sprintf("[plain%s %s 1 plain%s %s -1]", f.name, f.client, f.name, f.client))
		})
	}
}
