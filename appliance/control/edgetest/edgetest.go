// Package edgetest is a stand-in for the edge process in tests, because the real one needs root and the kernel: HTTP
// over a real unix socket, a plan that it keeps, and a switch to refuse the next ones.
//
//	edge := edgetest.Start(t)
//	c, err := control.New(control.Options{Store: s, Edge: edgelink.New(edge.Socket)})
//
// It treats a plan as the real one does: as a whole or not at all.
package edgetest

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/edge/samples"
	"breakwater/appliance/edge/window"
	"breakwater/appliance/lists"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Edge is a running stand-in.
type Edge struct {
	Socket string

	t      testing.TB
	server *http.Server

	mu       sync.Mutex
	current  *plan.Plan
	refusal  string
	applied  []uint64 // the revisions of the plans taken, in order
	observed status.Edge
	sessions []status.Session
	bans     []plan.Ban
	lists    *lists.Table
	print    string // of lists
	trial    func(plan.Try) (status.Trial, error)
	records  []logs.Record
	samples  *samples.Store
	readers  map[chan status.Event]bool
}

// Start runs a stand-in until the test ends.
func Start(t testing.TB) *Edge {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge") // t.TempDir can be longer than the 107 bytes of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &Edge{Socket: filepath.Join(dir, "edge.sock"), t: t, readers: map[chan status.Event]bool{}}
	e.Restart()
	t.Cleanup(e.Stop)
	return e
}

// Restart starts the stand-in again, with no plan.
func (e *Edge) Restart() {
	e.t.Helper()
	e.mu.Lock()
	e.current, e.bans, e.samples, e.lists, e.print = nil, nil, &samples.Store{}, nil, ""
	e.mu.Unlock()
	l, err := net.Listen("unix", e.Socket)
	if err != nil {
		e.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /plan", e.putPlan)
	mux.HandleFunc("GET /status", e.getStatus)
	mux.HandleFunc("GET /sessions", e.getSessions)
	mux.HandleFunc("DELETE /sessions/{id}", e.deleteSession)
	mux.HandleFunc("PUT /bans", e.putBans)
	mux.HandleFunc("PUT /lists", e.putLists)
	mux.HandleFunc("POST /try", e.postTry)
	mux.HandleFunc("GET /log", e.getLog)
	mux.HandleFunc("GET /shield/samples", e.getSamples)
	mux.HandleFunc("GET /events", e.getEvents)
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func(s *http.Server) { _ = s.Serve(l) }(e.server) // ends with Stop
}

// Stop ends the stand-in as a crash would.
func (e *Edge) Stop() { _ = e.server.Close() }

// Refuse lets every plan be refused for this reason; empty: plans are taken again.
func (e *Edge) Refuse(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refusal = reason
}

// Observe sets what the status tells, besides the plan.
func (e *Edge) Observe(s status.Edge, sessions ...status.Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observed, e.sessions = s, slices.Clone(sessions)
}

// Answer lets trials be answered by f; an error is a refusal. Without it every trial connects.
func (e *Edge) Answer(f func(plan.Try) (status.Trial, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trial = f
}

// Log sets what the log of edge holds.
func (e *Edge) Log(records ...logs.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records = records
}

// Sample lets the shield have picked out these packets.
func (e *Edge) Sample(packets ...status.Sample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range packets {
		e.samples.Add(p)
	}
}

// Bans are those in force.
func (e *Edge) Bans() []plan.Ban {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.bans)
}

// Sessions are those that are open.
func (e *Edge) Sessions() []status.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sessions)
}

// Plan is the plan in force; nil: none.
func (e *Edge) Plan() *plan.Plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// Applied are the revisions of the plans that were taken, in order.
func (e *Edge) Applied() []uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.applied)
}

// Send gives an event to every reader and returns how many there are.
func (e *Edge) Send(event status.Event) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.readers {
		r <- event
	}
	return len(e.readers)
}

func (e *Edge) putPlan(w http.ResponseWriter, r *http.Request) {
	var p plan.Plan
	err := json.NewDecoder(r.Body).Decode(&p)
	e.mu.Lock()
	defer e.mu.Unlock()
	reason := e.refusal
	if err != nil {
		reason = err.Error()
	}
	if reason != "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
		answer(w, map[string]string{"title": "The plan cannot be applied", "detail": reason})
		return
	}
	e.current = &p
	e.applied = append(e.applied, p.Revision)
	w.WriteHeader(http.StatusNoContent)
}

func (e *Edge) getStatus(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.observed
	s.Bans, s.Shield.Lists = plan.BansFingerprint(e.bans), e.print
	if e.current != nil {
		s.Revision, s.Plan = e.current.Revision, e.current.Fingerprint()
	}
	answer(w, s)
}

// getSessions chooses as the real edge does, also among 50,000.
func (e *Edge) getSessions(w http.ResponseWriter, r *http.Request) {
	query, err := window.Parse(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "The sessions cannot be listed like this", err)
		return
	}
	e.mu.Lock()
	list := window.New(query)
	for i := range e.sessions {
		list.Add(&e.sessions[i])
	}
	e.mu.Unlock()
	answer(w, list.List())
}

// Lists is the table of lists in force; nil: none was sent.
func (e *Edge) Lists() *lists.Table {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lists
}

func (e *Edge) putLists(w http.ResponseWriter, r *http.Request) {
	t, print, err := lists.Decode(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The lists are not whole", err)
		return
	}
	if t.Empty() {
		print = ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists, e.print = t, print
	w.WriteHeader(http.StatusNoContent)
}

// putBans ends the sessions of the banned. It does not ask whether a ban is over: tests have clocks of their own.
func (e *Edge) putBans(w http.ResponseWriter, r *http.Request) {
	var bans []plan.Ban
	err := json.NewDecoder(r.Body).Decode(&bans)
	if err == nil {
		err = plan.CheckBans(bans)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "The bans are not whole", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bans = bans
	e.sessions = slices.DeleteFunc(e.sessions, func(s status.Session) bool {
		return slices.ContainsFunc(bans, func(b plan.Ban) bool {
			return plan.NormalPrefix(b.Prefix).Contains(s.Client.Addr().Unmap())
		})
	})
	w.WriteHeader(http.StatusNoContent)
}

func (e *Edge) postTry(w http.ResponseWriter, r *http.Request) {
	var t plan.Try
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		refuse(w, http.StatusBadRequest, "The request cannot be read", err)
		return
	}
	e.mu.Lock()
	f := e.trial
	e.mu.Unlock()
	trial, err := status.Trial{Address: t.Address, Connected: true, ConnectMS: 0.5, Ending: "still open after 1s"}, error(nil)
	if f != nil {
		trial, err = f(t)
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "This cannot be tried", err)
		return
	}
	answer(w, trial)
}

func (e *Edge) getLog(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer(w, append([]logs.Record{}, e.records...))
}

func (e *Edge) getSamples(w http.ResponseWriter, r *http.Request) {
	query, err := samples.Parse(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "The packets cannot be listed like this", err)
		return
	}
	e.mu.Lock()
	list := e.samples.List(query)
	e.mu.Unlock()
	answer(w, list)
}

func (e *Edge) deleteSession(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, s := range e.sessions {
		if s.ID.String() == r.PathValue("id") {
			e.sessions = slices.Delete(e.sessions, i, i+1)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
	answer(w, map[string]string{"title": "No such session"})
}

func (e *Edge) getEvents(w http.ResponseWriter, r *http.Request) {
	events := make(chan status.Event, 16)
	e.mu.Lock()
	e.readers[events] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.readers, events)
	}()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // a reader that is gone is noticed below
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-events:
			answer(w, event)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func refuse(w http.ResponseWriter, code int, title string, err error) {
	w.WriteHeader(code)
	answer(w, map[string]string{"title": title, "detail": err.Error()})
}

// answer ignores a reader that is gone.
func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
