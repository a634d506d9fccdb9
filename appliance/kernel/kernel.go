// Package kernel is everything of ours inside Linux. The kernel path is an eBPF program at the ingress of the box's interfaces
// that carries sessions and flows from client to origin and back without a socket, with the PROXY header in the client's
// stream (bpf/tcp.h). The shield is one in front of it, at edge interfaces, that drops what is hostile before the kernel has
// spent anything on it (bpf/shield.h). This side gives both their tables and reads what happened.
//
//	k, err := kernel.Open(kernel.Options{Dir: "/sys/fs/bpf/breakwater", Pools: pools, Route: steering.RouteTo, Log: log, ...})
//	go k.Run(ctx)
//	err = k.Apply(plan) // after the pools and the user path know it
//
// The program decides alone: service, limits, origin and source port of a new client are looked up in maps. It only ever says
// yes. What it cannot or may not carry goes on to steering and the user path, which decides again, counts and answers, so
// that a client is refused in one way and for one reason, whichever engine was asked first.
//
// # Who owns what
//
// Maps and the program's links are pinned in Options.Dir: sessions go on, and new ones begin, while no process is there.
// Every session is one slot of the array sessions (bpf/layout.h), read here through shared memory; only the program writes
// there. Two tuples, one a direction, lead to a slot. Slots are given back by Run a while after a session has ended.
//
// Tables are there twice. A new plan is written beside the one in force, then config.generation says that it counts.
package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"breakwater/appliance/health"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Options are what a Path needs.
type Options struct {
	Dir   string // in a file system of type bpf
	Pools *origin.Set
	// Mark is of packets that steering leaves alone, as they have their socket.
	Mark uint32
	// Route tells the way to an address that is not the box's own.
	Route func(netip.Addr) (Route, error)
	// Hops tells the next hops of an interface, by its index, for IPv4 or IPv6; false: they are not that simple.
	Hops func(index int, v4 bool) (Hops, bool, error)
	// WatchRoutes calls changed when either may have another answer, until ctx ends; it returns before only with an error.
	WatchRoutes func(ctx context.Context, changed func()) error
	Log         *slog.Logger
	// Conditions are where an operator finds what ran out.
	Conditions *health.Set
	// Wanted tells whether anybody reads events; Publish gives them to those who do.
	Wanted  func() bool
	Publish func(status.EventType, status.Session, status.Reason)
	// Count tells the user path that the kernel path carries n more sessions or flows of a service.
	Count func(service string, protocol plan.Protocol, n int64)
	// Sample takes the packets that the shield picks out.
	Sample func(status.Sample)
	// CountSource tells it of n more sessions of a client of a service that bounds single sources.
	CountSource func(service string, client netip.Addr, n int)
}

// Route is the way to an address.
type Route struct {
	Interface int        // index
	Source    netip.Addr // what the box calls itself towards it
}

// Path is the kernel path of one box. It is safe for concurrent use.
type Path struct {
	options Options
	objects *objects
	events  *ringbuf.Reader
	samples *ringbuf.Reader

	listing sync.Mutex // one table of lists at a time, and which one of the two counts; taken before mu

	mu     sync.Mutex // guards what follows
	plan   *plan.Plan // nil: none yet
	tables tables
	names  names
	links  map[int]*attachment // by interface index
	// Of programs of another layout (old.go): since when this process knows of them, and whether they forbid to begin anything.
	elderSince map[string]time.Time
	blocked    bool
	ways       map[netip.Addr]way // to origins, as the kernel said last
	tunnels    map[string]bool    // that a condition tells of
	ledger     ledger
	shield     shield
	cookies    bpfCookieState // as the programs have it
	bloom      bloom
	banned     map[netip.Prefix]bool
	ports      int64 // source ports towards each address of an origin
	rules      rules
	classes    classes

	known  known
	crowds atomic.Pointer[map[string]crowdOf] // services that bound single sources, by name

	exhaustions [2]exhaustion         // as exhausted
	portless    map[uint32]exhaustion // of source ports, by number of an origin's address
	sample      ringbuf.Record        // of the event or packet that is read
}

const (
	// eventsEvery is how soon it is known what the program did. It never wakes this process: that would cost a connection more
	// than all the rest.
	eventsEvery = 50 * time.Millisecond
	// refreshEvery is how soon the program hears of an origin that came up or went down.
	refreshEvery = 100 * time.Millisecond
	// sweepEvery is how exact timeouts are.
	sweepEvery = time.Second
	// attachEvery is how soon an interface that came back is found, and a route that changed.
	attachEvery = 5 * time.Second
)

// Open loads the program, or finds the maps of the last process with their sessions. It changes nothing on the wire before
// Apply. An error says why this kernel cannot do it: everything is then the user path's.
func Open(o Options) (*Path, error) {
	objects, err := load(o.Dir)
	if err != nil {
		// The program of the last process must not go on by tables that nobody keeps.
		return nil, errors.Join(err, switchAllOff(o.Dir))
	}
	k := &Path{options: o, objects: objects, links: make(map[int]*attachment), ways: make(map[netip.Addr]way), tunnels: make(map[string]bool)}
	if first, last, err := sourcePorts(); err == nil { // attach says what is wrong
		k.ports = int64(last) - int64(first) + 1
	}
	if k.events, err = ringbuf.NewReader(objects.Events); err != nil {
		return nil, errors.Join(fmt.Errorf("read the events of the kernel path: %w", err), objects.close())
	}
	if k.samples, err = ringbuf.NewReader(objects.Samples); err != nil {
		return nil, errors.Join(fmt.Errorf("read the samples of the shield: %w", err), k.events.Close(), objects.close())
	}
	k.samples.SetDeadline(time.Unix(1, 0)) // nothing ever waits for one
	if err := errors.Join(k.names.load(objects.Names), k.shield.init(o.Dir)); err != nil {
		return nil, errors.Join(err, k.close())
	}
	for i, e := range exhausted { // what the last process has told
		k.exhaustions[i].count, err = sum(objects.Left, e.cause)
		if err != nil {
			return nil, errors.Join(err, k.close())
		}
	}
	if err := errors.Join(k.loadBans(), k.loadRules(), k.openClasses(), k.openPortless(), k.forgetOthers(), k.forgetFlows(), k.known.load(objects.KnownSources), k.findSessions(), k.openCookies(), k.distrustBloom()); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *Path) close() error {
	return errors.Join(k.events.Close(), k.samples.Close(), k.objects.close())
}

// Run reads events, follows the health of origins and ends what is idle, until ctx ends. The program stays, with all
// sessions. Maps stay open until the process ends: workers of the user path may still look at them.
func (k *Path) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.every(ctx, eventsEvery, k.takeEvents) })
	group.Go(func() error { return k.every(ctx, eventsEvery, k.takeSamples) })
	group.Go(func() error { return k.every(ctx, refreshEvery, k.refresh) })
	group.Go(func() error { return k.every(ctx, sweepEvery, k.sweep) })
	group.Go(func() error { return k.every(ctx, sweepEvery, k.enterKnown) })
	group.Go(func() error { return k.every(ctx, sweepEvery, k.renewBloom) })
	group.Go(func() error { return k.every(ctx, attachEvery, k.reattach) })
	group.Go(func() error { return k.every(ctx, attachEvery, func() error { return k.followRoutes(ctx) }) })
	return group.Wait()
}

// every calls do until ctx ends. What fails is logged, and tried again the next time.
func (k *Path) every(ctx context.Context, interval time.Duration, do func() error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := do()
		if err == nil {
			last = ""
		} else if err.Error() != last {
			last = err.Error()
			k.options.Log.Error("kernel path", "err", err)
		}
	}
}

// Apply puts the services of p in force for new sessions and flows. Those that exist keep what they began with. swap puts them
// in force on the user path; it is called when all is prepared here, so that both change within a moment, and what one has left
// to the other is decided by the same plan. Its error is Apply's, and leaves the former tables in force.
func (k *Path) Apply(p *plan.Plan, swap func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.ways)
	next, err := k.build(p)
	if err != nil {
		return err
	}
	if err := k.attach(p, next); err != nil {
		return err
	}
	if err := k.respectElders(); err != nil {
		return err
	}
	generation, err := k.prepare(next)
	if err != nil {
		return err
	}
	if err := swap(); err != nil {
		return err
	}
	k.plan, k.rules.plan = p, p
	if err := k.distrustBloom(); err != nil { // what a new edge address has is not known
		return err
	}
	if err := k.flip(generation, next); err != nil {
		return err
	}
	k.followRules()
	if err := errors.Join(k.raise(p), k.adoptLinks(), k.objects.forgetOthers()); err != nil {
		return err
	}
	if _, err := k.retire(); err != nil { // not before this one carries what is new, and tried again by reattach
		k.options.Log.Error("kernel path", "err", err)
	}
	return nil
}

func (k *Path) takeEvents() error {
	if k.events.AvailableBytes() == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.readEvents()
}

// refresh publishes the tables anew when an origin came up, went down, moved or filled up.
func (k *Path) refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plan == nil {
		return nil
	}
	next := k.tables
	if err := k.buildPools(k.plan, &next); err != nil {
		return err
	}
	if next.samePools(&k.tables) {
		return nil
	}
	return k.publish(next)
}

// Share tells the program how many sessions and flows the user path has now, as limits are for both together.
func (k *Path) Share(sessions, flows int64) {
	var value [16]byte
	binary.NativeEndian.PutUint64(value[:8], uint64(max(sessions, 0)))
	binary.NativeEndian.PutUint64(value[8:], uint64(max(flows, 0)))
	_, _ = k.objects.totals.WriteAt(value[:], offsetOthers) // the map is as long as that
}

// reattach finds interfaces that came back, and ways to origins that changed.
func (k *Path) reattach() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plan == nil {
		return nil
	}
	clear(k.ways) // the next refresh asks again
	k.keepRules()
	_, err := k.retire()
	return errors.Join(err, k.renewCookies(), k.respectElders(), k.unblock(), k.attach(k.plan, k.tables), k.raise(k.plan), k.tellExhausted(time.Now()))
}

// followRoutes is reattach as soon as routes change, until ctx ends or changes cannot be watched. What fails then fails again at the
// next reattach of its own, which tells.
func (k *Path) followRoutes(ctx context.Context) error {
	return k.options.WatchRoutes(ctx, func() { _ = k.reattach() })
}

// unblock begins sessions again when no program of another layout is in the way.
func (k *Path) unblock() error {
	return k.configure(func(c *bpfConfiguration) { c.Off = flag(k.blocked) })
}

// Drain leaves everything new to the user path, until the next Apply.
func (k *Path) Drain() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plan = nil // a refresh would put the last tables in force again
	return k.configure(func(c *bpfConfiguration) { c.Off = 1 })
}
