package pages

import (
	"time"

	"breakwater/appliance/history"
	"breakwater/appliance/status"
)

// stripTime is how far back a strip of health reaches, and stripWidth how wide it is drawn.
const (
	stripTime  = 24 * time.Hour
	stripWidth = 480
)

// originStrip is when one origin was up, drawn from the left (before) to the right (now).
type originStrip struct {
	Pool, Origin, Address string
	Parts                 []stripPart
	Up                    bool
	Downs                 int     // how often it went down
	Share                 float64 // of the known time that it was up, in percent
	From                  time.Time
}

type stripPart struct {
	X, Width int
	Up       bool
}

// strips draws every origin. Before control started nothing is known.
func strips(edge status.Edge, history []history.OriginChange, known time.Time) []originStrip {
	now := time.Now()
	from := now.Add(-stripTime)
	if known.After(from) {
		from = known
	}
	var all []originStrip
	for _, pool := range edge.Pools {
		for _, o := range pool.Origins {
			if o.Address != "" {
				s := originStrip{Pool: pool.Name, Origin: o.Name, Address: o.Address, Up: o.Up, From: from}
				s.draw(history, now)
				all = append(all, s)
			}
		}
	}
	return all
}

// draw goes back in time from now: history has the newest change first, and before a change to up it was down.
func (s *originStrip) draw(history []history.OriginChange, now time.Time) {
	up, end, total := s.Up, now, now.Sub(s.From)
	var upTime time.Duration
	add := func(begin time.Time) {
		if up {
			upTime += end.Sub(begin)
		}
		x, right := s.x(begin, total), s.x(end, total)
		if right > x {
			s.Parts = append(s.Parts, stripPart{x, right - x, up})
		}
		end = begin
	}
	for _, change := range history {
		if change.Pool != s.Pool || change.Origin != s.Origin || change.Address != s.Address || !change.Time.Before(end) {
			continue
		}
		if change.Time.Before(s.From) {
			break
		}
		add(change.Time)
		if !change.Up {
			s.Downs++
		}
		up = !change.Up
	}
	add(s.From)
	if total > 0 {
		s.Share = 100 * upTime.Seconds() / total.Seconds()
	}
}

// x is where a moment is drawn.
func (s *originStrip) x(t time.Time, total time.Duration) int {
	if total <= 0 {
		return stripWidth
	}
	return int(float64(t.Sub(s.From)) / float64(total) * stripWidth)
}
