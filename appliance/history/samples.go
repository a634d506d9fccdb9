// Package history keeps in memory what the box was seen doing: a sample of its traffic each second for an hour, and when
// origins went up and down. Control feeds it from its polls; the pages draw it.
//
//	var samples history.Samples
//	samples.Add(history.SampleOf(seen, time.Now()))
//	last := samples.Since(time.Now().Add(-10 * time.Minute))
package history

import (
	"sync"
	"time"

	"breakwater/appliance/status"
)

// keptSamples is an hour of them.
const keptSamples = 3600

// Sample is the traffic of the box at one moment. Counters count since edge started; one that is smaller than the
// sample's before tells that edge was restarted.
type Sample struct {
	Time              time.Time `json:"time"`
	Sessions          int64     `json:"sessions"` // open
	Flows             int64     `json:"flows"`    // alive
	SessionsOpened    uint64    `json:"sessionsOpened"`
	FlowsOpened       uint64    `json:"flowsOpened"`
	BytesToOrigin     uint64    `json:"bytesToOrigin"`
	BytesToClient     uint64    `json:"bytesToClient"`
	DatagramsToOrigin uint64    `json:"datagramsToOrigin"`
	DatagramsToClient uint64    `json:"datagramsToClient"`
	Dropped           uint64    `json:"dropped"` // of all reasons that are drops
}

// SampleOf adds the services up.
func SampleOf(seen status.Edge, at time.Time) Sample {
	s := Sample{Time: at}
	for i := range seen.Services {
		service := &seen.Services[i]
		s.Sessions += service.Sessions
		s.Flows += service.Flows
		s.SessionsOpened += service.SessionsOpened
		s.FlowsOpened += service.FlowsOpened
		s.BytesToOrigin += service.BytesToOrigin
		s.BytesToClient += service.BytesToClient
		s.DatagramsToOrigin += service.DatagramsToOrig
		s.DatagramsToClient += service.DatagramsToCli
	}
	for _, r := range seen.Reasons {
		if r.Reason.Drop() {
			s.Dropped += r.Count
		}
	}
	return s
}

// Samples keeps the last hour and tells who listens. The zero value is empty. It is safe for concurrent use.
type Samples struct {
	mu      sync.Mutex
	ring    []Sample
	oldest  int // once ring is full
	readers map[chan Sample]struct{}
}

// Add takes the next one.
func (s *Samples) Add(sample Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) < keptSamples {
		s.ring = append(s.ring, sample)
	} else {
		s.ring[s.oldest] = sample
		s.oldest = (s.oldest + 1) % keptSamples
	}
	for reader := range s.readers {
		select {
		case reader <- sample:
		default: // too slow: it takes the next one
		}
	}
}

// Since are those taken after since, the oldest first.
func (s *Samples) Since(since time.Time) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Sample{}
	for i := range s.ring {
		if sample := s.ring[(s.oldest+i)%len(s.ring)]; sample.Time.After(since) {
			list = append(list, sample)
		}
	}
	return list
}

// Subscribe gives every sample from now on and a function that ends it. A reader that is too slow misses samples. The
// channel is never closed.
func (s *Samples) Subscribe() (<-chan Sample, func()) {
	reader := make(chan Sample, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == nil {
		s.readers = make(map[chan Sample]struct{})
	}
	s.readers[reader] = struct{}{}
	return reader, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.readers, reader)
	}
}
