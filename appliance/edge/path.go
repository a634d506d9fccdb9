package edge

import (
	"errors"
	"net/netip"

	"breakwater/appliance/health"
	"breakwater/appliance/kernel"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/steering"
)

// openPath loads the kernel path. Where it cannot be, the user path carries everything.
func (e *Edge) openPath() {
	if e.options.Pins == "" {
		return
	}
	path, err := kernel.Open(kernel.Options{
		Dir: e.options.Pins, Pools: e.pools, Log: e.options.Log, Conditions: &e.conditions, Wanted: e.engine.EventsWanted, Publish: e.engine.Publish,
		Count: e.engine.CountOther, Sample: e.samples.Add, Mark: steering.Mark,
		CountSource: e.engine.CountOtherSource,
		Route: func(to netip.Addr) (kernel.Route, error) {
			way, err := steering.RouteTo(to)
			return kernel.Route(way), err
		},
		Hops: func(index int, v4 bool) (kernel.Hops, bool, error) {
			hops, simple, err := steering.HopsOf(index, v4)
			return kernel.Hops(hops), simple, err
		},
		WatchRoutes: steering.WatchRoutes,
	})
	if err != nil {
		e.options.Log.Error("no kernel path", "err", err)
		e.pathFails(err)
		return
	}
	e.path = path
	e.engine.CatchUp, e.engine.Share, e.engine.ShareSource = path.CatchUp, path.Share, path.ShareSource
	e.engine.Good, e.engine.ShareFlow = path.Good, path.ShareFlow
	path.Share(0, 0) // not what the last process had
	if err := path.Listen(e.engine.Listeners()); err != nil {
		e.options.Log.Error("no SYN cookies", "err", err)
	}
}

// listenAgain gives SYN cookies their listeners where they have none; a condition says so until it works.
func (e *Edge) listenAgain() {
	if e.path != nil {
		_ = e.path.ListenAgain(e.engine.Listeners()) // the condition tells, and the log has it once
	}
}

// applyEngines puts the services of p in force on both paths. A plan is not refused because of the kernel path: the user path
// can carry all of it.
func (e *Edge) applyEngines(p *plan.Plan) error {
	if e.path == nil {
		return e.engine.Apply(p)
	}
	var swapped bool
	var refused error
	err := e.path.Apply(p, func() error {
		swapped, refused = true, e.engine.Apply(p)
		return refused
	})
	if refused != nil {
		return refused
	}
	if err == nil {
		e.conditions.Clear(noKernelPath, "")
		return nil
	}
	e.options.Log.Error("the kernel path does not take the plan", "err", errors.Join(err, e.path.Drain()))
	e.pathFails(err)
	if !swapped {
		return e.engine.Apply(p)
	}
	return nil
}

// stopPath leaves all that is new to the user path, which has no plan and refuses it.
func (e *Edge) stopPath() {
	if e.path == nil {
		return
	}
	if err := e.path.Drain(); err != nil {
		e.options.Log.Error("stop the kernel path", "err", err)
	}
}

const noKernelPath = "no-kernel-path"

func (e *Edge) pathFails(err error) {
	e.conditions.Raise(health.Condition{
		Code: noKernelPath, Severity: health.Warning, Title: "New clients are carried by the user path only",
		Detail: "The kernel path is not available: " + err.Error() + ". Everything works, with more load on the processor.",
	})
}

// addPath adds what the kernel path knows.
func (e *Edge) addPath(s *status.Edge) {
	if e.path == nil {
		return
	}
	if err := e.path.Status(s); err != nil {
		e.options.Log.Error("status of the kernel path", "err", err)
	}
}
