package proxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// worker is one reactor: one thread that owns its listeners, its sessions and its flows. Nothing of a worker is
// touched by another goroutine; who wants something of it hands in a function with do.
type worker struct {
	engine *Engine
	number int
	epoll  int
	wake   int // eventfd

	now     int64 // ns since the engine started; read once for each batch of events
	busy    int64 // when there was an event
	swept   int64
	scratch []byte // for one read of any session
	buffers []*buffer
	pipes   []*pipe
	ready   []token // sessions and flows whose turn ended before their bytes did
	ring    *ring   // nil: the kernel has none for us
	sides   []token // of sessions that have bytes, for the ring
	answers []token // flows whose origins have answered, as well

	listeners  []listener
	sessions   slab[session]
	flows      flowTable
	lastID     uint64
	sourceTurn int // whose turn it is among the source addresses of a pool
	reasons    reasonCounts
	draining   bool // no new flows

	mu    sync.Mutex
	queue []func()
	ended bool // run returned: nothing takes from the queue any more
}

const (
	// readSize is one read of a session. A read that fills it says that bulk data flows.
	readSize = 64 << 10
	// headroom in front of a read leaves room for our own PROXY header, so that it leaves with the first bytes.
	headroom = 1 << 10
	// sweepEvery is how exact timeouts are.
	sweepEvery = int64(500 * time.Millisecond)
	// restAfter is how long nothing has come when a worker rests: longer than the pauses of a game, as to wake from rest
	// costs the run time more than a message.
	restAfter = int64(100 * time.Millisecond)
	// eventBatch is how many events are taken at once.
	eventBatch = 256
)

func newWorker(e *Engine, number int) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	w := &worker{engine: e, number: number, epoll: epoll, wake: wake, scratch: make([]byte, headroom+readSize)}
	w.flows.init(&e.openReplies)
	// Ids go up over restarts of edge: the clock moves on faster than sessions can be opened.
	w.lastID = uint64(e.started.Unix())<<30 + uint64(number)                                    //nolint:gosec // after 1970
	if errno := epollAdd(epoll, int32(wake), unix.EPOLLIN, token{kind: kindWake}); errno != 0 { //nolint:gosec // fd
		w.close()
		return nil, fmt.Errorf("watch eventfd: %w", errno)
	}
	return w, nil
}

// run turns until stop is seen by a function handed in with do.
func (w *worker) run(stop *bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w.openRing()
	events := make([]unix.EpollEvent, eventBatch)
	for !*stop {
		n := w.wait(events)
		w.now = w.engine.clock()
		if n > 0 {
			w.busy = w.now
		}
		for i := range max(n, 0) {
			if t := tokenOf(&events[i]); !w.join(t, events[i].Events) {
				w.handle(t, events[i].Events)
			}
		}
		w.serveTogether()
		w.resume()
		if w.now-w.swept >= sweepEvery {
			w.swept = w.now
			w.sweep()
		}
	}
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.runQueue()
}

// wait fills events, or none after the time of sleep.
func (w *worker) wait(events []unix.EpollEvent) int {
	timeout := w.sleep()
	if w.now-w.busy >= restAfter {
		return epollRest(w.epoll, events, timeout)
	}
	if most := int(restAfter / int64(time.Millisecond)); timeout < 0 || timeout > most {
		timeout = most
	}
	return epollWait(w.epoll, events, timeout)
}

// sleep is how long to wait for events, in ms; -1 for ever. An idle box does not wake up.
func (w *worker) sleep() int {
	switch {
	case len(w.ready) > 0:
		return 0
	case w.sessions.used > 0 || w.flows.used > 0 || w.listenersPaused():
		return int((sweepEvery-min(w.now-w.swept, sweepEvery-1))/int64(time.Millisecond) + 1)
	}
	return -1
}

func (w *worker) handle(t token, events uint32) {
	switch t.kind {
	case kindWake:
		w.runQueue()
	case kindListener:
		w.accept(&w.listeners[t.index])
	case kindClient, kindOrigin:
		if s := w.sessions.at(t.index, t.generation); s != nil {
			w.sessionEvent(s, t, events)
		}
	case kindDatagrams:
		w.receive(&w.listeners[t.index])
	case kindFlow:
		if f := w.flows.at(t.index, t.generation); f != nil {
			w.flowEvent(f, t)
		}
	}
}

// resume gives sessions and flows whose turn ended another turn. Their sockets are edge-triggered, so no event would come.
func (w *worker) resume() {
	ready := w.ready
	w.ready = nil
	for _, t := range ready {
		if t.kind == kindFlow {
			if f := w.flows.at(t.index, t.generation); f != nil {
				f.queued = false
				w.flowEvent(f, t)
			}
			continue
		}
		if s := w.sessions.at(t.index, t.generation); s != nil {
			s.side(t.kind).queued = false
			w.sessionEvent(s, t, unix.EPOLLIN)
		}
	}
}

func (w *worker) sweep() {
	w.sessions.sweep(w.now, w.expireSession)
	w.sweepFlows()
	w.resumeListeners()
}

// do runs f in the worker. It returns at once, and reports whether f will run.
func (w *worker) do(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.queue = append(w.queue, f)
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(w.wake), uintptr(unsafe.Pointer(&one)), 8)
	return true
}

// ask runs f in the worker and waits for it. After the worker ended, f does not run.
func (w *worker) ask(f func()) {
	done := make(chan struct{})
	if w.do(func() { f(); close(done) }) {
		<-done
	}
}

func (w *worker) runQueue() {
	var count [8]byte
	_, _, _ = syscall.RawSyscall(unix.SYS_READ, uintptr(w.wake), uintptr(unsafe.Pointer(&count)), 8)
	w.mu.Lock()
	queue := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, f := range queue {
		f()
	}
}

func (w *worker) close() {
	if w.ring != nil {
		w.ring.close()
	}
	_ = unix.Close(w.wake)
	_ = unix.Close(w.epoll)
}

// newID gives the next session id. Workers count in steps of their number, so ids never meet.
func (w *worker) newID() status.ID {
	w.lastID += uint64(len(w.engine.workers)) //nolint:gosec // a small number
	return status.ID(w.lastID)
}

// refuse counts and reports a client that got no session.
func (w *worker) refuse(record status.Session, reason status.Reason) {
	w.reasons.of(record.Protocol)[reason].Add(1)
	if !w.engine.events.wanted() {
		return
	}
	record.ID, record.Path = w.newID(), plan.PathUser
	record.Started = time.Now()
	w.publish(status.Connect, record, 0)
	w.publish(status.Disconnect, record, reason)
}

func (w *worker) publish(kind status.EventType, record status.Session, reason status.Reason) {
	w.engine.Publish(kind, record, reason)
}

// wallTime turns a time of the worker's clock into the time of day.
func (w *worker) wallTime(at int64) time.Time { return w.engine.started.Add(time.Duration(at)) }

func containsAny(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
