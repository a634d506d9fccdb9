package pages

import (
	"time"

	"breakwater/appliance/history"
)

const (
	// chartFor is what the charts of the overview show.
	chartFor = 10 * time.Minute
	// freshFor is how old a sample may be to stand for now; they are taken once a second.
	freshFor = 3 * time.Second
)

// traffic is the box in one second or, on average, in one minute.
type traffic struct {
	At                 time.Time
	Known              bool
	Sessions, Flows    int64
	ToOrigin, ToClient float64 // bytes a second
	Opened, Dropped    float64 // a second
}

// trafficHistory is the last minutes in words, for those who do not see the charts.
type trafficHistory struct {
	Minutes []traffic // the newest first
	Most    traffic   // the highest of each, in one second
}

// trafficNow is unknown while edge does not answer.
func trafficNow(samples []history.Sample, now time.Time) traffic {
	if len(samples) == 0 || now.Sub(samples[len(samples)-1].Time) > freshFor {
		return traffic{}
	}
	last := samples[len(samples)-1]
	t := traffic{At: last.Time, Known: true, Sessions: last.Sessions, Flows: last.Flows}
	if len(samples) > 1 {
		if between, ok := trafficBetween(samples[len(samples)-2], last); ok {
			return between
		}
	}
	return t
}

// trafficBetween is not known when edge was restarted in between, so that the counters began anew.
func trafficBetween(before, now history.Sample) (traffic, bool) {
	took := now.Time.Sub(before.Time).Seconds()
	opened, was := now.SessionsOpened+now.FlowsOpened, before.SessionsOpened+before.FlowsOpened
	if took <= 0 || opened < was || now.Dropped < before.Dropped || now.BytesToOrigin < before.BytesToOrigin || now.BytesToClient < before.BytesToClient {
		return traffic{}, false
	}
	return traffic{
		At: now.Time, Known: true, Sessions: now.Sessions, Flows: now.Flows,
		ToOrigin: float64(now.BytesToOrigin-before.BytesToOrigin) / took, ToClient: float64(now.BytesToClient-before.BytesToClient) / took,
		Opened: float64(opened-was) / took, Dropped: float64(now.Dropped-before.Dropped) / took,
	}, true
}

func trafficHistoryOf(samples []history.Sample) trafficHistory {
	var h trafficHistory
	for i := 1; i < len(samples); i++ {
		if t, ok := trafficBetween(samples[i-1], samples[i]); ok {
			h.Most = most(h.Most, t)
		}
	}
	for end := len(samples) - 1; end > 0; {
		first := end
		for first > 0 && samples[end].Time.Sub(samples[first].Time) < time.Minute {
			first--
		}
		if t, ok := trafficBetween(samples[first], samples[end]); ok {
			h.Minutes = append(h.Minutes, t)
		}
		end = first
	}
	return h
}

func most(a, b traffic) traffic {
	return traffic{
		Known: true, Sessions: max(a.Sessions, b.Sessions), Flows: max(a.Flows, b.Flows), ToOrigin: max(a.ToOrigin, b.ToOrigin),
		ToClient: max(a.ToClient, b.ToClient), Opened: max(a.Opened, b.Opened), Dropped: max(a.Dropped, b.Dropped),
	}
}
