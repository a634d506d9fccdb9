package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxWaiting = 256
	maxOfOne   = 16 // of one peer, so that it cannot push out what others have begun
)

// waiting holds what was begun and waits for its second step, in memory: after a restart one begins again.
type waiting[T any] struct {
	now  func() time.Time
	wait time.Duration // after it, what was begun is over

	mu      sync.Mutex
	entries map[string]begun[T]
}

type begun[T any] struct {
	what T
	peer netip.Prefix
	at   time.Time
}

func newWaiting[T any](now func() time.Time, wait time.Duration) *waiting[T] {
	return &waiting[T]{now: now, wait: wait, entries: make(map[string]begun[T])}
}

// put keeps what under key, in place of what was there. An invalid peer is one that is known and not bounded.
func (w *waiting[T]) put(key string, peer netip.Prefix, what T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.entries, key)
	ofPeer := 0
	for k, e := range w.entries {
		if w.over(e) {
			delete(w.entries, k)
		} else if e.peer == peer {
			ofPeer++
		}
	}
	if peer.IsValid() && ofPeer >= maxOfOne {
		w.dropOldest(func(e begun[T]) bool { return e.peer == peer })
	}
	if len(w.entries) >= maxWaiting {
		w.dropOldest(func(begun[T]) bool { return true })
	}
	w.entries[key] = begun[T]{what, peer, w.now()}
}

// take returns what waits under key, once.
func (w *waiting[T]) take(key string) (what T, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[key]
	delete(w.entries, key)
	if !ok || w.over(e) {
		return what, false
	}
	return e.what, true
}

func (w *waiting[T]) over(e begun[T]) bool {
	age := w.now().Sub(e.at)
	return age < 0 || age > w.wait
}

func (w *waiting[T]) dropOldest(among func(begun[T]) bool) {
	var oldest string
	var at time.Time
	for key, e := range w.entries {
		if among(e) && (at.IsZero() || e.at.Before(at)) {
			oldest, at = key, e.at
		}
	}
	delete(w.entries, oldest)
}
