package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
)

// TestControlCrashesWithTheCurrentRevision: three times, and the next control does without it. Edge goes on, and other
// settings heal it.
func TestControlCrashesWithTheCurrentRevision(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustPropose("two", 0)
	for range 2 {
		b.crash()
		if codes := b.codes(); slices.Contains(codes, "settings-condemned") {
			t.Fatalf("after less than three crashes: conditions %v", codes)
		}
	}
	b.crash()
	b.assert(2, "two")
	s, err := b.Status(t.Context())
	if err != nil || s.InForce || len(s.Conditions) != 1 || s.Conditions[0].Code != "settings-condemned" ||
		!strings.HasPrefix(s.Conditions[0].Detail, "Revision 2 crashed control 3 times within 60 seconds. The data plane keeps its last plan.") {
		t.Errorf("status %+v, %v", s, err)
	}
	for range 3 { // without settings there is nothing to count
		b.crash()
	}
	if _, err := b.propose("two", 0); err == nil || !strings.Contains(err.Error(), "revision 2 crashed control 3 times") {
		t.Errorf("the same again: got %v, want a refusal that says why", err)
	}
	r, err := b.Rollback(t.Context(), 1, control.Meta{Author: "anna"})
	if err != nil || r.Revision != 3 {
		t.Fatalf("roll back: got %+v, %v, want revision 3", r, err)
	}
	b.assert(3, "one")
	if codes := b.codes(); len(codes) > 0 {
		t.Errorf("conditions %v, want none", codes)
	}
	_, err = b.Rollback(t.Context(), 2, control.Meta{Author: "anna"})
	if _, ok := errors.AsType[*control.NotApplied](err); !ok {
		t.Errorf("roll back to what was condemned: got %v, want NotApplied", err)
	}
	b.assert(3, "one")
}

// TestControlCrashesWithACandidate: it is taken back before its time, and told.
func TestControlCrashesWithACandidate(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustPropose("two", time.Minute)
	for range 3 {
		if b.Pending() == nil {
			t.Fatal("nothing waits before the third crash")
		}
		b.crash()
	}
	if p := b.Pending(); p != nil {
		t.Errorf("%+v waits still", p)
	}
	b.runUntil(func() bool { p := b.edge.Plan(); return p != nil && p.Revision == 1 })
	b.assert(1, "one")
	if codes := b.codes(); !slices.Contains(codes, "settings-condemned") || !slices.Contains(codes, "taken-back") {
		t.Errorf("conditions %v, want that it crashed and was taken back", codes)
	}
}

// TestACrashAfterAFailedChange: control works with the revision from before again, so that is what crashes.
func TestACrashAfterAFailedChange(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	for range 3 {
		b.edge.Refuse("no such interface")
		if _, err := b.propose("two", 0); err == nil {
			t.Fatal("edge took what it was to refuse")
		}
		b.edge.Refuse("")
		b.crash()
	}
	s, err := b.Status(t.Context())
	if err != nil || len(s.Conditions) != 1 || !strings.HasPrefix(s.Conditions[0].Detail, "Revision 1 crashed control") {
		t.Errorf("status %+v, %v", s, err)
	}
	b.mustPropose("two", 0)
	b.assert(2, "two")
}
