// Package samples keeps the last packets that the shield picked out, in memory, some of every service and vector:
//
//	var kept samples.Store
//	kept.Add(sample) // from the reader of the ring buffer
//	list := kept.List(samples.Query{Since: 4711})
//
// What is kept is bounded whatever arrives: PerKind of a kind, MaxKinds kinds, and of those the ones seen last.
package samples

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"breakwater/appliance/status"
)

const (
	// PerKind is how many packets of one service and vector are kept.
	PerKind = 256
	// MaxKinds is how many pairs of a service and a vector have packets: 8 MiB at most.
	MaxKinds = 128
)

type kind struct {
	service string
	vector  status.Vector
}

// ring is the last packets of a kind; next is the place of the oldest when it is full.
type ring struct {
	list []status.Sample
	next int
}

// newest is the number of the last packet.
func (r *ring) newest() uint64 {
	if len(r.list) < PerKind || r.next == 0 {
		return r.list[len(r.list)-1].Number
	}
	return r.list[r.next-1].Number
}

func (r *ring) add(s status.Sample) {
	if len(r.list) < PerKind {
		r.list = append(r.list, s)
		return
	}
	r.list[r.next] = s
	r.next = (r.next + 1) % PerKind
}

// Store holds packets. The zero value is empty and ready. It is safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	number uint64
	kinds  map[kind]*ring
}

// Add keeps s and gives it its number. The caller must not change s.Bytes afterwards.
func (s *Store) Add(sample status.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	sample.Number = s.number
	if len(sample.Bytes) > status.MaxSample {
		sample.Bytes = slices.Clone(sample.Bytes[:status.MaxSample])
	}
	k := kind{sample.Service, sample.Vector}
	r := s.kinds[k]
	if r == nil {
		r = s.open(k)
	}
	r.add(sample)
}

// open makes room for another kind. The caller holds mu.
func (s *Store) open(k kind) *ring {
	if s.kinds == nil {
		s.kinds = map[kind]*ring{}
	}
	if len(s.kinds) >= MaxKinds {
		var stalest kind
		least := s.number
		for k, r := range s.kinds {
			if n := r.newest(); n < least {
				stalest, least = k, n
			}
		}
		delete(s.kinds, stalest)
	}
	r := &ring{}
	s.kinds[k] = r
	return r
}

// Query says which packets are asked for. The zero value asks for all.
type Query struct {
	Service *string        // nil: any; empty: of no service
	Vector  *status.Vector // nil: any
	Since   uint64         // only packets with a higher number; beyond the newest: all, as edge was restarted since
}

// Parse reads service=, vector= and since= of a URL.
func Parse(v url.Values) (q Query, err error) {
	if v.Has("service") {
		service := v.Get("service")
		q.Service = &service
	}
	if v.Has("vector") {
		vector := status.Vector(v.Get("vector"))
		q.Vector = &vector
	}
	if text := v.Get("since"); text != "" {
		if q.Since, err = strconv.ParseUint(text, 10, 64); err != nil {
			return Query{}, fmt.Errorf("since=%.40q is not the number of a packet", text)
		}
	}
	return q, nil
}

func (q Query) wants(k kind) bool {
	return (q.Service == nil || *q.Service == k.service) && (q.Vector == nil || *q.Vector == k.vector)
}

// List returns what q asks for, the oldest first.
func (s *Store) List(q Query) []status.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Since > s.number {
		q.Since = 0
	}
	list := []status.Sample{}
	for k, r := range s.kinds {
		if !q.wants(k) {
			continue
		}
		for _, sample := range r.list {
			if sample.Number > q.Since {
				list = append(list, sample)
			}
		}
	}
	slices.SortFunc(list, func(a, b status.Sample) int { return cmp.Compare(a.Number, b.Number) })
	return list
}
