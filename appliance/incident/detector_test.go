package incident

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestEveryVectorIsFoundAndNamed(t *testing.T) {
	for _, vector := range []status.Vector{status.VectorSYN, status.VectorACK, status.VectorRST, status.VectorFIN, status.VectorFlags, status.VectorUDP,
		status.VectorReflection, status.VectorQuery, status.VectorFragment, status.VectorICMP, status.VectorOther, status.VectorConnection} {
		t.Run(string(vector), func(t *testing.T) {
			w := newWorld(t, Normal)
			w.armed = vector == status.VectorSYN
			w.ticks(300, peace())
			if len(w.began) > 0 {
				t.Fatalf("peace is an incident: %+v", w.began[0].Incident)
			}
			began := w.now
			attack := rates{{"game", vector}: 2000}
			if vector == status.VectorConnection {
				attack[key{"game", status.VectorSYN}] = 2100
			}
			w.ticks(30, peace().with(attack))
			if len(w.began) != 1 {
				t.Fatalf("%d incidents began, want 1", len(w.began))
			}
			if late := w.began[0].second - 301; late > 4 {
				t.Errorf("it was found after %d s, want at most 4", late)
			}
			ended := w.now
			w.ticks(30, peace())
			if len(w.ended) != 1 {
				t.Fatalf("%d incidents are over 30 s later, want 1", len(w.ended))
			}
			i := w.ended[0].Incident
			if i.Vector != vector || !slices.Equal(i.Services, []string{"game"}) {
				t.Errorf("it is named %s of %v, want %s of game: %+v", i.Vector, i.Services, vector, i.Parts)
			}
			if off := i.Start.Sub(began).Abs(); off > time.Second {
				t.Errorf("it starts %v off", off)
			}
			if off := i.End.Sub(ended).Abs(); off > time.Second {
				t.Errorf("it ends %v off", off)
			}
			if i.ID != 1 || i.Peak.Packets < 1900 || i.Totals.Packets < 25*2000 || len(i.Series) < 28 {
				t.Errorf("got ID %d, peak %v, totals %v, %d points", i.ID, i.Peak, i.Totals, len(i.Series))
			}
		})
	}
}

func TestWhatWasDone(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(5, peace().with(rates{{"web", status.VectorSYN}: 5000}))
	w.armed = true
	w.ticks(5, peace().with(rates{{"web", status.VectorSYN}: 5000}))
	i := w.d.Open()[0]
	if len(i.Actions) != 1 || i.Actions[0].Vector != status.VectorSYN || i.Actions[0].Service != "web" {
		t.Errorf("the actions are %v, want the cookies of web", i.Actions)
	}
	if i.Totals.Dropped < i.Totals.Packets*8/10 || i.Totals.Would != 0 || i.Mode != plan.ShieldOn {
		t.Errorf("totals %+v in mode %s", i.Totals, i.Mode)
	}
	if p := i.Series[len(i.Series)-1]; p.Passed < 400 || p.Passed > 600 || p.Dropped < 4400 {
		t.Errorf("the last point is %+v", p)
	}
}

func TestMonitorTellsWhatWouldBeDropped(t *testing.T) {
	w := newWorld(t, Normal)
	w.mode = plan.ShieldMonitor
	w.ticks(100, peace())
	w.ticks(10, peace().with(rates{{"web", status.VectorACK}: 5000}))
	i := w.d.Open()[0]
	if i.Totals.Dropped != 0 || i.Totals.Would < i.Totals.Packets*8/10 || i.Mode != plan.ShieldMonitor {
		t.Errorf("totals %+v in mode %s", i.Totals, i.Mode)
	}
	if p := i.Series[len(i.Series)-1]; p.Passed != p.Packets || p.Would < 4400 {
		t.Errorf("the last point is %+v", p)
	}
}

func TestTheLargestPartGivesTheName(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(20, peace().with(rates{{"web", status.VectorSYN}: 3000, {"web", status.VectorACK}: 9000, {"web", status.VectorRST}: 2000}))
	if len(w.began) != 1 {
		t.Fatalf("%d incidents, want 1", len(w.began))
	}
	i := w.d.Open()[0]
	var vectors []status.Vector
	for _, p := range i.Parts {
		vectors = append(vectors, p.Vector)
	}
	if want := []status.Vector{status.VectorACK, status.VectorSYN, status.VectorRST}; i.Vector != status.VectorACK || !slices.Equal(vectors, want) {
		t.Errorf("it is named %s, of %v; want ack, of %v", i.Vector, vectors, want)
	}
}

// TestAFlashCrowdIsNoFlood: every SYN of it becomes a session whose client speaks.
func TestAFlashCrowdIsNoFlood(t *testing.T) {
	for _, test := range []struct {
		name   string
		crowd  float64
		vector status.Vector // empty: no incident
	}{
		{"many come at once", 150, ""},
		{"more than the floor", 1500, status.VectorConnection},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, Normal)
			w.ticks(600, peace())
			w.ticks(60, peace().with(rates{{"web", status.VectorSYN}: test.crowd * 1.1, {"web", status.VectorConnection}: test.crowd}))
			switch open := w.d.Open(); {
			case test.vector == "" && len(w.began) > 0:
				t.Errorf("it is an incident: %+v", w.began[0].Incident)
			case test.vector != "" && (len(open) != 1 || open[0].Vector != test.vector || !open[0].Evidence.Proven):
				t.Errorf("got %+v, want one incident of %s", open, test.vector)
			}
		})
	}
}

// TestForgedSYNsAreNoConnections: the kernel path counts a session from its SYN on.
func TestForgedSYNsAreNoConnections(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(300, peace())
	for range 20 {
		w.service("web").SessionsOpened += 3000 // without a byte
		w.tick(peace().with(rates{{"web", status.VectorSYN}: 3000}))
	}
	if open := w.d.Open(); len(open) != 1 || open[0].Vector != status.VectorSYN || open[0].Evidence.Proven {
		t.Errorf("got %+v, want one incident of syn", open)
	}
}

func TestADayIsNoIncident(t *testing.T) {
	w := newWorld(t, Normal)
	for second := range 2 * 86400 {
		hour := float64(second%86400) / 3600
		busy := 1 + 40*max(0, 1-(hour-20)*(hour-20)/25) // an evening
		w.tick(rates{{"game", status.VectorUDP}: 60 * busy * (0.8 + 0.4*rand.Float64()), {"game", status.VectorQuery}: 20 * busy})
	}
	if len(w.began) > 0 {
		t.Errorf("%d incidents, the first in second %d: %+v", len(w.began), w.began[0].second, w.began[0].Incident.Parts)
	}
}

// TestAnAttackTeachesNothing: the second one is found like the first, and one that grows slowly is found in the end.
func TestAnAttackTeachesNothing(t *testing.T) {
	w := newWorld(t, Normal)
	for range 5 {
		w.ticks(300, peace())
		w.ticks(600, peace().with(rates{{"game", status.VectorUDP}: 3000}))
	}
	w.ticks(60, peace())
	if len(w.began) != 5 || len(w.ended) != 5 {
		t.Errorf("%d began and %d are over, want 5", len(w.began), len(w.ended))
	}
	w = newWorld(t, Normal)
	for second := range 40000 {
		w.tick(rates{{"game", status.VectorUDP}: float64(second)})
		if len(w.began) > 0 {
			break
		}
	}
	if most := floors[status.VectorUDP] * ceiling; len(w.began) == 0 || w.began[0].Incident.Peak.Packets > most+10 {
		t.Errorf("an attack that grows slowly is found at %+v, want below %v packets a second", w.began, most)
	}
}

func TestEdgeRestarts(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(300, peace())
	for range 5 {
		w.counters, w.services, w.nic.Rx = map[key]*status.VectorCounter{}, map[string]*status.Service{}, status.Counters{}
		w.ticks(20, peace())
	}
	if len(w.began) > 0 {
		t.Fatalf("a restart is an incident: %+v", w.began[0].Incident)
	}
	attack := peace().with(rates{{"web", status.VectorSYN}: 4000})
	w.ticks(10, attack)
	w.counters = map[key]*status.VectorCounter{}
	w.ticks(10, attack)
	w.ticks(30, peace())
	if len(w.began) != 1 || len(w.ended) != 1 {
		t.Errorf("%d began, %d are over; want one that a restart does not interrupt", len(w.began), len(w.ended))
	}
	if total := w.ended[0].Incident.Totals.Packets; total > 25*4100 {
		t.Errorf("it has %d packets, more than there were", total)
	}
}

func TestControlStartsWithinAnAttack(t *testing.T) {
	w := newWorld(t, Normal)
	w.d.Teach([]Learned{{"web", status.VectorSYN, 30, 5}})
	w.counters[key{"web", status.VectorSYN}] = &status.VectorCounter{Service: "web", Vector: status.VectorSYN, Packets: 1 << 40}
	w.ticks(5, rates{{"web", status.VectorSYN}: 3000})
	if len(w.began) != 1 || w.began[0].Incident.Peak.Packets > 3100 {
		t.Errorf("got %+v, want one incident of 3000 packets a second", w.began)
	}
}

func TestWhatWasLearnedOutlivesARestart(t *testing.T) {
	w := newWorld(t, Normal)
	busy := rates{{"game", status.VectorUDP}: 1500}
	for n := range 1500 {
		w.tick(rates{{"game", status.VectorUDP}: float64(n)})
	}
	w.ticks(1800, busy)
	if len(w.began) > 0 {
		t.Fatalf("a box that becomes busy is an incident: %+v", w.began[0].Incident)
	}
	learned := w.d.Learned()
	w.d = NewDetector(Normal, 0)
	w.d.Teach(learned)
	w.ticks(120, busy)
	if len(w.began) > 0 {
		t.Errorf("after a restart it is an incident: %+v", w.began[0].Incident)
	}
}

func TestClockJumps(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(300, peace())
	for _, jump := range []time.Duration{-time.Hour, time.Hour, -20 * 365 * 24 * time.Hour, 30 * 365 * 24 * time.Hour} {
		w.now = w.now.Add(jump)
		w.ticks(5, peace())
	}
	if len(w.began) > 0 {
		t.Fatalf("a jump is an incident: %+v", w.began[0].Incident)
	}
	attack := peace().with(rates{{"web", status.VectorACK}: 4000})
	w.ticks(10, attack)
	w.now = w.now.Add(-time.Hour)
	w.ticks(10, attack)
	w.ticks(30, peace())
	if len(w.ended) != 1 {
		t.Fatalf("%d are over, want 1", len(w.ended))
	}
	i := w.ended[0].Incident
	if i.End.Before(i.Start) || i.Seconds < 18 || i.Seconds > 22 {
		t.Errorf("it lasted %d s, from %v to %v", i.Seconds, i.Start, i.End)
	}
}

func TestPausesDoNotMakeManyIncidents(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	for range 10 {
		w.ticks(5, peace().with(rates{{"web", status.VectorRST}: 3000}))
		w.ticks(10, peace())
	}
	w.ticks(30, peace())
	if len(w.began) != 1 || len(w.ended) != 1 {
		t.Errorf("%d began, %d are over, want one", len(w.began), len(w.ended))
	}
}

func TestServicesHitAtOnceAreOneIncident(t *testing.T) {
	attack := func(n int) rates {
		r := rates{}
		for i := range n {
			r[key{fmt.Sprint("service-", i), status.VectorUDP}] = 2000
		}
		return r
	}
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(10, peace().with(attack(2)))
	if open := w.d.Open(); len(open) != 1 || open[0].Vector != status.VectorUDP || len(open[0].Services) != 2 {
		t.Errorf("two services: %+v", open)
	}
	w.ticks(60, peace())
	w.ticks(10, peace().with(attack(20)))
	if open := w.d.Open(); len(open) != 1 || open[0].Vector != VectorCarpet || len(open[0].Services) != 20 || open[0].Parts[0].Vector != status.VectorUDP {
		t.Errorf("twenty services: %+v", open)
	}
}

func TestAttacksOnTwoServicesAreTwoIncidents(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	first := rates{{"web", status.VectorSYN}: 3000}
	w.ticks(60, peace().with(first))
	w.ticks(20, peace().with(first).with(rates{{"game", status.VectorUDP}: 3000}))
	if open := w.d.Open(); len(open) != 2 || open[0].Vector != status.VectorSYN || open[1].Vector != status.VectorUDP {
		t.Errorf("got %+v", open)
	}
}

func TestADayOfAttackEnds(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.ticks(86400+600, peace().with(rates{{"web", status.VectorACK}: 3000}))
	if len(w.began) != 1 || len(w.ended) != 1 {
		t.Fatalf("%d began, %d are over, want one", len(w.began), len(w.ended))
	}
	i := w.ended[0].Incident
	if i.Note == "" || len(i.Series) >= maxPoints || i.Step < 128 {
		t.Errorf("note %q, %d points of %d s", i.Note, len(i.Series), i.Step)
	}
}

func TestSensitivity(t *testing.T) {
	for sensitivity, want := range map[Sensitivity]int{Low: 0, Normal: 1, "": 1, High: 1} {
		w := newWorld(t, sensitivity)
		w.ticks(100, peace())
		w.ticks(10, peace().with(rates{{"web", status.VectorACK}: 1500}))
		if len(w.began) != want {
			t.Errorf("%q: %d incidents, want %d", sensitivity, len(w.began), want)
		}
	}
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	w.d.SetSensitivity(High)
	w.ticks(10, peace().with(rates{{"web", status.VectorACK}: 200}))
	if len(w.began) != 1 {
		t.Errorf("after a change to high: %d incidents, want 1", len(w.began))
	}
}

func TestLines(t *testing.T) {
	w := newWorld(t, Normal)
	w.ticks(100, peace())
	flood := func(n int, bytes, packets, lost uint64) {
		for range n {
			w.nic.Rx.Bytes, w.nic.Rx.Packets, w.nic.Rx.Drops = w.nic.Rx.Bytes+bytes, w.nic.Rx.Packets+packets, w.nic.Rx.Drops+lost
			w.tick(peace().with(rates{{"web", status.VectorACK}: 3000}))
		}
	}
	flood(5, 115e6, 100e3, 0) // 920 Mbit and what the frames cost besides
	if got := w.d.Lines(); len(got) != 1 || got[0] != (Line{"wan0", true, false}) {
		t.Errorf("a full line: %+v", got)
	}
	w.ticks(30, peace())
	if got := w.d.Lines(); len(got) != 0 {
		t.Errorf("30 s later: %+v", got)
	}
	flood(5, 60e6, 500e3, 50e3)
	if got := w.d.Lines(); len(got) != 1 || got[0] != (Line{"wan0", false, true}) {
		t.Errorf("an overrun port: %+v", got)
	}
	if open := w.d.Open(); len(open) != 1 || len(open[0].Lines) != 1 || !open[0].Lines[0].Overrun {
		t.Errorf("the incident does not know: %+v", open)
	}
	w.ticks(60, peace())
	flood(5, 10e6, 3000, 2500) // a driver that counts what the shield drops
	if got := w.d.Lines(); len(got) != 0 {
		t.Errorf("what the shield drops is the port's loss: %+v", got)
	}
}

// TestWhateverComesItStaysBoundedAndEnds is a property: no panic, bounded memory, and all that begins is over in the end.
func TestWhateverComesItStaysBoundedAndEnds(t *testing.T) {
	vectors := slices.Sorted(func(yield func(status.Vector) bool) {
		for v := range floors {
			if !yield(v) {
				return
			}
		}
	})
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, []Sensitivity{Low, Normal, High}[r.IntN(3)])
		ids := map[uint64]bool{}
		for range 500 {
			attack := rates{}
			for range r.IntN(6) {
				attack[key{fmt.Sprint("s", r.IntN(80)), vectors[r.IntN(len(vectors))]}] = float64(r.IntN(1 << r.IntN(30)))
			}
			switch r.IntN(50) {
			case 0:
				w.counters = map[key]*status.VectorCounter{}
			case 1:
				w.now = w.now.Add(time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour)
			case 2:
				w.armed = !w.armed
			case 3:
				w.d.Add([]status.Sample{{Service: "s1", Vector: vectors[r.IntN(len(vectors))], Time: w.now, Bytes: make([]byte, r.IntN(128))}})
			}
			w.tick(attack)
			if len(w.d.open) > maxOpen || len(w.d.signals) > maxSignals {
				t.Fatalf("seed %d: %d incidents, %d signals", seed, len(w.d.open), len(w.d.signals))
			}
			for _, i := range w.d.Open() {
				if len(i.Series) > maxPoints || len(i.Parts) > maxParts || len(i.Actions) > maxActions || len(i.Services) > maxServices {
					t.Fatalf("seed %d: incident %d is not bounded", seed, i.ID)
				}
			}
		}
		w.ticks(30, nil)
		if len(w.d.open) > 0 || len(w.began) != len(w.ended) {
			t.Errorf("seed %d: %d began, %d are over", seed, len(w.began), len(w.ended))
		}
		for _, c := range w.ended {
			if ids[c.Incident.ID] || c.Incident.Open() || c.Incident.End.Before(c.Incident.Start) {
				t.Errorf("seed %d: incident %+v", seed, c.Incident)
			}
			ids[c.Incident.ID] = true
		}
	}
}
