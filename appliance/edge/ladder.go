package edge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/appliance/crash"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

// A plan that crashes edge again and again would leave the box without a data plane for as long as it is applied at each
// start. So there is a ladder: the plan in force, the last good one, none. Without a plan the socket answers, and
// steering stays as it was: what arrives comes to listeners that know no service, and goes no further.
const (
	// goodFile is the plan that was in force before the one in PlanFile, and had proved itself.
	goodFile = "good.json"
	// crashFile is crash's.
	crashFile = "crashes.json"

	planCondemned = "plan-condemned"
)

// How long restoring waits for its next try: each time twice as long.
const (
	restoreFirst = time.Second
	restoreMax   = 30 * time.Second
)

// restoreUntilDone tries to restore until a plan is in force, that one or one of control's: when a machine starts, its
// interfaces may come and get their names after edge.
func (e *Edge) restoreUntilDone(ctx context.Context) error {
	for pause := restoreFirst; ; pause = min(2*pause, restoreMax) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			if e.inForce() || !e.restore() {
				return nil
			}
		}
	}
}

func (e *Edge) inForce() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current != nil
}

// restore applies the plan of the former edge, or the good one before it when that one was condemned. It returns whether
// to try again: one that cannot be applied now is left for later, or for control to replace.
func (e *Edge) restore() (again bool) {
	condemned, err := e.restoreFrom(PlanFile)
	if condemned != nil {
		// The good one may be condemned as well, or not be there. Then there is nothing, which the condition tells.
		_, err = e.restoreFrom(goodFile)
		e.tellCondemned(*condemned)
	}
	if err == nil {
		return false
	}
	if e.unrestored != err.Error() {
		e.unrestored = err.Error()
		e.options.Log.Error("restore the last plan", "err", err)
	}
	e.conditions.Raise(health.Condition{
		Code: "plan-not-restored", Severity: health.Critical, Title: "The last plan could not be put in force again",
		Detail: fmt.Sprintf("%v. Nothing is proxied until that works, or control sends a plan.", err),
	})
	return true
}

// restoreFrom applies the plan in a file. A verdict: it is condemned, and was not. Without the file nothing happens.
func (e *Edge) restoreFrom(file string) (*crash.Verdict, error) {
	var p plan.Plan
	err := e.read(file, &p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, err
	}
	if v, bad := e.crashes.Condemned(p.Fingerprint()); bad {
		return &v, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil { // control was faster
		return nil, nil
	}
	return nil, e.put(&p)
}

// refuseCondemned is the answer to a condemned plan. Whatever runs goes on. The caller holds mu.
func (e *Edge) refuseCondemned(print string) error {
	v, bad := e.crashes.Condemned(print)
	if !bad {
		return nil
	}
	e.raiseCondemned(v)
	return errors.New(v.Sentence("the data plane") + " and is not applied again by this version")
}

func (e *Edge) tellCondemned(v crash.Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.raiseCondemned(v)
}

// raiseCondemned tells what was condemned and what runs instead. The caller holds mu.
func (e *Edge) raiseCondemned(v crash.Verdict) {
	instead := "Nothing is proxied, as no other plan has proved itself"
	if e.current != nil {
		instead = fmt.Sprintf("Revision %d is in force instead", e.current.Revision)
	}
	sentence := v.Sentence("the data plane")
	e.conditions.Raise(health.Condition{
		Code: planCondemned, Severity: health.Critical, Title: "The settings crash the data plane",
		Detail: "R" + sentence[1:] + ". " + instead + ". Change the settings, or roll back to others; as they are, they are not applied " +
			"again before another version of Breakwater runs. Kills from outside count as crashes.",
	})
}

// keepGood keeps the plan in force for when the next one crashes edge, if it has proved itself. A plan of print is about
// to take its place. The caller holds mu.
func (e *Edge) keepGood(print string) {
	if e.current == nil || e.print == print || !e.crashes.Proved(e.print) {
		return
	}
	if err := e.keep(goodFile, e.current); err != nil {
		e.options.Log.Warn("keep the good plan", "err", err) // the same disk takes the next plan, which is a condition
	}
}
