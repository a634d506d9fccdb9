package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"breakwater/appliance/edge/samples"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
)

// maxPlan bounds a plan in transfer. A settings document has at most 1 MiB; its plan repeats addresses for routes.
const maxPlan = 64 << 20

// listenUnix opens the control socket. A socket file that an ended edge left behind is replaced; one that a living
// edge answers on is not.
func listenUnix(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("another edge is serving %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // control runs as another user of the same group
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), listener.Close())
	}
	return listener, nil
}

// serve answers control until ctx ends.
func (e *Edge) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: e.routes(ctx), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve control: %w", err)
	}
	return nil
}

func (e *Edge) routes(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /plan", e.putPlan)
	mux.HandleFunc("PUT /bans", e.putBans)
	mux.HandleFunc("PUT /lists", e.putLists)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, e.Status()) })
	mux.HandleFunc("GET /sessions", e.getSessions)
	mux.HandleFunc("DELETE /sessions/{id}", e.killSession)
	mux.HandleFunc("POST /try", e.postTry)
	mux.HandleFunc("GET /log", e.getLog)
	mux.HandleFunc("GET /shield/samples", e.getSamples)
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { e.streamEvents(ctx, w, r) })
	return mux
}

// problem is the answer to what was refused.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the reader is gone: nobody is left to tell
}

func refuse(w http.ResponseWriter, code int, title string, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(problem{title, err.Error()}) // as above
}

// decode reads the body of a request, at most limit bytes, and reports whether it could; if not, it has answered.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "The request cannot be read", err)
		return false
	}
	return true
}

// getLog tells the last records of the log.
func (e *Edge) getLog(w http.ResponseWriter, _ *http.Request) {
	records := []logs.Record{}
	if e.options.Records != nil {
		records = e.options.Records()
	}
	answer(w, records)
}

// getSamples tells the last packets that the shield picked out; see samples.Parse for the query.
func (e *Edge) getSamples(w http.ResponseWriter, r *http.Request) {
	query, err := samples.Parse(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "The packets cannot be listed like this", err)
		return
	}
	answer(w, e.samples.List(query))
}

func (e *Edge) putPlan(w http.ResponseWriter, r *http.Request) {
	var p plan.Plan
	if !decode(w, r, maxPlan, &p) {
		return
	}
	if err := p.Check(); err != nil {
		refuse(w, http.StatusBadRequest, "The plan is not whole", err)
		return
	}
	if err := e.Apply(&p); err != nil {
		e.options.Log.Warn("refused a plan", "rev", p.Revision, "err", err)
		refuse(w, http.StatusUnprocessableEntity, "The plan cannot be applied; the former one stays in force", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// streamEvents writes one event a line until the reader or edge ends.
func (e *Edge) streamEvents(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	events, end := e.engine.Events()
	defer end()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	encoder := json.NewEncoder(w)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Context().Done():
			return
		case event := <-events:
			if encoder.Encode(event) != nil {
				return
			}
		}
		if len(events) == 0 && out.Flush() != nil {
			return
		}
	}
}
