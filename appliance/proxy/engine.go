// Package proxy is the user path: it takes what steering brings to its transparent sockets and carries it to origins.
//
// One reactor a core (worker.go) owns four listeners, its TCP sessions (session.go, dial.go, relay.go) and its UDP flows
// (flow.go, answer.go); nothing is shared between cores but counters and the table of services, which Apply replaces as a whole:
//
//	engine, err := proxy.New(proxy.Options{Pools: pools, Port: steering.ListenPort, Transparent: true})
//	go engine.Run(ctx)
//	err = engine.Apply(plan)
//
// Invariants: a session or flow belongs to one worker and is touched by no other goroutine. It keeps the service it
// began with, so no change of settings disturbs it. Every end and every drop is counted under one status.Reason.
// Where a client goes is decided by the plan alone, never by what the client asks for.
package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Options are what an Engine needs.
type Options struct {
	Pools *origin.Set
	// Port is where TPROXY brings everything, on the loopback addresses.
	Port uint16
	// Transparent sockets take connections for foreign addresses. It needs CAP_NET_ADMIN.
	Transparent bool
	// Workers is the number of reactors. 0: one a core.
	Workers int
	// Log is told what the kernel does not have. nil: nobody is.
	Log *slog.Logger
}

// Engine is the user path.
type Engine struct {
	options Options
	started time.Time
	workers []*worker
	table   atomic.Pointer[table]
	bans    atomic.Pointer[banList] // nil: none
	// CatchUp is called before a new client is decided about, so that the other engine counts what it carries by now. nil:
	// there is none. It is set before Run.
	CatchUp func()
	// Share tells the other engine how many sessions and flows this one has, whenever that changes; as CatchUp.
	Share func(sessions, flows int64)
	// ShareSource tells the other engine that this one has n more sessions of a client of a service that bounds single
	// sources; as CatchUp.
	ShareSource func(service string, client netip.Addr, n int)
	// Good tells the shield that a client was seen to have its address, and ShareFlow what becomes of a flow; as CatchUp.
	Good      func(client netip.Addr, protocol plan.Protocol)
	ShareFlow func(client, edge netip.AddrPort, state status.FlowState)
	events    events

	openSessions, openFlows atomic.Int64
	openReplies             atomic.Int64 // sockets that answer clients of flows
	openPipes               atomic.Int64
	otherSessions           atomic.Int64 // those of the kernel path, which need no files
	otherFlows              atomic.Int64
	files                   int64 // how many descriptors sessions and flows may have
	sourcePorts             quarantine

	mu    sync.Mutex
	stats map[string]*serviceStats // by service name; kept for ever, so that counters only grow
	limit plan.Limits              // as in force
}

const (
	// reservedFiles are for listeners, health checks and the control socket.
	reservedFiles = 512
	// filesOfSession, filesOfFlow and filesOfPipe are their descriptors.
	filesOfSession, filesOfFlow, filesOfPipe = 2, 1, 2
)

// New opens the listeners. Nothing is accepted before Run, and everything refused before Apply.
func New(o Options) (*Engine, error) {
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{options: o, started: time.Now(), stats: make(map[string]*serviceStats), files: fileBudget()}
	e.table.Store(newTable(&plan.Plan{}, o.Pools.Pool, e.serviceStats))
	for n := range o.Workers {
		w, err := newWorker(e, n)
		if err != nil {
			e.close()
			return nil, err
		}
		e.workers = append(e.workers, w)
		if err := w.listen(o.Port, o.Transparent); err != nil {
			e.close()
			return nil, err
		}
	}
	return e, nil
}

// fileBudget is how many descriptors sessions and flows may have. Go has raised the soft limit to the hard one.
func fileBudget() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024 - reservedFiles
	}
	return max(64, int64(min(limit.Cur, 1<<30))-reservedFiles) //nolint:gosec // bounded
}

// Run turns the workers until ctx ends. Sessions and flows that are left then end as shutdown.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	stop := make([]bool, len(e.workers)) // each is read and written by its worker alone
	for i, w := range e.workers {
		running.Go(func() { w.run(&stop[i]) })
	}
	<-ctx.Done()
	for i, w := range e.workers {
		w.do(func() {
			w.stopListening(plan.TCP, plan.UDP)
			w.endAll()
			stop[i] = true
		})
	}
	running.Wait()
	e.close()
	return nil
}

// endAll ends every session and flow of the worker.
func (w *worker) endAll() {
	for n := range w.sessions.blocks {
		w.sessions.each(n, func(_ uint32, s *session) { s.finish(status.Shutdown, abort) })
	}
	for n := range w.flows.blocks {
		w.flows.each(n, func(_ uint32, f *flow) { w.endFlow(f, status.Shutdown) })
	}
}

func (e *Engine) close() {
	for _, w := range e.workers {
		w.stopListening(plan.TCP, plan.UDP)
		w.close()
	}
}

// Drain takes no new sessions and flows, and waits until every one has ended, or ctx has. The UDP listeners stay open,
// as what the clients of existing flows send comes through them.
func (e *Engine) Drain(ctx context.Context) {
	for _, w := range e.workers {
		w.do(func() {
			w.stopListening(plan.TCP)
			w.draining = true
		})
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for e.openSessions.Load()+e.openFlows.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Apply puts the services of p in force for new sessions and flows. The pools must know the pools of p already.
func (e *Engine) Apply(p *plan.Plan) error {
	for _, pool := range p.Pools {
		if e.options.Pools.Pool(pool.Name) == nil {
			return fmt.Errorf("pool %s has no origins to choose from", pool.Name)
		}
	}
	lowered := *p
	lowered.Limits = e.lower(p.Limits)
	e.table.Store(newTable(&lowered, e.options.Pools.Pool, e.serviceStats))
	e.mu.Lock()
	e.limit = lowered.Limits
	e.mu.Unlock()
	return nil
}

// lower bounds the limits by the file descriptors. Sessions and flows may each have half of them, and what the other
// cannot use, so that a flood of one leaves room for the other.
func (e *Engine) lower(l plan.Limits) plan.Limits {
	half := e.files / 2
	need := func(wish int, files int64) int64 { // at most half: the rest is for the other
		if wish <= 0 {
			return half
		}
		return min(int64(wish)*files, half)
	}
	bound := func(wish int, files, other int64) int {
		if wish <= 0 {
			return int(half / files)
		}
		return min(wish, int((e.files-other)/files))
	}
	// Each flow may be one that is answered from an edge port of its own.
	forSessions, forFlows := need(l.MaxSessions, filesOfSession), need(l.MaxFlows, filesOfFlow+1)
	l.MaxSessions, l.MaxFlows = bound(l.MaxSessions, filesOfSession, forFlows), bound(l.MaxFlows, filesOfFlow, forSessions)
	return l
}

func (e *Engine) sessionsFull(limit int) bool {
	open := e.openSessions.Load()
	return open+e.otherSessions.Load() >= int64(limit) || e.filesLeft() < filesOfSession
}

// flowsFull keeps the descriptors of all sessions there may be: a flood over many edge ports opens a socket to answer
// from for each of them.
func (e *Engine) flowsFull(l plan.Limits) bool {
	flows := e.openFlows.Load()
	reserved := filesOfSession * int64(l.MaxSessions)
	return flows+e.otherFlows.Load() >= int64(l.MaxFlows) || filesOfFlow*flows+e.openReplies.Load() >= e.files-reserved || e.filesLeft() < filesOfFlow
}

func (e *Engine) filesLeft() int64 {
	return e.files - filesOfSession*e.openSessions.Load() - filesOfFlow*e.openFlows.Load() -
		e.openReplies.Load() - filesOfPipe*e.openPipes.Load()
}

// serviceStats gives the counters of a service.
func (e *Engine) serviceStats(name string) *serviceStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats[name]
	if s == nil {
		s = &serviceStats{name: name, shards: make([]serviceShard, e.options.Workers)}
		e.stats[name] = s
	}
	return s
}

// clock is the workers' clock: ns since the engine started, never 0.
func (e *Engine) clock() int64 { return int64(time.Since(e.started)) + 1 }

// Status fills in what the user path knows.
func (e *Engine) Status(into *status.Edge) {
	t := e.table.Load()
	into.Services = make([]status.Service, 0, len(t.services))
	for _, s := range t.services {
		into.Services = append(into.Services, s.stats.status())
	}
	into.Reasons = sumReasons(e.workers)
	into.Events = status.EventCounters{Sent: e.events.sent.Load(), Lost: e.events.lost.Load()}
	e.mu.Lock()
	defer e.mu.Unlock()
	into.Limits = e.limit
}

// Sessions shows every session and flow to visit, which must not keep the pointer. A worker is held up only while one
// block of its sessions is copied; traffic goes on in between, and what visit does with them costs it nothing.
func (e *Engine) Sessions(visit func(*status.Session)) {
	var records []status.Session // of one block, used again
	for _, w := range e.workers {
		for n, more := 0, true; more; n++ {
			records, more = records[:0], false
			w.ask(func() { records, more = w.copyBlock(n, records) })
			for i := range records {
				visit(&records[i])
			}
		}
	}
}

// copyBlock copies block n of sessions and of flows, and reports whether there is another.
func (w *worker) copyBlock(n int, into []status.Session) ([]status.Session, bool) {
	if n < len(w.sessions.blocks) {
		w.sessions.each(n, func(_ uint32, s *session) { into = append(into, s.record()) })
	}
	if n < len(w.flows.blocks) {
		w.flows.each(n, func(_ uint32, f *flow) { into = append(into, w.flowRecord(f)) })
	}
	return into, n+1 < max(len(w.sessions.blocks), len(w.flows.blocks))
}

// Kill ends a session with RST to both sides, or forgets a flow, and reports whether there was one.
func (e *Engine) Kill(id status.ID) bool {
	found := false
	for _, w := range e.workers {
		w.ask(func() { found = found || w.kill(id) })
	}
	return found
}

func (w *worker) kill(id status.ID) bool {
	found := false
	for n := range w.sessions.blocks {
		w.sessions.each(n, func(_ uint32, s *session) {
			if s.id == id {
				s.finish(status.Killed, abort)
				found = true
			}
		})
	}
	for n := range w.flows.blocks {
		w.flows.each(n, func(_ uint32, f *flow) {
			if f.id == id {
				w.endFlow(f, status.Killed)
				found = true
			}
		})
	}
	return found
}

// Events gives every event from now on, and a function that ends it. A reader that is too slow loses events; the
// losses are counted in status.
func (e *Engine) Events() (<-chan status.Event, func()) { return e.events.subscribe() }

// EventsWanted tells whether anybody reads events.
func (e *Engine) EventsWanted() bool { return e.events.wanted() }

// Publish gives readers of events one of the other engine. reason counts for an end only.
func (e *Engine) Publish(kind status.EventType, record status.Session, reason status.Reason) {
	event := status.Event{Time: time.Now(), Type: kind, Session: record}
	if kind == status.Disconnect {
		event.Reason, event.Code = &reason, reason.Code()
	}
	e.events.publish(event)
}

func (e *Engine) catchUp() {
	if e.CatchUp != nil {
		e.CatchUp()
	}
}

// CountOther tells that the other engine carries n more sessions or flows of a service. Limits are for both together.
func (e *Engine) CountOther(service string, protocol plan.Protocol, n int64) {
	stats := e.serviceStats(service)
	if protocol == plan.UDP {
		e.otherFlows.Add(n)
		stats.otherFlows.Add(n)
		return
	}
	e.otherSessions.Add(n)
	stats.otherSessions.Add(n)
}

// CountOtherSource tells that the other engine carries n more sessions of a client of a service that bounds single sources.
func (e *Engine) CountOtherSource(service string, client netip.Addr, n int) {
	e.serviceStats(service).crowd.other(client, e.rateOf(service), time.Duration(e.clock()), n)
}

// rateOf is how many sessions a second one address may open of a service.
func (e *Engine) rateOf(service string) int {
	for _, s := range e.table.Load().services {
		if s.Name == service {
			return s.Limits.NewSessionsPerAddress
		}
	}
	return 0
}

// carry counts sessions and flows that begin or end.
func (e *Engine) carry(sessions, flows int64) {
	sessions, flows = e.openSessions.Add(sessions), e.openFlows.Add(flows)
	if e.Share != nil {
		e.Share(sessions, flows)
	}
}
