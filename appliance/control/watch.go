package control

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/alert"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/incident"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	// sessionsEvery is how often the newest sessions are looked at while connections are the incident, and sessionsSeen how
	// many of them.
	sessionsEvery = 2 * time.Second
	sessionsSeen  = 2000
)

// watcher looks for incidents in what edge tells. Only Run uses it.
type watcher struct {
	c           *Control
	detector    *incident.Detector
	interrupted []Incident // by the end of the last control; their end is still to be told
	sampled     uint64     // the number of the last packet that was looked at
	looked      time.Time  // when sessions were looked at
	saved       time.Time  // when those that go on were written to the store
	learned     time.Time
	raised      map[[2]string]bool // the conditions, by code and subject
}

func newWatcher(c *Control) (*watcher, error) {
	interrupted, err := c.loadIncidents()
	if err != nil {
		return nil, err
	}
	w := &watcher{c: c, interrupted: interrupted, learned: c.now(), raised: map[[2]string]bool{}}
	newest := uint64(0)
	if list := c.incidents.list; len(list) > 0 {
		newest = list[len(list)-1].ID
	}
	w.detector = incident.NewDetector("", newest)
	var learned []incident.Learned
	if json.Unmarshal(c.store.Learned(), &learned) == nil { // otherwise there is nothing yet, or it is damaged
		w.detector.Teach(learned)
	}
	return w, nil
}

// watch takes what edge tells at one moment.
func (w *watcher) watch(ctx context.Context, seen status.Edge, at time.Time) {
	w.closeInterrupted()
	changes := w.detector.Observe(seen, at)
	w.addEvidence(ctx, at)
	for _, i := range w.detector.Open() {
		w.c.incidents.put(i, w.detector.Packets(i.ID))
	}
	for _, change := range changes {
		w.tell(change)
	}
	w.c.incidents.atTheirEnd(w.detector.Lines())
	w.raise()
	w.save(at)
}

// closeInterrupted tells the end of what the last control did not see the end of.
func (w *watcher) closeInterrupted() {
	for _, i := range w.interrupted {
		d, err := w.c.details(i.ID)
		if err != nil {
			w.c.log.Error("read an interrupted incident", "incident", i.ID, "err", err)
		}
		i.Series = d.Series
		w.keep(i, d.Packets)
		w.c.alerts.send(alert.Of(i, w.c.name()))
	}
	w.interrupted = nil
}

// addEvidence asks edge for packets, and for sessions where these are the incident.
func (w *watcher) addEvidence(ctx context.Context, at time.Time) {
	open := w.detector.Open()
	if len(open) == 0 {
		return
	}
	samples, err := w.c.edge.Samples(ctx, w.sampled)
	if err != nil {
		w.c.log.Debug("the packets of an incident", "err", err)
	}
	if len(samples) > 0 {
		w.sampled = samples[len(samples)-1].Number
		w.detector.Add(samples)
	}
	if !slices.ContainsFunc(open, ofConnections) || at.Sub(w.looked).Abs() < sessionsEvery {
		return
	}
	w.looked = at
	list, err := w.c.edge.Sessions(ctx, edgelink.SessionQuery{Limit: sessionsSeen})
	if err != nil {
		w.c.log.Debug("the sessions of an incident", "err", err)
		return
	}
	w.detector.AddSessions(list.Sessions)
}

func ofConnections(i Incident) bool {
	return slices.ContainsFunc(i.Parts, func(p incident.Part) bool { return p.Vector == status.VectorConnection })
}

// tell writes down and sends that an incident began or is over.
func (w *watcher) tell(change incident.Change) {
	i, packets := change.Incident, change.Packets
	if change.Began { // with the evidence of this moment
		if now, series, kept, err := w.c.incident(i.ID); err == nil {
			now.Series = series
			i, packets = now, kept
		}
		w.c.log.Warn("an incident began", "incident", i.ID, "vector", i.Vector, "service", strings.Join(i.Services, ","))
	} else {
		w.c.log.Info("an incident is over", "incident", i.ID, "vector", i.Vector, "service", strings.Join(i.Services, ","), "seconds", i.Seconds)
	}
	w.keep(i, packets)
	w.c.alerts.send(alert.Of(i, w.c.name()))
}

// keep publishes an incident and writes it to the store.
func (w *watcher) keep(i Incident, packets []status.Sample) {
	w.c.incidents.put(i, packets)
	if err := w.c.keepIncident(i, packets); err != nil {
		w.c.conditions.Raise(health.Condition{Code: "incidents-not-kept", Severity: health.Warning, Title: "Incidents cannot be written to the disk",
			Detail: sentence(err) + ". They are found and told all the same, and lost when control ends."})
		return
	}
	w.c.conditions.Clear("incidents-not-kept", "")
}

// save writes what goes on now and then, so that a crash costs little of it.
func (w *watcher) save(at time.Time) {
	if at.Sub(w.saved).Abs() >= saveEvery {
		w.saved = at
		for _, i := range w.detector.Open() {
			w.keep(i, w.detector.Packets(i.ID))
		}
	}
	if at.Sub(w.learned).Abs() >= learnedEvery {
		w.learned = at
		w.saveLearned()
	}
}

func (w *watcher) saveLearned() {
	learned := w.detector.Learned()
	if len(learned) == 0 {
		return
	}
	document, err := json.Marshal(learned)
	if err == nil {
		err = w.c.store.PutLearned(document)
	}
	if err != nil {
		w.c.log.Warn("what is usual cannot be written", "err", err) // a full disk has a condition of its own
	}
}

// raise keeps one condition for each incident that goes on, and for each network port at its end.
func (w *watcher) raise() {
	raised := map[[2]string]bool{}
	for _, condition := range append(w.attacks(), w.lines()...) {
		raised[[2]string{condition.Code, condition.Subject}] = true
		w.c.conditions.Raise(condition)
	}
	for key := range w.raised {
		if !raised[key] {
			w.c.conditions.Clear(key[0], key[1])
		}
	}
	w.raised = raised
}

// attacks have the first service as subject: a service is hit by one incident at a time.
func (w *watcher) attacks() (list []health.Condition) {
	for _, i := range w.detector.Open() {
		condition := health.Condition{Code: "under-attack", Severity: health.Warning, Title: "Under attack: " + i.Title(), Detail: strings.Join(i.Words(), " ")}
		if len(i.Services) > 0 {
			condition.Subject = i.Services[0]
		}
		if cmp.Or(i.Mode, plan.ShieldOff) != plan.ShieldOn || slices.ContainsFunc(i.Lines, func(l incident.Line) bool { return l.Full }) {
			condition.Severity = health.Critical
		}
		list = append(list, condition)
	}
	return list
}

func (w *watcher) lines() (list []health.Condition) {
	for _, l := range w.detector.Lines() {
		condition := health.Condition{Code: "line-full", Subject: l.Interface, Severity: health.Critical, Title: "A line is full", Detail: l.Words()}
		if !l.Full {
			condition.Code, condition.Title = "port-overrun", "A network port loses packets"
		}
		list = append(list, condition)
	}
	return list
}
