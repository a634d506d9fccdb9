package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/history"
)

const (
	// quiet is how long a live stream waits for a sample before it tells that there is none.
	quiet = 2 * time.Second
	// glanceFor is how long one look at the status serves all live streams.
	glanceFor = 900 * time.Millisecond
)

// Live is the box in one second, as the live stream tells it.
type Live struct {
	Time       time.Time               `json:"time"`
	Sessions   int64                   `json:"sessions"`
	Flows      int64                   `json:"flows"`
	ToOrigin   float64                 `json:"toOrigin"` // bytes a second
	ToClient   float64                 `json:"toClient"` // bytes a second
	Opened     float64                 `json:"opened"`   // sessions and flows a second
	Dropped    float64                 `json:"dropped"`  // connections and datagrams a second
	EdgeUp     bool                    `json:"edgeUp"`
	Revision   uint64                  `json:"revision"`
	Pending    *LivePending            `json:"pending"`
	Conditions map[health.Severity]int `json:"conditions"`
	// State changes whenever the revision, the pending change, the conditions or EdgeUp do: then a page reads the rest.
	State string `json:"state"`
}

// LivePending is a change that waits for its confirmation, without what it changes.
type LivePending struct {
	Base     uint64    `json:"base"`
	Author   string    `json:"author"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`
}

// StreamLive sends the box in numbers once a second, as server-sent events named "sample".
func (a *API) StreamLive(c echo.Context) error {
	samples, end := a.Control.Subscribe()
	defer end()
	return a.stream(c, func(ctx context.Context, s *stream) error {
		last := a.lastSample()
		if err := a.sendLive(ctx, s, last, last); err != nil {
			return err
		}
		silence := time.NewTimer(quiet)
		defer silence.Stop()
		for {
			next := history.Sample{Time: time.Now()}
			select {
			case <-ctx.Done():
				return nil
			case next = <-samples:
			case <-silence.C: // edge does not answer, or control has much to do
			}
			if err := a.sendLive(ctx, s, last, next); err != nil {
				return err
			}
			last = next
			silence.Reset(quiet)
		}
	})
}

func (a *API) lastSample() history.Sample {
	samples := a.Control.Samples(time.Now().Add(-quiet))
	if len(samples) == 0 {
		return history.Sample{Time: time.Now()}
	}
	return samples[len(samples)-1]
}

func (a *API) sendLive(ctx context.Context, s *stream, before, now history.Sample) error {
	live, err := a.glance.look(ctx, a.Control)
	if err != nil {
		return err
	}
	live.Time, live.Sessions, live.Flows = now.Time.UTC(), now.Sessions, now.Flows
	if r := ratesOf(before, now); r != nil {
		live.ToOrigin, live.ToClient, live.Opened, live.Dropped = *r.toOrigin, *r.toClient, *r.opened, *r.dropped
	}
	return s.event("sample", live)
}

// glance is the part of the status that every live stream tells. Edge is asked once a second for all of them together.
type glance struct {
	mu    sync.Mutex
	taken time.Time
	seen  Live
}

func (g *glance) look(ctx context.Context, c *control.Control) (Live, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.taken) < glanceFor {
		return g.seen, nil
	}
	s, err := c.Status(ctx)
	if err != nil {
		return Live{}, fmt.Errorf("look at the status: %w", err)
	}
	g.taken, g.seen = time.Now(), liveOf(s)
	return g.seen, nil
}

func liveOf(s control.Status) Live {
	l := Live{EdgeUp: s.Edge != nil, Revision: s.Revision, Conditions: map[health.Severity]int{health.Critical: 0, health.Warning: 0, health.Info: 0}}
	if p := s.Pending; p != nil {
		l.Pending = &LivePending{p.Base, p.Author, p.Reason, p.Since, p.Deadline}
	}
	sum := sha256.New()
	encoder := json.NewEncoder(sum)
	_ = encoder.Encode([]any{l.EdgeUp, l.Revision, l.Pending}) // a hash takes everything
	for _, c := range s.Conditions {
		l.Conditions[c.Severity]++
		_ = encoder.Encode([]any{c.Code, c.Subject, c.Severity, c.Title})
	}
	l.State = hex.EncodeToString(sum.Sum(nil)[:8])
	return l
}
