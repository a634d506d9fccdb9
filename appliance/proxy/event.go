package proxy

import (
	"sync"
	"sync/atomic"

	"breakwater/appliance/status"
)

// events hands session events to whoever listens. A worker never waits for a reader: what a slow reader's buffer
// cannot hold is counted as lost. Without a reader an event is not even built.
type events struct {
	listening  atomic.Int32
	sent, lost atomic.Uint64

	mu      sync.Mutex
	readers map[chan status.Event]struct{}
}

// eventBuffer is how many events wait for one reader: about a second of a busy box.
const eventBuffer = 8192

// Subscribe gives a channel of all events from now on, and a function that ends it.
func (e *events) subscribe() (<-chan status.Event, func()) {
	reader := make(chan status.Event, eventBuffer)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readers == nil {
		e.readers = make(map[chan status.Event]struct{})
	}
	e.readers[reader] = struct{}{}
	e.listening.Add(1)
	return reader, sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.readers, reader)
		e.listening.Add(-1)
	})
}

func (e *events) wanted() bool { return e.listening.Load() > 0 }

func (e *events) publish(event status.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for reader := range e.readers {
		select {
		case reader <- event:
			e.sent.Add(1)
		default:
			e.lost.Add(1)
		}
	}
}
