package incident

import (
	"math"
	"time"

	"breakwater/appliance/status"
)

// Sensitivity is how little it takes to become an incident. The zero value is Normal.
type Sensitivity string

// The sensitivities.
const (
	Low    Sensitivity = "low" // four times as much as Normal
	Normal Sensitivity = "normal"
	High   Sensitivity = "high" // a quarter
)

func (s Sensitivity) factor() float64 {
	switch s {
	case Low:
		return 4
	case High:
		return 0.25
	}
	return 1
}

// floors are packets a second, for connection sessions a second, below which nothing is an incident: a small box carries
// these without anybody noticing, and busy but peaceful ones were seen to stay below.
var floors = map[status.Vector]float64{
	status.VectorSYN:        500,
	status.VectorACK:        500,
	status.VectorRST:        500,
	status.VectorFIN:        300,
	status.VectorFlags:      100,
	status.VectorUDP:        1000,
	status.VectorReflection: 300,
	status.VectorQuery:      500,
	status.VectorFragment:   200,
	status.VectorICMP:       200,
	status.VectorOther:      200,
	status.VectorConnection: 200,
}

const (
	// ceiling is how many times the floor the bound can become by learning: an attack that grows slowly enough teaches at
	// most that.
	ceiling = 20
	// learnTime is the time constant of what is usual: shorter than the hours in which a day changes, longer than a match.
	learnTime = 10 * time.Minute
	// warmup is how long a box is watched before its bounds are trusted; until then it takes warmupFactor times the floor.
	warmup       = time.Minute
	warmupFactor = 4
	// calmBelow is the part of the bound that traffic must fall under to be calm, calmAfter for how long.
	calmBelow = 0.6
	calmAfter = 15 * time.Second
	// taken is how long an incident lasts at most; what still comes then is what is usual from now on.
	taken = 24 * time.Hour
)

// key names a signal.
type key struct {
	service string
	vector  status.Vector
}

// signal is what comes for one service by one vector.
type signal struct {
	floor float64

	last   Totals // the counters as last seen
	delta  Totals // since the look before
	rate   float64
	armed  bool
	usual  float64 // packets a second
	spread float64 // mean distance from usual, packets a second
	known  time.Duration

	over  uint8         // one bit a look, the newest lowest: it was above the bound
	bound float64       // that it broke, while hot
	calm  time.Duration // how long it has been below calmBelow of it
	hot   time.Duration // for how long; 0: it is not
}

// count takes over a counter. A lower one than before begins again from zero.
func (s *signal) count(now Totals) {
	s.delta = Totals{since(s.last.Packets, now.Packets), since(s.last.Bytes, now.Bytes), since(s.last.Dropped, now.Dropped), since(s.last.Would, now.Would)}
	s.last = now
}

func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// limit is what it takes to become hot, in packets a second.
func (s *signal) limit(warm bool) float64 {
	floor := s.floor
	if !warm {
		floor *= warmupFactor
	}
	return max(floor, min(3*s.usual+6*s.spread, ceiling*s.floor))
}

// look judges what came in the last elapsed time, explained packets a second of which are known to be peaceful. It tells
// whether the signal became hot or ceased to be.
func (s *signal) look(elapsed time.Duration, explained float64, warm bool) (began, ended bool) {
	s.rate = max(0, float64(s.delta.Packets)/elapsed.Seconds()-explained)
	if s.hot > 0 {
		return false, s.cool(elapsed)
	}
	limit := s.limit(warm)
	s.over <<= 1
	if s.rate > limit {
		s.over |= 1
	} else {
		s.learn(elapsed)
	}
	// Two of the last three: one second can be a hiccup of the clock, two in a row are not.
	if s.over&0b11 == 0b11 || s.over&0b111 == 0b101 {
		s.hot, s.calm, s.bound = max(elapsed, 1), 0, limit
		return true, false
	}
	return false, false
}

// cool waits for the all-clear.
func (s *signal) cool(elapsed time.Duration) bool {
	s.hot += elapsed
	if s.rate < calmBelow*s.bound {
		s.calm += elapsed
	} else {
		s.calm = 0
	}
	if s.hot >= taken {
		s.usual = min(s.rate, ceiling*s.floor)
		s.calm = calmAfter
	}
	if s.calm < calmAfter {
		return false
	}
	s.hot, s.over = 0, 0
	return true
}

// learn moves what is usual towards what came. Nothing above the bound gets here.
func (s *signal) learn(elapsed time.Duration) {
	s.known += elapsed
	weight := 1 - math.Exp(-elapsed.Seconds()/min(learnTime, s.known).Seconds())
	s.spread += weight * (math.Abs(s.rate-s.usual) - s.spread)
	s.usual = min(s.usual+weight*(s.rate-s.usual), ceiling*s.floor)
	s.spread = min(s.spread, ceiling*s.floor)
}

// idle tells whether there is nothing to remember of the signal.
func (s *signal) idle() bool {
	return s.hot == 0 && s.over&0b11 == 0 && s.last.Packets == 0 && s.usual < 0.01 && s.spread < 0.01
}
