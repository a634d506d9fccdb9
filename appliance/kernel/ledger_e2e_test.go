//go:build e2e

package kernel

import (
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// tally is what is counted of sessions and flows besides what the program counts.
type tally struct {
	now, opened       int64
	origins, reported int64
	internal          uint64
}

func (r *rig) tally() (n tally) {
	for _, s := range r.path.ledger.services {
		n.now += s.Sessions + s.Flows
		n.opened += int64(s.SessionsOpened + s.FlowsOpened)
	}
	for _, sessions := range r.path.ledger.perOrigin {
		n.origins += sessions
	}
	for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		n.internal += r.path.ledger.reasons[protocol][status.Internal]
	}
	for _, pool := range r.pools.Status() {
		for _, o := range pool.Origins {
			n.reported += o.Sessions
		}
	}
	return n
}

// TestLedgerInTurmoil: a slot that has another session by the time that it is looked at, before it was read what happened, leaves
// nothing behind in the counts. A client could bring that about as often as it likes, until limits are reached by nobody.
func TestLedgerInTurmoil(t *testing.T) {
	r := newRig(t, vectorPlan())
	turn := func(f family) {
		c := r.dial(t, f, portPlain)
		c.syn(synOnly, synOnly)
		r.run(t, c.sent(fromClient, segment{flags: flagRST, seq: 1}).frame(), r.context(arrival{}))
	}
	for range 3 {
		for _, f := range families {
			turn(f)
			turn(f)
			c := r.dial(t, f, portPlain)
			c.syn(synOnly, synOnly)
		}
		r.must(t, r.path.sweep)
		if got, want := r.tally(), (tally{now: 2, origins: 2, reported: 2}); got.now != want.now || got.origins != want.origins || got.reported != want.reported || got.internal != 0 {
			t.Errorf("with two sessions there are %+v", got)
		}
		for _, f := range families {
			c := r.dial(t, f, portPlain)
			r.run(t, c.sent(fromClient, segment{flags: flagRST, seq: 1}).frame(), r.context(arrival{}))
		}
	}
	r.must(t, r.path.sweep)
	if got := r.tally(); got != (tally{opened: 18}) {
		t.Errorf("without sessions there are %+v", got)
	}
}

// TestLostReports: what there was no room to report is found by looking twice, whatever was lost of a session.
func TestLostReports(t *testing.T) {
	r := newRig(t, vectorPlan())
	look := func() {
		t.Helper()
		r.must(t, r.path.sweep)
		time.Sleep(eventsEvery)
		r.must(t, r.path.sweep)
	}
	f := families[0]
	first := r.dial(t, f, portPlain)
	first.syn(synOnly, synOnly)
	r.events(t) // lost: the begin
	r.must(t, r.path.sweep)
	if got := r.tally(); got.now != 0 {
		t.Errorf("before it is certain there are %+v", got)
	}
	look()
	if got := r.tally(); got != (tally{now: 1, opened: 1, origins: 1, reported: 1}) {
		t.Errorf("with one session there are %+v", got)
	}
	r.wipe(t) // lost: the end, and its slot is given back
	look()
	if got := r.tally(); got != (tally{opened: 1, internal: 1}) {
		t.Errorf("without sessions there are %+v", got)
	}
	first = r.dial(t, f, portPlain)
	first.syn(synOnly, synOnly)
	r.must(t, r.path.sweep)
	r.wipe(t)
	second := r.dial(t, f, portV1) // in the same slot
	second.syn(synOnly, synOnly)
	look()
	if got := r.tally(); got != (tally{now: 1, opened: 3, origins: 1, reported: 1, internal: 2}) {
		t.Errorf("with the next session there are %+v", got)
	}
}
