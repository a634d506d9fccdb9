//go:build e2e

package kernel

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/status"
)

// TestSlots: slots are used again, with another generation; who asks for one that is gone gets nothing.
func TestSlots(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			c := r.dial(t, f, portPlain)
			c.established()
			slot, s := c.session(fromClient)
			must := func(e bpfEnding, want bool) {
				t.Helper()
				if done, err := r.path.call(e); err != nil || done != want {
					t.Errorf("%+v did %t, want %t: %v", e, done, want, err)
				}
			}
			must(bpfEnding{Slot: slot, Generation: s.Generation + 1}, false)
			must(bpfEnding{Slot: slot, Generation: s.Generation - 1, Flags: sessionKilled}, false)
			must(bpfEnding{Slot: r.path.objects.slots, Generation: 0}, false)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, false) // it lives
			c.carries(fromClient, dataAt(1, 1, "on"))
			must(bpfEnding{Slot: slot, Generation: s.Generation, Reason: uint32(status.Idle)}, true)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, true)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, false) // it is gone
			must(bpfEnding{Slot: slot, Generation: s.Generation + 1, Forget: 1}, false)
			c.ignores(fromClient, ackAt(1, 1), leftOther)
			c.ignores(fromOrigin, ackAt(1, 1), leftOther)

			next := r.dial(t, f, portPlain)
			for tries := 0; ; tries++ { // until the queue of spare slots gives that one again
				next.client = netip.AddrPortFrom(f.client, uint16(41000+tries))
				next.syn(synOnly, synOnly)
				if again, _ := next.session(fromClient); again == slot {
					break
				}
				if tries == 1000 {
					t.Fatal("the slot was not used again")
				}
			}
			if _, again := next.session(fromClient); again.Generation == s.Generation || again.Side[client].Bytes != 0 {
				t.Errorf("the slot is used again with generation %d and %d bytes", again.Generation, again.Side[client].Bytes)
			}
			// A tuple that was left over leads to nothing.
			tuple := bpfTuple{
				Src: c.client.Addr().As16(), Dst: c.edge.Addr().As16(), Sport: htons(c.client.Port()), Dport: htons(c.edge.Port()), Protocol: protocolTCP,
			}
			if err := r.path.objects.Tuples.Put(&tuple, &bpfRef{Slot: slot, Generation: s.Generation}); err != nil {
				t.Fatal(err)
			}
			c.ignores(fromClient, ackAt(1, 1), leftOther)
			if err := r.path.objects.Tuples.Delete(&tuple); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestKill: a session is ended by its id, and both ends are told.
func TestKill(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			c := r.dial(t, f, portV2)
			c.established()
			c.carries(fromClient, dataAt(1, 1, "hello"))
			c.carries(fromOrigin, dataAt(1, 6, "welcome"))
			c.carries(fromClient, ackAt(6, 8))
			_, s := c.session(fromClient)
			r.must(t, func() error {
				done, err := r.path.Kill(status.ID(s.Id))
				if err == nil && !done {
					return errors.New("there was no such session")
				}
				return err
			})
			c.is(stateClosed, uint8(status.Killed))
			want := c.received(fromClient, resetAt(6+c.h(), 8))
			want.ttl = hopLimit
			same(t, r.sniffs(t, protocolTCP, c.source, c.origin), want)
		})
	}
}

// TestPortAgain: a port of a session that is over is taken over while the origin may remember it.
func TestPortAgain(t *testing.T) {
	r := newRig(t, vectorPlan())
	const port = 20000
	for _, f := range families {
		for _, v := range []struct {
			name        string
			service     uint16
			originFirst bool
		}{
			{"the origin closed first", portPlain, true},
			{"the origin closed first, with a header", portV2, true},
			{"the client closed first", portV2, false},
		} {
			t.Run(v.name+"/"+f.name, func(t *testing.T) {
				defer r.wipe(t)
				r.ports(t, port, port)
				defer r.apply(t, vectorPlan())
				old := r.dial(t, f, v.service)
				old.established()
				old.carries(fromClient, dataAt(1, 1, "some words"))
				next := r.dial(t, f, v.service)
				next.client = netip.AddrPortFrom(f.client, 50000)
				next.clientISN = 0x01020304
				next.ignores(fromClient, synOnly, leftPort)
				if v.originFirst {
					old.carries(fromOrigin, finAt(1, 11))
					old.carries(fromClient, finAt(11, 2))
					old.carries(fromOrigin, ackAt(2, 12))
				} else {
					old.closesAt(11, 1)
				}
				syn := segment{flags: flagSYN, window: 60000, options: options(optionMSS(1000), []byte{4, 2}, optionTimestamps(99, 0), optionScale(7))}
				want := syn
				if v.originFirst { // an origin in TIME-WAIT compares timestamps, of another client
					want.options = slices.Replace(slices.Clone(syn.options), 7, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
				}
				next.syn(syn, want)
				if next.source.Port() != port {
					t.Errorf("the source port is %d, want %d", next.source.Port(), port)
				}
				ahead := next.clientISN + next.shift - (old.clientISN + 12 + old.h())
				if v.originFirst && (ahead < 65536 || ahead > 65536+1<<20) || !v.originFirst && next.shift != 0 {
					t.Errorf("the numbers go on %d behind the old ones, moved by %d", ahead, next.shift)
				}
				old.ignores(fromClient, ackAt(12, 2), leftOther) // its tuples are gone
				next.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(next.h())})
				next.moves(fromClient, ackAt(1, 1), next.firstACK())
				next.carries(fromClient, dataAt(1, 1, "other words"))
				sack := ackAt(1, 1)
				base := next.clientISN + next.shift + next.h()
				sack.ack += next.h()
				sack.options = options(optionSACK(base+4, base+8))
				seen := ackAt(1, 1)
				seen.options = options(optionSACK(next.clientISN+4, next.clientISN+8))
				next.moves(fromOrigin, sack, seen)
				next.closesAt(12, 1)
			})
		}
	}
}
