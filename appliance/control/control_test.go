package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/store"
)

func TestAChangeIsAppliedAndCommitted(t *testing.T) {
	b := newBox(t)
	if r := b.mustPropose("one", 0); r.Revision != 1 || r.Pending != nil {
		t.Errorf("got %+v, want revision 1", r)
	}
	b.mustPropose("two", 0)
	b.assert(2, "two")
	r, err := b.Revision(2)
	if err != nil || r.Author != "anna" || r.Reason != "because" || !r.Time.Equal(b.now) {
		t.Errorf("revision 2 is %+v, %v", r, err)
	}
	if p := b.edge.Plan(); p.Revision != 2 {
		t.Errorf("edge runs revision %d, want 2", p.Revision)
	}
	s, err := b.Status(t.Context())
	if err != nil || !s.InForce || s.Revision != 2 || len(s.Conditions) > 0 {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestTheSameDocumentMakesNoRevision(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	spaced := append([]byte("\n\n   "), documentWith("one")...)
	r, err := b.Propose(t.Context(), spaced, control.Meta{Confirm: time.Minute})
	if err != nil || !r.Unchanged || r.Revision != 1 || r.Pending != nil {
		t.Errorf("got %+v, %v, want revision 1 unchanged", r, err)
	}
	b.assert(1, "one")
}

func TestEveryProblemIsReportedAndNothingChanges(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	_, err := b.Propose(t.Context(), []byte(`{"schema": 1, "edge": {"interfaces": ["wan0"], "addresses": ["203.0.113.10/32"]}, "wrong": 1,
		"pools": [{"name": "p", "origins": []}], "services": [{"name": "s", "protocols": ["sctp"], "ports": ["0-70000"], "pool": "q"}]}`), control.Meta{})
	invalid, ok := errors.AsType[*control.Invalid](err)
	if !ok || len(invalid.Problems) < 4 {
		t.Fatalf("got %v, want at least 4 problems", err)
	}
	for _, p := range invalid.Problems {
		if p.Field == "" || p.Text == "" {
			t.Errorf("problem %+v lacks its field or text", p)
		}
	}
	b.assert(1, "one")
}

func TestWhatEdgeRefusesIsNotStored(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.edge.Refuse("no such interface")
	for _, confirm := range []time.Duration{0, time.Minute} {
		_, err := b.propose("two", confirm)
		if _, ok := errors.AsType[*control.NotApplied](err); !ok || !strings.Contains(err.Error(), "no such interface") {
			t.Errorf("confirm %s: got %v, want NotApplied with the reason of edge", confirm, err)
		}
		b.assert(1, "one")
		if _, err := b.store.Candidate(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("confirm %s: a candidate is left (%v)", confirm, err)
		}
	}
	b.edge.Refuse("")
	b.mustPropose("three", 0)
	b.assert(2, "three")
}

func TestWithoutEdgeNothingChanges(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.edge.Stop()
	if _, err := b.propose("two", 0); !errors.Is(err, edgelink.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	if got := b.codes(); !slices.Contains(got, "edge-unreachable") {
		t.Errorf("conditions %v, want edge-unreachable", got)
	}
	b.edge.Restart()
	b.runUntil(func() bool { return b.edge.Plan() != nil })
	b.assert(1, "one")
	if got := b.codes(); len(got) > 0 {
		t.Errorf("conditions %v, want none", got)
	}
}

func TestADiskWithoutSpaceBringsTheOldPlanBack(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	// A directory in the place of the next plain file fails the commit after edge has taken the plan.
	makeDirectory(t, b.dir+"/revisions/000002.json/x")
	if _, err := b.propose("two", 0); err == nil {
		t.Error("the change was acknowledged")
	}
	b.assert(1, "one")
	if got := b.edge.Applied(); !slices.Equal(got, []uint64{1, 2, 1}) {
		t.Errorf("edge took %v, want 1 2 1", got)
	}
}

func TestConfirm(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	r := b.mustPropose("two", time.Minute)
	if r.Revision != 1 || r.Pending == nil || !r.Pending.Deadline.Equal(b.now.Add(time.Minute)) {
		t.Fatalf("got %+v, want a change that waits for a minute on revision 1", r)
	}
	b.assert(1, "two")
	b.now = b.now.Add(59 * time.Second)
	if r, err := b.Confirm(t.Context()); err != nil || r.Revision != 2 {
		t.Errorf("Confirm: got %+v, %v, want revision 2", r, err)
	}
	b.now = b.now.Add(time.Hour)
	b.crash()
	b.assert(2, "two")
	if _, err := b.Confirm(t.Context()); !errors.Is(err, control.ErrNothingPending) {
		t.Errorf("a second Confirm: got %v, want ErrNothingPending", err)
	}
}

// TestAConnectionMadeWhileEdgeAppliedProvesNothing: who connects before edge is done comes by the old settings, so the
// change that waits must count as younger.
func TestAConnectionMadeWhileEdgeAppliedProvesNothing(t *testing.T) {
	b := newBox(t)
	begun := b.now
	c, err := control.New(control.Options{Store: b.store, Edge: edgelink.New(b.edge.Socket), Now: func() time.Time {
		if len(b.edge.Applied()) > 0 {
			return begun.Add(15 * time.Second) // that is how long edge took
		}
		return begun
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Propose(t.Context(), documentWith("one"), control.Meta{Confirm: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if connected := begun.Add(10 * time.Second); connected.After(r.Pending.Since) {
		t.Errorf("a connection from %s counts as made after the change, which waits since %s", connected, r.Pending.Since)
	}
}

func TestASecondChangeIsRefusedWhileOneWaits(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustPropose("two", time.Minute)
	b.now = b.now.Add(20 * time.Second)
	_, err := b.propose("three", 0)
	busy, ok := errors.AsType[*control.Busy](err)
	if !ok || busy.Pending.Author != "anna" || busy.Left != 40*time.Second {
		t.Fatalf("got %v, want Busy by anna with 40 s left", err)
	}
	for _, part := range []string{"anna", "12:00:00", "40s", "revert"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	b.assert(1, "two")
	if err := b.Revert(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	b.assert(1, "one")
	b.mustPropose("three", 0)
	b.assert(2, "three")
}

func TestTheDeadline(t *testing.T) {
	tests := []struct {
		name     string
		passes   time.Duration
		crash    bool
		wantPool string
		pending  bool
	}{
		{"inside the window", 50 * time.Second, false, "two", true},
		{"over", 60 * time.Second, false, "one", false},
		{"crash inside the window", 50 * time.Second, true, "two", true},
		{"crash until after it", time.Hour, true, "one", false},
		{"crash and a clock set back", -time.Hour, true, "two", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t)
			b.mustPropose("one", 0)
			b.mustPropose("two", time.Minute)
			b.now = b.now.Add(test.passes)
			if test.crash {
				b.edge.Stop()
				b.crash()
				b.edge.Restart()
			}
			b.runUntil(func() bool {
				p := b.edge.Plan()
				return p != nil && p.Pools[0].Name == test.wantPool
			})
			b.assert(1, test.wantPool)
			if p := b.Pending(); p != nil && p.Since.After(b.now) {
				t.Errorf("it waits since %s, and it is %s", p.Since, b.now)
			}
			s, err := b.Status(t.Context())
			if err != nil || (s.Pending != nil) != test.pending {
				t.Errorf("pending %+v, %v, want %v", s.Pending, err, test.pending)
			}
			if s.Pending != nil && s.Pending.Deadline.After(b.now.Add(time.Minute)) {
				t.Errorf("the deadline is %s, longer than a minute after %s", s.Pending.Deadline, b.now)
			}
			if codes := b.codes(); slices.Contains(codes, "unconfirmed") != test.pending || slices.Contains(codes, "taken-back") == test.pending {
				t.Errorf("conditions %v", codes)
			}
			if !test.pending {
				b.mustPropose("three", 0)
			}
			if slices.Contains(b.codes(), "taken-back") {
				t.Errorf("after the next change: conditions %v", b.codes())
			}
		})
	}
}

func TestTheFirstChangeCanBeReverted(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", time.Minute)
	b.assert(0, "one")
	if err := b.Revert(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	b.assert(0, "")
	if p := b.edge.Plan(); p == nil || len(p.Services) != 0 {
		t.Errorf("edge runs %+v, want a plan of nothing", p)
	}
}

// TestACrashBetweenApplyAndCommit: the candidate was not to wait, so nobody was told that it worked.
func TestACrashBetweenApplyAndCommit(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	if err := b.store.SetCandidate(store.Candidate{Base: 1, Author: "anna", Time: b.now, Document: documentWith("two")}); err != nil {
		t.Fatal(err)
	}
	b.crash()
	b.edge.Stop()
	b.edge.Restart()
	b.runUntil(func() bool { return b.edge.Plan() != nil })
	b.assert(1, "one")
	b.mustPropose("three", 0)
	b.assert(2, "three")
}

func TestRollback(t *testing.T) {
	b := newBox(t)
	for _, name := range []string{"one", "two", "three"} {
		b.mustPropose(name, 0)
	}
	r, err := b.Rollback(t.Context(), 1, control.Meta{Author: "ben"})
	if err != nil || r.Revision != 4 {
		t.Fatalf("got %+v, %v, want revision 4", r, err)
	}
	b.assert(4, "one")
	if r, _ := b.Revision(4); r.Reason != "roll back to revision 1" || r.Author != "ben" {
		t.Errorf("revision 4 is by %q because of %q", r.Author, r.Reason)
	}
	if _, err := b.Rollback(t.Context(), 99, control.Meta{}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("revision 99: got %v, want ErrNotFound", err)
	}
	changes, err := b.DiffBefore(2)
	if err != nil || len(changes) == 0 {
		t.Errorf("DiffBefore(2): %v, %v, want changes", changes, err)
	}
}

// TestRollbackWithoutEdge: settings that edge dies of must not keep one from going back.
func TestRollbackWithoutEdge(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustPropose("two", 0)
	b.edge.Stop()
	r, err := b.Rollback(t.Context(), 1, control.Meta{Author: "ben"})
	if err != nil || r.Revision != 3 || !r.Later {
		t.Fatalf("got %+v, %v, want revision 3 for later", r, err)
	}
	b.edge.Restart()
	b.runUntil(func() bool { return b.edge.Plan() != nil })
	b.assert(3, "one")
}

func TestAChangeForAnOlderRevisionIsRefused(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	base := uint64(0)
	_, err := b.Propose(t.Context(), documentWith("two"), control.Meta{Base: &base})
	if stale, ok := errors.AsType[*control.Stale](err); !ok || stale.Current != 1 {
		t.Errorf("got %v, want Stale with 1 as the current one", err)
	}
	b.assert(1, "one")
}

func TestAnEdgeThatWasRestartedGetsItsPlanAgain(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.edge.Stop()
	b.edge.Restart()
	b.runUntil(func() bool { return b.edge.Plan() != nil })
	b.assert(1, "one")
	if got := b.edge.Applied(); !slices.Equal(got, []uint64{1, 1}) {
		t.Errorf("edge took %v, want revision 1 twice", got)
	}
}

func TestAnEdgeThatRefusesItsPlanIsACondition(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.edge.Stop()
	b.edge.Restart()
	b.edge.Refuse("the interface is gone")
	b.runUntil(func() bool { return slices.Contains(b.codes(), "plan-refused") })
	b.edge.Refuse("")
	b.runUntil(func() bool { return b.edge.Plan() != nil })
	b.runUntil(func() bool { return len(b.codes()) == 0 })
	b.assert(1, "one")
}

func TestADamagedStoreIsACondition(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	overwrite(t, b.dir+"/"+store.FileName, "not a database")
	b.start()
	b.assert(1, "one")
	if got := b.codes(); !slices.Contains(got, "store-restored") {
		t.Errorf("conditions %v, want store-restored", got)
	}
}
