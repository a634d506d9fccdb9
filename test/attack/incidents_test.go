//go:build e2e

package attack

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/status"
)

// What is expected of incidents in attacks of full length.
const (
	soon     = 5 * time.Second  // from the first packet until the box tells of it
	allClear = 30 * time.Second // from the last packet until it says that it is over
	slip     = 10               // one vector in so many may be called by a wrong name
)

// incident is what GET /api/v1/incidents tells of one.
type incident struct {
	ID           uint64
	End, Updated time.Time
	Vector       status.Vector
	Parts        []struct{ Vector status.Vector }
}

// lookout waits for the incident of an attack.
type lookout struct {
	looking sync.WaitGroup
	stop    chan struct{}
	found   time.Duration // after the begin; 0: not found
	last    incident      // as seen last
}

// lookOut begins to look for an incident in which a vector has a part.
func lookOut(v vector) *lookout {
	l := &lookout{stop: make(chan struct{})}
	began := time.Now()
	l.looking.Go(func() {
		for {
			if i, ok := current(v, began); ok {
				if l.found == 0 {
					l.found = time.Since(began)
				}
				l.last = i
			}
			select {
			case <-l.stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return l
}

// current is the newest incident that the box still looks at and that has packets of a vector.
func current(v vector, since time.Time) (incident, bool) {
	var list []incident
	if err := get("/api/v1/incidents?limit=5", &list); err != nil {
		return incident{}, false
	}
	for _, i := range list {
		of := slices.ContainsFunc(i.Parts, func(p struct{ Vector status.Vector }) bool { return p.Vector == v.named })
		if of && i.Updated.After(since) {
			return i, true
		}
	}
	return incident{}, false
}

// end ends the lookout.
func (l *lookout) end() {
	close(l.stop)
	l.looking.Wait()
}

// judge expects that the box told of the attack, and after one of full length that it does so soon, and ends. It returns whether
// the incident has the right name. Short attacks follow each other too fast for that: they are one incident.
func (l *lookout) judge(t *testing.T, v vector) (named bool) {
	t.Helper()
	for end := time.Now().Add(soon); l.found == 0 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if i, ok := current(v, time.Now().Add(-soon)); ok {
			l.last, l.found = i, soon
		}
	}
	if l.found == 0 {
		t.Errorf("there is no incident with %s", v.named)
		return false
	}
	t.Logf("the incident was told after %s, as %s", l.found.Round(time.Millisecond), l.last.Vector)
	if attackTime(t) < full {
		return true
	}
	if l.found > soon {
		t.Errorf("the incident was told after %s, want %s", l.found, soon)
	}
	began := time.Now()
	for l.last.End.IsZero() && time.Since(began) < allClear+patience {
		time.Sleep(200 * time.Millisecond)
		var now incident
		if err := get(fmt.Sprintf("/api/v1/incidents/%d", l.last.ID), &now); err == nil {
			l.last = now
		}
	}
	if took := time.Since(began); took > allClear {
		t.Errorf("it was over after %s, want %s", took, allClear)
	}
	return l.last.Vector == v.incident()
}

// incident is what the box calls an attack by this vector as a whole.
func (v vector) incident() status.Vector {
	if v.name == "carpet" {
		return "carpet"
	}
	return v.named
}
