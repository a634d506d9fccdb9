// Package edge is the data plane process: it takes a whole plan, applies it to origins, the user path and steering,
// and reports what it sees. It knows the order of things and no protocol.
//
//	err := edge.Run(ctx, edge.Options{Socket: "/run/breakwater/edge.sock", State: "/var/lib/breakwater/edge", Log: log})
//
// A plan is in force as a whole or not at all: when a part refuses it, the former plan is put back and the refusal is
// the answer. The plan in force is also kept in a file, so that edge comes back without control.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"breakwater/appliance/crash"
	"breakwater/appliance/edge/samples"
	"breakwater/appliance/health"
	"breakwater/appliance/kernel"
	"breakwater/appliance/logs"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/proxy"
	"breakwater/appliance/status"
	"breakwater/appliance/steering"
)

// Options are what an edge process is started with.
type Options struct {
	Socket  string        // unix socket that control talks to; owner and group only
	State   string        // directory of the plan in force
	Drain   time.Duration // how long sessions may go on after the end was asked for
	Version string
	Build   string // tells this program from every other version of it
	Pins    string // directory of the kernel path's maps, in a file system of type bpf; empty: no kernel path
	Log     *slog.Logger
	Ready   func() error // called when plans are taken
	// Records are the last ones of Log; nil: none are kept.
	Records func() []logs.Record
}

const (
	// checkEvery is how often the kernel is compared with the plan: drift is repaired within 10 s.
	checkEvery = 5 * time.Second
	// PlanFile is the plan in force, inside Options.State.
	PlanFile = "plan.json"
)

// Kept are the files about plans inside Options.State. Without them edge starts with nothing.
func Kept() []string { return []string{PlanFile, goodFile, crashFile} }

// Edge is the data plane.
type Edge struct {
	options    Options
	started    time.Time
	conditions health.Set
	pools      *origin.Set
	engine     *proxy.Engine
	path       *kernel.Path // nil: this kernel cannot, and a condition says why
	steering   *steering.Steering
	bans       bans
	samples    samples.Store
	lists      listTable
	routers    routers
	crashes    *crash.Ledger // nil: none is kept
	unrestored string        // why the last plan was not put in force again, as it was logged

	mu      sync.Mutex // serialises apply, and guards what follows
	current *plan.Plan // nil: none yet
	print   string     // its fingerprint
	kernel  status.Steering
	own     []netip.Addr  // the box's addresses that the origins were compared with
	changed chan struct{} // a plan came into force: its return paths want a probe
}

// Run serves until ctx ends, then drains for Options.Drain. Steering stays in place: without listeners TPROXY drops
// what arrives, and the next edge finds everything ready.
func Run(ctx context.Context, o Options) error {
	// First of all: beside an edge that serves, nothing may be opened. Listeners and pinned maps would be shared with it.
	listener, err := listenUnix(o.Socket)
	if err != nil {
		return err
	}
	e, err := open(o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	// Not before the socket: an edge that lives has not crashed.
	e.crashes = crash.Open(crash.Options{File: filepath.Join(o.State, crashFile), Version: o.Build, Log: o.Log})
	engineCtx, stopEngine := context.WithCancel(context.Background())
	defer stopEngine()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.pools.Run(engineCtx) })
	group.Go(func() error { return e.engine.Run(engineCtx) })
	if e.path != nil {
		group.Go(func() error { return e.path.Run(engineCtx) })
	}
	e.restoreBans()
	e.restoreLists()
	undone := e.restore()
	if e.current == nil {
		e.stopPath()
	}
	if undone {
		group.Go(func() error { return e.restoreUntilDone(ctx) })
	}
	group.Go(func() error { return e.serve(ctx, listener) })
	group.Go(o.Ready)
	group.Go(func() error { return e.watchKernel(ctx) })
	group.Go(func() error { return e.watchReturnPaths(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), o.Drain)
		defer cancel()
		e.engine.Drain(drain)
		stopEngine()
		return nil
	})
	err = group.Wait()
	e.crashes.End()
	return err
}

func open(o Options) (*Edge, error) {
	if err := prepareState(o); err != nil {
		return nil, err
	}
	e := &Edge{options: o, started: time.Now(), changed: make(chan struct{}, 1)}
	e.pools = origin.New(o.Log, &e.conditions)
	var err error
	if e.steering, err = steering.New(o.Log); err != nil {
		return nil, err
	}
	e.engine, err = proxy.New(proxy.Options{Log: o.Log, Pools: e.pools, Port: steering.ListenPort, Transparent: true})
	if err != nil {
		return nil, fmt.Errorf("open the transparent listeners: %w", err)
	}
	e.openPath()
	return e, nil
}

// Apply puts p in force, or keeps the former plan and says why.
func (e *Edge) Apply(p *plan.Plan) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.put(p)
}

// put is Apply. The caller holds mu.
func (e *Edge) put(p *plan.Plan) error {
	print := p.Fingerprint()
	if err := e.refuseCondemned(print); err != nil {
		return err
	}
	if err := e.try(p, print); err != nil {
		if e.current == nil {
			e.crashes.Begin(crash.Work{})
			return errors.Join(err, e.applyNone())
		}
		if back := e.try(e.current, e.print); back != nil {
			return fmt.Errorf("%w; and going back to revision %d: %w", err, e.current.Revision, back)
		}
		return err
	}
	e.keepGood(print)
	e.current, e.print = p, print
	select {
	case e.changed <- struct{}{}:
	default: // one is due already
	}
	e.kernel.Checked = time.Now()
	e.conditions.Clear("plan-not-restored", "")
	e.conditions.Clear(planCondemned, "")
	if err := e.keep(PlanFile, p); err != nil {
		// In force, but a restart of edge would need control: worth a condition, not a refusal.
		e.conditions.Raise(health.Condition{
			Code: "plan-not-kept", Severity: health.Warning, Title: "The plan in force could not be written to disk",
			Detail: err.Error() + ". A restart of edge needs control to send it again.",
		})
		return nil
	}
	e.conditions.Clear("plan-not-kept", "")
	e.options.Log.Info("plan in force", "rev", p.Revision, "services", len(p.Services))
	return nil
}

// try applies a plan, after it is known on the disk what would have crashed if this does.
func (e *Edge) try(p *plan.Plan, print string) error {
	e.crashes.Begin(crash.Work{Print: print, Revision: p.Revision})
	return e.apply(p)
}

// apply opens the new before closing the old: origins are known before the proxy chooses among them, and the proxy
// knows its services before packets are brought to it.
func (e *Edge) apply(p *plan.Plan) error {
	own, err := steering.LocalAddresses()
	if err != nil {
		return fmt.Errorf("list the box's own addresses: %w", err)
	}
	if err := e.pools.Apply(p, own); err != nil {
		return err
	}
	if err := e.applyEngines(p); err != nil {
		return err
	}
	e.protectOwn(own)
	return e.steering.Apply(p.Steering)
}

// applyNone lets the engines carry nobody, after a plan that a part has refused while the parts before it had taken it. Origins stay
// known: the same plan is tried again when the interface is there, and sessions of the kernel path are counted with them.
func (e *Edge) applyNone() error {
	e.stopPath()
	return e.engine.Apply(&plan.Plan{})
}

// watchKernel repairs drift of the kernel's state until ctx ends.
func (e *Edge) watchKernel(ctx context.Context) error {
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
			e.crashes.Prove()
			e.listenAgain()
			e.check()
		}
	}
}

func (e *Edge) check() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return
	}
	repaired, err := e.steering.Check()
	if err != nil {
		e.conditions.Raise(health.Condition{
			Code: "steering", Severity: health.Critical, Title: "Packets may not reach the proxy",
			Detail: err.Error() + ". It is tried again every few seconds.",
		})
		return
	}
	e.conditions.Clear("steering", "")
	e.kernel.Checked = time.Now()
	e.checkLoops()
	if len(repaired) > 0 {
		e.kernel.Repairs += uint64(len(repaired))
		e.options.Log.Warn("put back what was missing in the kernel", "missing", repaired)
	}
}

// checkLoops tells the origins which addresses the box has by now. One that an origin has, too, would be a loop: its
// traffic would come back in.
func (e *Edge) checkLoops() {
	own, err := steering.LocalAddresses()
	if err == nil {
		e.protectOwn(own)
	}
	if err == nil && slices.Equal(own, e.own) {
		return
	}
	if err == nil {
		err = e.pools.Apply(e.current, own)
	}
	if err != nil {
		e.conditions.Raise(health.Condition{
			Code: "origin-loop", Severity: health.Critical, Title: "An origin has become an address of this box", Detail: err.Error(),
		})
		return
	}
	e.own = own
	e.conditions.Clear("origin-loop", "")
}

// Status is what edge sees now.
func (e *Edge) Status() status.Edge {
	e.mu.Lock()
	s := status.Edge{
		Version: e.options.Version, Started: e.started, Plan: e.print, Steering: e.kernel,
		Shield: status.Shield{Mode: plan.ShieldOff},
	}
	if e.current != nil {
		s.Revision = e.current.Revision
	}
	e.mu.Unlock()
	e.engine.Status(&s)
	e.addPath(&s)
	s.Bans = e.bansPrint()
	e.addLists(&s)
	s.Pools = e.pools.Status()
	e.observeNetwork(&s)
	s.Conditions = e.conditions.List()
	return s
}

// transparentPools are the pools that some service uses with the client's address as packet source.
func transparentPools(p *plan.Plan) []string {
	var names []string
	for _, s := range p.Services {
		if s.Transparent {
			names = append(names, p.Pools[s.Pool].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func addrPort(text string, port uint16) (netip.AddrPort, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap, true
	}
	addr, err := netip.ParseAddr(text)
	return netip.AddrPortFrom(addr, port), err == nil
}
