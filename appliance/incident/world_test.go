package incident

import (
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// rates are packets a second for each service and vector. Those of VectorConnection are sessions whose clients send 100
// bytes each.
type rates map[key]float64

// world is a box whose counters move as the test says, second by second.
type world struct {
	t        testing.TB
	d        *Detector
	now      time.Time
	second   int // since the start of the test
	counters map[key]*status.VectorCounter
	services map[string]*status.Service
	nic      status.Interface
	mode     plan.ShieldMode
	dropping bool // the shield drops 90 % of everything
	armed    bool
	began    []told
	ended    []told
}

// told is a change, and in which second it was told.
type told struct {
	second int
	Change
}

func newWorld(t testing.TB, s Sensitivity) *world {
	return &world{t: t, d: NewDetector(s, 0), now: time.Unix(1_800_000_000, 0), counters: map[key]*status.VectorCounter{}, services: map[string]*status.Service{},
		nic: status.Interface{Name: "wan0", Speed: 1000}, mode: plan.ShieldOn, dropping: true}
}

func (w *world) service(name string) *status.Service {
	if w.services[name] == nil {
		w.services[name] = &status.Service{Name: name}
	}
	return w.services[name]
}

// tick lets one second pass with these rates.
func (w *world) tick(r rates) {
	w.now = w.now.Add(time.Second)
	w.second++
	for k, perSecond := range r {
		n := uint64(perSecond)
		if k.vector == status.VectorConnection {
			w.service(k.service).SessionsOpened += n
			w.service(k.service).BytesToOrigin += 100 * n
			continue
		}
		c := w.counters[k]
		if c == nil {
			c = &status.VectorCounter{Service: k.service, Vector: k.vector}
			w.counters[k] = c
		}
		c.Packets += n
		c.Bytes += 100 * n
		c.Armed = w.armed
		switch {
		case w.mode == plan.ShieldMonitor:
			c.Would += n * 9 / 10
		case w.dropping:
			c.Dropped += n * 9 / 10
		}
		w.nic.Rx.Packets += n
		w.nic.Rx.Bytes += 100 * n
	}
	w.observe()
}

func (w *world) observe() {
	w.t.Helper()
	for _, c := range w.d.Observe(w.seen(), w.now) {
		if c.Began {
			w.began = append(w.began, told{w.second, c})
		} else {
			w.ended = append(w.ended, told{w.second, c})
		}
	}
}

func (w *world) seen() status.Edge {
	e := status.Edge{Shield: status.Shield{Mode: w.mode, Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"}}}, Interfaces: []status.Interface{w.nic}}
	for _, c := range w.counters {
		e.Shield.Vectors = append(e.Shield.Vectors, *c)
	}
	for _, s := range w.services {
		e.Services = append(e.Services, *s)
	}
	return e
}

func (w *world) ticks(n int, r rates) {
	for range n {
		w.tick(r)
	}
}

// peace is what a small, busy box sees.
func peace() rates {
	return rates{{"web", status.VectorSYN}: 30, {"web", status.VectorConnection}: 25, {"game", status.VectorUDP}: 40, {"game", status.VectorQuery}: 60, {"", status.VectorICMP}: 3, {"", status.VectorRST}: 5}
}

func (r rates) with(more rates) rates {
	sum := rates{}
	for k, v := range r {
		sum[k] += v
	}
	for k, v := range more {
		sum[k] += v
	}
	return sum
}
