package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/proxy"
)

// newEdge is an edge without steering, as that needs root.
func newEdge(t *testing.T, state string) *Edge {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	e := &Edge{options: Options{State: state, Log: log}}
	e.pools = origin.New(log, &e.conditions)
	var err error
	if e.engine, err = proxy.New(proxy.Options{Pools: e.pools, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.engine.Run(t.Context()) }() // it ends with the test
	return e
}

// ask calls the control socket's handler.
func ask(t *testing.T, e *Edge, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	e.routes(t.Context()).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// TestBansOutliveEdge: they are in force again before control says a word.
func TestBansOutliveEdge(t *testing.T) {
	state := t.TempDir()
	e := newEdge(t, state)
	until := time.Now().Add(time.Hour)
	if w := ask(t, e, http.MethodPut, "/bans", `[{"prefix":"203.0.113.0/24"},{"prefix":"::ffff:198.51.100.0/120","until":"`+until.Format(time.RFC3339Nano)+`"}]`); w.Code != http.StatusNoContent {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	want := plan.BansFingerprint([]plan.Ban{
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Until: until}, {Prefix: netip.MustParsePrefix("203.0.113.0/24")},
	})
	if got := e.bansPrint(); got != want {
		t.Errorf("got the fingerprint %s, want %s", got, want)
	}
	next := newEdge(t, state)
	if next.restoreBans(); next.bansPrint() != want {
		t.Errorf("the next edge has %s, want %s", next.bansPrint(), want)
	}
	if w := ask(t, next, http.MethodPut, "/bans", `[]`); w.Code != http.StatusNoContent || next.bansPrint() != "" {
		t.Errorf("without bans: got %d and %s", w.Code, next.bansPrint())
	}
}

func TestBadBansAreRefused(t *testing.T) {
	e := newEdge(t, t.TempDir())
	for _, body := range []string{``, `{}`, `[{}]`, `[{"prefix":"203.0.113.0/33"}]`, `[{"prefix":"203.0.113.1"}]`, `[{"prefix":"10.0.0.0/8","for":"1h"}]`,
		`[{"prefix":"10.0.0.0/8","until":"tomorrow"}]`, "[" + strings.Repeat(`{"prefix":"10.0.0.0/8"},`, plan.MaxBans) + `{"prefix":"10.0.0.0/8"}]`} {
		if w := ask(t, e, http.MethodPut, "/bans", body); w.Code != http.StatusBadRequest || e.bansPrint() != "" {
			t.Errorf("%.60s: got %d", body, w.Code)
		}
	}
}

func TestBrokenBansFileIsACondition(t *testing.T) {
	for _, file := range []string{"", "{", `[{"prefix":"203.0.113.0/99"}]`, `[{}]`} {
		e := newEdge(t, t.TempDir())
		if err := os.WriteFile(filepath.Join(e.options.State, BansFile), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		e.restoreBans()
		if got := e.conditions.List(); len(got) != 1 || got[0].Code != "bans-not-restored" {
			t.Errorf("%q: conditions %+v", file, got)
		}
		e.SetBans(nil)
		if got := e.conditions.List(); len(got) != 0 {
			t.Errorf("%q: conditions %+v after control sent the list", file, got)
		}
	}
}

// TestTryIsRefused: what leads to the box itself, and what cannot be read.
func TestTryIsRefused(t *testing.T) {
	e := newEdge(t, t.TempDir())
	for body, want := range map[string]int{
		``: http.StatusBadRequest,
		`{"network":"tcp","address":"127.0.0.1:22"}`:              http.StatusUnprocessableEntity,
		`{"network":"tcp","address":"[::1]:22"}`:                  http.StatusUnprocessableEntity,
		`{"network":"udp","address":"10.0.0.1:1","send":"%%"}`:    http.StatusBadRequest,
		`{"network":"udp","address":"10.0.0.1:1","shell":"true"}`: http.StatusBadRequest,
	} {
		if w := ask(t, e, http.MethodPost, "/try", body); w.Code != want || !strings.Contains(w.Body.String(), `"detail"`) {
			t.Errorf("%s: got %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
}
