package incident

import (
	"cmp"
	"slices"

	"breakwater/appliance/status"
)

// Learned is what is usual for a service and a vector, for a Detector of a later time.
type Learned struct {
	Service string        `json:"service"`
	Vector  status.Vector `json:"vector"`
	Usual   float64       `json:"usual"`  // packets a second
	Spread  float64       `json:"spread"` // mean distance from it
}

// Learned is what d has learned so far; nothing before it has warmed up.
func (d *Detector) Learned() []Learned {
	list := []Learned{}
	if !d.taught && d.clock < warmup {
		return list
	}
	for k, s := range d.signals {
		if s.usual >= 0.01 || s.spread >= 0.01 {
			list = append(list, Learned{k.service, k.vector, s.usual, s.spread})
		}
	}
	slices.SortFunc(list, func(a, b Learned) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Vector, b.Vector))
	})
	return list
}

// Teach gives d what another Detector has learned, so that it need not warm up. What cannot be is bounded or left out.
func (d *Detector) Teach(list []Learned) {
	for _, l := range list {
		s := d.signal(key{l.Service, l.Vector})
		if s == nil || !(l.Usual >= 0) || !(l.Spread >= 0) { // NaN is neither
			continue
		}
		s.usual, s.spread, s.known = min(l.Usual, ceiling*s.floor), min(l.Spread, ceiling*s.floor), learnTime
	}
	d.taught = d.taught || len(list) > 0
}
