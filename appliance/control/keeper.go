package control

import (
	"context"
	"errors"
	"strings"
	"time"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/history"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// maxBackoff is how long a plan that edge refused, or took without being on it afterwards, waits for its next try.
const maxBackoff = 30 * time.Second

// keeper compares what edge runs with what it should run. Only Run uses it.
type keeper struct {
	c       *Control
	tried   *plan.Plan // pushed last
	wait    time.Duration
	notYet  time.Time
	sampled time.Time
	reached bool
}

// sampleEvery is a little less than a second, so that no tick of Run is left out.
const sampleEvery = 900 * time.Millisecond

// check asks edge once and pushes the wanted plan when edge is not on it: edge was restarted, or a push failed before.
func (k *keeper) check(ctx context.Context) {
	// A change in progress pushes itself; its plan and the wanted one differ for that moment.
	idle := k.c.changing.TryLock()
	if idle {
		defer k.c.changing.Unlock()
		k.c.keepNetwork(ctx)
	}
	seen, err := k.c.edge.Status(ctx)
	if ctx.Err() != nil {
		return
	}
	k.report(err)
	if err != nil {
		return
	}
	k.sample(ctx, seen)
	k.c.keepBans(ctx, seen)
	k.c.lists.observe(seen.Shield.Lists)
	wanted, _ := k.c.wish()
	if !idle || wanted == nil {
		return
	}
	if runs(seen, *wanted) {
		k.tried = nil
		k.c.conditions.Clear("plan-refused", "")
		return
	}
	k.push(ctx, wanted)
}

// sample keeps what the page draws and looks for incidents: once a second, although a change wakes Run in between.
func (k *keeper) sample(ctx context.Context, seen status.Edge) {
	k.c.origins.Observe(seen)
	if now := time.Now(); now.Sub(k.sampled) >= sampleEvery {
		k.sampled = now
		k.c.samples.Add(history.SampleOf(seen, k.c.now()))
		k.c.watcher.watch(ctx, seen, k.c.now())
	}
}

// push applies wanted, at once when it is new and with growing pauses while it does not help.
func (k *keeper) push(ctx context.Context, wanted *plan.Plan) {
	now := time.Now()
	if k.tried != wanted {
		k.tried, k.wait = wanted, time.Second/2
	} else if now.Before(k.notYet) {
		return
	}
	k.wait = min(2*k.wait, maxBackoff)
	k.notYet = now.Add(k.wait)
	err := k.c.edge.Apply(ctx, *wanted)
	if err != nil {
		k.c.raiseRefused(err)
		return
	}
	k.c.conditions.Clear("plan-refused", "")
	k.c.log.Info("edge was not on its plan and got it again", "rev", wanted.Revision)
}

// report raises and clears the condition of an edge that does not answer, and logs the change only.
func (k *keeper) report(err error) {
	if err == nil {
		k.c.conditions.Clear("edge-unreachable", "")
		if !k.reached {
			k.c.log.Info("edge answers")
		}
		k.reached = true
		return
	}
	if k.reached {
		k.c.log.Error("edge does not answer", "err", err)
	}
	k.reached = false
	k.c.raiseUnreachable(err)
}

// runs tells whether edge is on p. The fingerprint leaves out the revision, so that is compared too.
func runs(seen status.Edge, p plan.Plan) bool {
	return seen.Plan == p.Fingerprint() && seen.Revision == p.Revision
}

func (c *Control) raiseUnreachable(err error) {
	c.conditions.Raise(health.Condition{Code: "edge-unreachable", Severity: health.Critical,
		Title:  "The data plane does not answer",
		Detail: sentence(err) + ". Settings cannot change until it answers. Check that breakwater edge runs."})
}

// raiseRefused tells that edge does not run what it should.
func (c *Control) raiseRefused(err error) {
	if errors.Is(err, edgelink.ErrUnreachable) {
		c.raiseUnreachable(err)
		return
	}
	c.conditions.Raise(health.Condition{Code: "plan-refused", Severity: health.Critical,
		Title:  "The data plane refuses the current settings",
		Detail: sentence(err) + ". It keeps its last plan, and the current settings are tried again every 30 seconds. Change the settings or what they need."})
}

// sentence is an error with a capital at its beginning.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
