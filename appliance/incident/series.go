package incident

import "time"

// maxPoints bounds a series. When it is full, two points become one.
const maxPoints = 600

// series is a curve with one point for each step.
type series struct {
	step   time.Duration
	points []Point
	open   Point         // sums times seconds, of the point that is being made
	filled time.Duration // how much of the step is in open
	at     time.Duration // since the start
}

// newSeries begins some time after the start.
func newSeries(after time.Duration) series { return series{step: time.Second, at: after} }

// add takes the rates of the last elapsed time.
func (s *series) add(elapsed time.Duration, p Point) {
	if s.filled == 0 {
		s.open = Point{At: int(s.at / time.Second)}
	}
	seconds := elapsed.Seconds()
	s.open.Packets += seconds * p.Packets
	s.open.Bits += seconds * p.Bits
	s.open.Passed += seconds * p.Passed
	s.open.Dropped += seconds * p.Dropped
	s.open.Would += seconds * p.Would
	s.at += elapsed
	s.filled += elapsed
	// Looks are never quite a second apart: a point that is nearly full is full.
	if s.filled < s.step*3/4 {
		return
	}
	s.points = append(s.points, s.open.over(s.filled.Seconds()))
	s.filled = 0
	if len(s.points) >= maxPoints {
		s.thin()
	}
}

func (p Point) over(n float64) Point {
	return Point{p.At, p.Packets / n, p.Bits / n, p.Passed / n, p.Dropped / n, p.Would / n}
}

func (s *series) thin() {
	for i := range maxPoints / 2 {
		a, b := s.points[2*i], s.points[2*i+1]
		s.points[i] = Point{a.At, a.Packets + b.Packets, a.Bits + b.Bits, a.Passed + b.Passed, a.Dropped + b.Dropped, a.Would + b.Would}.over(2)
	}
	s.points = s.points[:maxPoints/2]
	s.step *= 2
}
