package pages

import (
	"slices"
	"sync"
	"time"

	"breakwater/appliance/status"
)

const (
	// watchedFor is how far back a rate looks: long enough to be calm, short enough to be now.
	watchedFor = 20 * time.Second
	// watchedEvery keeps many readers from making rates of moments.
	watchedEvery = 2 * time.Second
)

// watch remembers the counters of the last seconds that somebody looked, to tell how fast they grow. What control
// samples every second are sums only. The zero value has seen nothing.
type watch struct {
	mu   sync.Mutex
	seen []counters // the oldest first
}

// counters are those of one moment, by name.
type counters struct {
	at      time.Time
	started time.Time // of edge: they begin at zero there
	values  map[string]uint64
}

// rates are how fast counters grow, by name and a second.
type rates map[string]float64

func (r rates) of(name string) *float64 {
	rate, known := r[name]
	if !known {
		return nil
	}
	return &rate
}

// look adds the counters of a status and compares them with the oldest that are remembered.
func (w *watch) look(edge *status.Edge, now time.Time) rates {
	if edge == nil {
		return nil
	}
	seen := countersOf(edge, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = slices.DeleteFunc(w.seen, func(c counters) bool { return now.Sub(c.at) > watchedFor || !c.started.Equal(edge.Started) })
	if len(w.seen) == 0 {
		w.seen = append(w.seen, seen)
		return nil
	}
	oldest, newest := w.seen[0], w.seen[len(w.seen)-1]
	if now.Sub(newest.at) >= watchedEvery {
		w.seen = append(w.seen, seen)
	}
	if now.Sub(oldest.at) < watchedEvery {
		return nil
	}
	return seen.since(oldest)
}

func countersOf(edge *status.Edge, now time.Time) counters {
	c := counters{at: now, started: edge.Started, values: make(map[string]uint64)}
	for _, r := range edge.Reasons {
		c.values["reason "+r.Reason.String()] += r.Count
	}
	for _, i := range edge.Interfaces {
		c.values["rx "+i.Name], c.values["tx "+i.Name] = i.Rx.Bytes, i.Tx.Bytes
		c.values["drops "+i.Name] = i.Rx.Drops + i.Tx.Drops
	}
	for i := range edge.Services {
		s := &edge.Services[i]
		c.values["in "+s.Name], c.values["out "+s.Name] = s.BytesToOrigin, s.BytesToClient
	}
	c.addShield(&edge.Shield)
	return c
}

// addShield adds what the front filter counts. Names are those that vectorsOf, rulesOf and wouldOf ask for.
func (c counters) addShield(s *status.Shield) {
	for _, v := range s.Vectors {
		name := vectorName(v)
		c.values["packets "+name], c.values["dropped "+name], c.values["would "+name] = v.Packets, v.Dropped, v.Would
	}
	for _, r := range s.Rules {
		c.values["rule "+r.Service+" "+r.Rule] = r.Packets
	}
	for _, r := range s.Would {
		c.values["would-reason "+r.Reason.String()] += r.Count
	}
}

// since leaves out counters that began anew, as those of an interface that was taken out and put back. A counter that
// was not there before was zero: reasons are told only once they happened.
func (c counters) since(before counters) rates {
	took := c.at.Sub(before.at).Seconds()
	r := make(rates, len(c.values))
	for name, value := range c.values {
		if was := before.values[name]; value >= was {
			r[name] = float64(value-was) / took
		}
	}
	return r
}
