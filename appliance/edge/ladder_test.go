package edge

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/crash"
	"breakwater/appliance/plan"
)

// crashOver lets three processes crash over a plan and opens the ledger of the fourth.
func crashOver(e *Edge, plans ...plan.Plan) {
	open := func() *crash.Ledger {
		return crash.Open(crash.Options{File: filepath.Join(e.options.State, crashFile), Version: "1"})
	}
	for _, p := range plans {
		for range crash.Limit {
			open().Begin(crash.Work{Print: p.Fingerprint(), Revision: p.Revision})
		}
	}
	e.crashes = open()
}

// planOf is a plan like no other revision's.
func planOf(revision uint64) plan.Plan {
	p := plan.Plan{Revision: revision}
	p.Limits.MaxSessions = int(revision)
	return p
}

func TestACondemnedPlanIsRefused(t *testing.T) {
	e := newEdge(t, t.TempDir())
	bad := planOf(7)
	crashOver(e, bad)
	bad.Revision = 9 // the same settings again
	body, err := json.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	w := ask(t, e, http.MethodPut, "/plan", string(body))
	const why = "revision 7 crashed the data plane 3 times within 60 seconds"
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), why) {
		t.Errorf("got %d %s, want a refusal that says %q", w.Code, w.Body, why)
	}
	got := e.conditions.List()
	if len(got) != 1 || got[0].Code != planCondemned || !strings.Contains(got[0].Detail, "Nothing is proxied") {
		t.Errorf("conditions %+v", got)
	}
}

// TestNothingIsRestoredOfCondemnedPlans: when the good plan crashed edge as well, the box stays manageable without one.
func TestNothingIsRestoredOfCondemnedPlans(t *testing.T) {
	e := newEdge(t, t.TempDir())
	bad, good := planOf(7), planOf(6)
	for file, p := range map[string]plan.Plan{PlanFile: bad, goodFile: good} {
		if err := e.keep(file, p); err != nil {
			t.Fatal(err)
		}
	}
	crashOver(e, bad, good)
	e.restore()
	if e.current != nil {
		t.Errorf("revision %d is in force", e.current.Revision)
	}
	got := e.conditions.List()
	if len(got) != 1 || got[0].Code != planCondemned || !strings.HasPrefix(got[0].Detail, "Revision 7 crashed the data plane 3 times within 60 seconds. Nothing is proxied") {
		t.Errorf("conditions %+v", got)
	}
}

// TestOnlyAPlanThatProvedItselfIsKept: whatever ran for a moment is nothing to come back to.
func TestOnlyAPlanThatProvedItselfIsKept(t *testing.T) {
	e := newEdge(t, t.TempDir())
	now := crash.Moment{Boot: "first"}
	e.crashes = crash.Open(crash.Options{File: filepath.Join(e.options.State, crashFile), Now: func() crash.Moment { return now }})
	inForce := func(p plan.Plan) {
		print := p.Fingerprint()
		e.crashes.Begin(crash.Work{Print: print, Revision: p.Revision})
		e.keepGood(print)
		e.current, e.print = &p, print
	}
	kept := func() uint64 {
		var p plan.Plan
		_ = e.read(goodFile, &p) // none is none
		return p.Revision
	}
	inForce(planOf(1))
	inForce(planOf(2))
	if got := kept(); got != 0 {
		t.Errorf("kept %d, which was in force for a moment", got)
	}
	now.Since += crash.Window
	e.crashes.Prove()
	inForce(planOf(2))
	if got := kept(); got != 0 {
		t.Errorf("kept %d, which is in force", got)
	}
	inForce(planOf(3))
	if got := kept(); got != 2 {
		t.Errorf("kept %d, want 2", got)
	}
	inForce(planOf(4))
	if got := kept(); got != 2 {
		t.Errorf("after another that did not prove itself: kept %d, want 2", got)
	}
}
