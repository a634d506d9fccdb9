package api

import (
	"net/http"
	"time"

	"breakwater/appliance/history"

	"github.com/labstack/echo/v4"
)

const (
	maxMinutes = 60 // control keeps an hour
	// gap is how far apart two samples may be to make a rate. They are taken once a second.
	gap = 2500 * time.Millisecond
)

// Samples are the traffic of the last minutes as columns of equal length, for charts. A null is a moment of which
// nothing is known.
type Samples struct {
	Time     []int64    `json:"time"` // Unix seconds
	Sessions []*float64 `json:"sessions"`
	Flows    []*float64 `json:"flows"`
	ToOrigin []*float64 `json:"toOrigin"` // bytes a second
	ToClient []*float64 `json:"toClient"` // bytes a second
	Opened   []*float64 `json:"opened"`   // sessions and flows a second
	Dropped  []*float64 `json:"dropped"`  // connections and datagrams a second
}

// GetSamples answers the last minutes. The query: minutes.
func (a *API) GetSamples(c echo.Context) error {
	minutes, err := numberParam(c, "minutes", 10, maxMinutes)
	if err != nil {
		return err
	}
	since := time.Now().Add(-time.Duration(minutes) * time.Minute)
	return c.JSON(http.StatusOK, columns(a.Control.Samples(since)))
}

// columns turns counters into rates. The first sample has no rate, and where samples are missing there is a row of
// nulls, so that a chart does not draw a line over what nobody saw.
func columns(samples []history.Sample) Samples {
	s := Samples{Time: []int64{}, Sessions: []*float64{}, Flows: []*float64{}, ToOrigin: []*float64{}, ToClient: []*float64{}, Opened: []*float64{}, Dropped: []*float64{}}
	for i, sample := range samples {
		var r *rates
		if i > 0 {
			if sample.Time.Sub(samples[i-1].Time) > gap {
				s.add(samples[i-1].Time.Unix()+1, nil, nil, nil)
			}
			r = ratesOf(samples[i-1], sample)
		}
		sessions, flows := float64(sample.Sessions), float64(sample.Flows)
		s.add(sample.Time.Unix(), &sessions, &flows, r)
	}
	return s
}

func (s *Samples) add(at int64, sessions, flows *float64, r *rates) {
	if n := len(s.Time); n > 0 && at <= s.Time[n-1] {
		return // two samples within one second, or a clock that was set back: charts need time to go on
	}
	s.Time = append(s.Time, at)
	s.Sessions, s.Flows = append(s.Sessions, sessions), append(s.Flows, flows)
	if r == nil {
		r = &rates{}
	}
	s.ToOrigin, s.ToClient = append(s.ToOrigin, r.toOrigin), append(s.ToClient, r.toClient)
	s.Opened, s.Dropped = append(s.Opened, r.opened), append(s.Dropped, r.dropped)
}

// rates are what happened between two samples, by the second; nil: unknown.
type rates struct{ toOrigin, toClient, opened, dropped *float64 }

// ratesOf is nil when nothing can be told: the samples are too far apart, or the counters began anew.
func ratesOf(before, now history.Sample) *rates {
	took := now.Time.Sub(before.Time)
	opened, was := now.SessionsOpened+now.FlowsOpened, before.SessionsOpened+before.FlowsOpened
	if took <= 0 || took > gap || opened < was || now.Dropped < before.Dropped ||
		now.BytesToOrigin < before.BytesToOrigin || now.BytesToClient < before.BytesToClient {
		return nil
	}
	each := func(n uint64) *float64 {
		rate := float64(n) / took.Seconds()
		return &rate
	}
	return &rates{each(now.BytesToOrigin - before.BytesToOrigin), each(now.BytesToClient - before.BytesToClient), each(opened - was), each(now.Dropped - before.Dropped)}
}
