package history

import (
	"slices"
	"sync"
	"time"

	"breakwater/appliance/status"
)

// keptChanges bounds the history of the origins' health.
const keptChanges = 500

// OriginChange is an origin that went up or down.
type OriginChange struct {
	Time    time.Time `json:"time"`
	Pool    string    `json:"pool"`
	Origin  string    `json:"origin"`
	Address string    `json:"address"`
	Up      bool      `json:"up"`
	Why     string    `json:"why"` // what the last check or connect said, in words
}

// Origins compares what edge says of the origins with what it said before. The zero value is empty. It is safe for
// concurrent use.
type Origins struct {
	mu      sync.Mutex
	known   map[originKey]originState // as last seen
	edge    time.Time                 // when the edge that said it was started
	changes []OriginChange            // the oldest first
}

type originKey struct{ pool, origin, address string }

type originState struct {
	up    bool
	since time.Time
}

// Observe takes one status. An origin that is seen for the first time has not changed. One that went down and up
// again between two looks has: its Since tells. Since begins anew with each edge.
func (h *Origins) Observe(seen status.Edge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	restarted := !h.edge.Equal(seen.Started)
	known := make(map[originKey]originState, len(h.known))
	for _, p := range seen.Pools {
		for _, o := range p.Origins {
			if o.Address == "" {
				continue // its name is not resolved
			}
			key, now := originKey{p.Name, o.Name, o.Address}, originState{o.Up, o.Since}
			before, ok := h.known[key]
			known[key] = now
			if ok && (before.up != now.up || !restarted && !before.since.Equal(now.since)) {
				h.changes = append(h.changes, OriginChange{o.Since, p.Name, o.Name, o.Address, o.Up, o.Why})
			}
		}
	}
	h.known, h.edge = known, seen.Started
	if over := len(h.changes) - keptChanges; over > 0 {
		h.changes = slices.Delete(h.changes, 0, over)
	}
}

// Changes are when origins went up and down, the newest first, at most 500.
func (h *Origins) Changes() []OriginChange {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := append([]OriginChange{}, h.changes...)
	slices.Reverse(list)
	return list
}
