//go:build e2e

package kernel

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/plan"
)

// TestKnown: who is known stays so over a restart, and for a day; a full map makes room, and flows never take all of it.
func TestKnown(t *testing.T) {
	r := newRig(t, vectorPlan())
	table := r.path.objects.KnownSources
	n := &r.path.known
	for _, f := range families {
		r.freshStart(t)
		same, near, far := neighbours(f)
		r.knows(t, f.client, plan.UDP)
		r.knows(t, near, plan.TCP)
		r.knows(t, same, plan.TCP) // the same source: a session counts more
		if got := fmt.Sprint(n.size(), n.udp); got != "2 0" {
			t.Errorf("%s: known, and of those by flows alone: %s", f.name, got)
		}
		r.knows(t, far, plan.UDP)
		var again known
		if err := again.load(table); err != nil || fmt.Sprint(len(again.tcp), again.udp) != "3 1" {
			t.Errorf("%s: a new process knows %d, %d by flows; %v", f.name, len(again.tcp), again.udp, err)
		}
		putEntry(t, table, sourceKey(near), bpfKnown{Seen: 1, Tcp: 1})
		if err := n.sweep(table, uint64(25*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := table.Lookup(sourceKey(near), &bpfKnown{}); err == nil {
			t.Errorf("%s: who was not seen for a day is known", f.name)
		}
	}
	r.freshStart(t)
	n.udp = maxKnown / 2
	if _, room := n.value(sourceKey(families[0].client), false, 1); room {
		t.Error("flows take more than half of the map")
	}
	if _, room := n.value(sourceKey(families[0].client), true, 1); !room {
		t.Error("flows leave no room for sessions")
	}
}

// TestKnownByTheKernelPath: a session in which both spoke makes its client known; a flow does after a while.
func TestKnownByTheKernelPath(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			r.freshStart(t)
			known := func(want int) {
				t.Helper()
				r.must(t, r.path.sweep)
				r.must(t, r.path.enterKnown)
				if got := r.path.known.size(); got != want {
					t.Errorf("%d are known, want %d", got, want)
				}
			}
			c := r.dial(t, f, portPlain)
			c.established()
			known(0)
			c.carries(fromClient, dataAt(1, 1, "x"))
			known(0)
			c.carries(fromOrigin, dataAt(1, 2, "y"))
			known(1)

			r.freshStart(t)
			r.passes(t, f.opening(protocolUDP, 40000, portPlain).frame(), arrival{})
			slot, s := r.slot(t, protocolUDP, netip.AddrPortFrom(f.client, 40000), netip.AddrPortFrom(f.edge, portPlain))
			s.Rounds, s.Side[client].Packets, s.Side[originSide].Packets = 2, 20, 20
			r.put(t, slot, &s)
			known(0) // so soon
			s.Started -= uint64(11 * time.Second)
			r.put(t, slot, &s)
			known(1)
		})
	}
}
