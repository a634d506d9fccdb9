package pages

import (
	"testing"
	"time"

	"breakwater/appliance/history"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestRatesOfReasons(t *testing.T) {
	var w watch
	begin := time.Unix(1e9, 0)
	edge := func(started time.Time, count uint64) *status.Edge {
		return &status.Edge{Started: started, Reasons: []status.ReasonCounter{
			{Reason: status.Banned, Protocol: plan.TCP, Count: count}, {Reason: status.Banned, Protocol: plan.UDP, Count: count},
		}}
	}
	for _, look := range []struct {
		name  string
		after time.Duration
		edge  *status.Edge
		want  float64 // -1: not known
	}{
		{"first", 0, edge(begin, 10), -1},
		{"too soon", time.Second, edge(begin, 20), -1},
		{"five seconds", 5 * time.Second, edge(begin, 60), 20},
		{"no edge", 6 * time.Second, nil, -1},
		{"calm", 10 * time.Second, edge(begin, 60), 10},
		{"edge restarted", 12 * time.Second, edge(begin.Add(11*time.Second), 5), -1},
		{"restarted, later", 16 * time.Second, edge(begin.Add(11*time.Second), 9), 2},
		{"long after", 16*time.Second + 2*watchedFor, edge(begin.Add(11*time.Second), 1000), -1},
	} {
		rows := reasonsOf(look.edge, true, w.look(look.edge, begin.Add(look.after)))
		got := -1.0
		if len(rows) == 1 && rows[0].Rate != nil {
			got = *rows[0].Rate
		}
		if got != look.want {
			t.Errorf("%s: rate %v, want %v (-1: not known)", look.name, got, look.want)
		}
		if look.edge != nil && (len(rows) != 1 || rows[0].Count() != 2*look.edge.Reasons[0].Count) {
			t.Errorf("%s: rows %+v", look.name, rows)
		}
	}
	if n := len(w.seen); n > 2 {
		t.Errorf("it remembers %d moments, want only the young", n)
	}
}

func TestTrafficHistory(t *testing.T) {
	begin := time.Unix(1e9, 0)
	var samples []history.Sample
	for i := range 150 {
		s := history.Sample{Time: begin.Add(time.Duration(i) * time.Second), Sessions: int64(i), BytesToClient: uint64(i) * 1000, Dropped: uint64(i) * 2}
		if i >= 100 { // edge was restarted
			s.BytesToClient, s.Dropped = uint64(i-100)*4000, 0
		}
		samples = append(samples, s)
	}
	h := trafficHistoryOf(samples)
	if h.Most.ToClient != 4000 || h.Most.Dropped != 2 || h.Most.Sessions != 149 {
		t.Errorf("the most is %+v", h.Most)
	}
	if n := len(h.Minutes); n != 2 || h.Minutes[1].ToClient != 1000 {
		t.Errorf("%d minutes: %+v; want the one with the restart left out", n, h.Minutes)
	}
	now := trafficNow(samples, begin.Add(150*time.Second))
	if !now.Known || now.ToClient != 4000 || now.Sessions != 149 {
		t.Errorf("now is %+v", now)
	}
	if old := trafficNow(samples, begin.Add(160*time.Second)); old.Known {
		t.Errorf("numbers of ten seconds ago stand for now: %+v", old)
	}
	if empty := trafficHistoryOf(nil); empty.Most.Known {
		t.Errorf("nothing is known: %+v", empty)
	}
}
