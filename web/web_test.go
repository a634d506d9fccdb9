package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
	"breakwater/web/api"
	"breakwater/web/tls"
)

const documentOne = `{ "schema": 1,
  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": "one", "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "one" } ] }`

var documentTwo = strings.ReplaceAll(documentOne, `"one"`, `"two"`)

// box is a real control behind the real handlers; only edge is a stand-in.
type box struct {
	t            *testing.T
	dir          string
	control      *control.Control
	access       *access.Access
	certificates *tls.Certificates
	edge         *edgetest.Edge
	site         *site
	handler      http.Handler // as over the unix socket
	clock        atomic.Int64 // what access's clock is ahead, in nanoseconds
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	s, report, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &box{t: t, dir: dir, edge: edgetest.Start(t)}
	b.certificates, err = tls.Open(dir, discard())
	if err == nil {
		b.control, err = control.New(control.Options{Store: s, Report: report, Edge: edgelink.New(b.edge.Socket), Version: "test", Conditions: b.certificates.Conditions})
	}
	if err == nil {
		b.access, err = access.New(access.Options{Store: s, HashMemory: 8, Log: discard(), Now: func() time.Time { return time.Now().Add(time.Duration(b.clock.Load())) }})
	}
	if err == nil {
		b.site, err = newSite(b.options())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.handler = b.site.outer(overSocket(b.site.routes()))
	return b
}

func (b *box) options() Options {
	return Options{Control: b.control, Access: b.access, Certificates: b.certificates, Log: discard()}
}

// overNetwork makes further calls come over the network.
func (b *box) overNetwork() { b.handler = b.site.outer(b.site.overNetwork(b.site.routes())) }

func (b *box) token(name string, role access.Role) string {
	b.t.Helper()
	_, secret, err := b.access.CreateToken(access.Local(), access.Peer{}, access.NewToken{Name: name, Role: role})
	if err != nil {
		b.t.Fatal(err)
	}
	return "Bearer " + secret
}

// call makes one call; headers are pairs of name and value.
func (b *box) call(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, name := range []string{"X-Content-Type-Options", "Cache-Control", "Content-Security-Policy"} {
		if w.Header().Get(name) == "" {
			b.t.Errorf("%s %s: the answer has no %s", method, path, name)
		}
	}
	return w
}

// expect calls and compares the status, and the code when the answer is a problem.
func (b *box) expect(method, path, body string, wantStatus int, wantCode string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.call(method, path, body, headers...)
	var p api.Problem
	if w.Header().Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Detail == "" || p.Title == "" {
			b.t.Errorf("%s %s: problem %s, %v", method, path, w.Body, err)
		}
	}
	if w.Code != wantStatus || p.Code != wantCode {
		b.t.Errorf("%s %s: got %d %q, want %d %q: %s", method, path, w.Code, p.Code, wantStatus, wantCode, w.Body)
	}
	return w
}

func TestSettings(t *testing.T) {
	b := newBox(t)
	b.expect("GET", "/api/v1/settings", "", 404, "no-settings")
	w := b.expect("PUT", "/api/v1/settings?reason=first", documentOne, 200, "")
	if got := w.Header().Get("ETag"); got != `"1"` {
		t.Errorf("ETag %s, want \"1\"", got)
	}
	w = b.expect("GET", "/api/v1/settings", "", 200, "")
	exported := w.Body.String()
	if got := w.Header().Get("ETag"); got != `"1"` || !strings.Contains(exported, "203.0.113.10/32") {
		t.Errorf("ETag %s, document %s", got, exported)
	}
	w = b.expect("PUT", "/api/v1/settings", exported, 200, "")
	if !strings.Contains(w.Body.String(), `"unchanged":true`) {
		t.Errorf("what was exported is not unchanged: %s", w.Body)
	}
	b.expect("PUT", "/api/v1/settings", documentTwo, 412, "stale", "If-Match", `"7"`)
	b.expect("PUT", "/api/v1/settings", documentTwo, 400, "bad-request", "If-Match", `7`)
	b.expect("PUT", "/api/v1/settings", documentTwo, 200, "", "If-Match", `"1"`)
	list, err := b.control.Revisions()
	if err != nil || len(list) != 2 || list[1].Reason != "first" || list[1].Author != "local" {
		t.Errorf("revisions %+v, %v", list, err)
	}
}

func TestBadSettingsAreReportedWithTheirFields(t *testing.T) {
	b := newBox(t)
	for _, path := range []string{"/api/v1/settings", "/api/v1/settings?check=true"} {
		w := b.expect("PUT", path, strings.Replace(documentOne, "1-65535", "0-70000", 1), 422, "invalid-settings")
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p.Problems) == 0 || p.Problems[0].Field != "services[0].ports[0]" {
			t.Errorf("%s: problems %+v, %v, want one of services[0].ports[0]", path, p.Problems, err)
		}
	}
	b.expect("PUT", "/api/v1/settings", strings.Repeat(" ", maxBody+1), 413, "too-large")
	b.expect("PUT", "/api/v1/settings", strings.Repeat(" ", 1<<20+1), 422, "invalid-settings")
	b.expect("PUT", "/api/v1/settings?confirm=soon", documentOne, 400, "bad-request")
	b.expect("PUT", "/api/v1/settings?confirm=1s", documentOne, 422, "invalid-settings")
	b.expect("PUT", "/api/v1/settings?reason="+strings.Repeat("x", 501), documentOne, 400, "bad-request")
}

func TestCheckTellsWhatWouldChange(t *testing.T) {
	b := newBox(t)
	b.expect("PUT", "/api/v1/settings", documentOne, 200, "")
	w := b.expect("PUT", "/api/v1/settings?check=true", documentTwo, 200, "")
	if !strings.Contains(w.Body.String(), "services[everything].pool") {
		t.Errorf("the changes are %s", w.Body)
	}
	if r, err := b.control.Current(); err != nil || r.Number != 1 {
		t.Errorf("after a check revision %d is current (%v), want 1", r.Number, err)
	}
}

func TestConfirmAndRevert(t *testing.T) {
	b := newBox(t)
	b.expect("POST", "/api/v1/settings/confirm", "", 409, "nothing-pending")
	b.expect("POST", "/api/v1/settings/revert", "", 409, "nothing-pending")
	b.expect("PUT", "/api/v1/settings?confirm=60s", documentOne, 202, "")
	w := b.expect("PUT", "/api/v1/settings", documentTwo, 409, "change-pending")
	if !strings.Contains(w.Body.String(), `"author":"local"`) {
		t.Errorf("the problem does not tell who: %s", w.Body)
	}
	b.expect("POST", "/api/v1/settings/confirm", "", 200, "")
	b.expect("PUT", "/api/v1/settings?confirm=60s", documentTwo, 202, "")
	b.expect("POST", "/api/v1/settings/revert", "", 204, "")
	if p := b.edge.Plan(); p.Pools[0].Name != "one" {
		t.Errorf("after the revert edge runs pool %s, want one", p.Pools[0].Name)
	}
}

func TestRevisions(t *testing.T) {
	b := newBox(t)
	if w := b.expect("GET", "/api/v1/revisions", "", 200, ""); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("without revisions: %s, want []", w.Body)
	}
	b.expect("PUT", "/api/v1/settings", documentOne, 200, "")
	b.expect("PUT", "/api/v1/settings", documentTwo, 200, "")
	if w := b.expect("GET", "/api/v1/revisions/1", "", 200, ""); !strings.Contains(w.Body.String(), `"one"`) {
		t.Errorf("revision 1 is %s", w.Body)
	}
	if w := b.expect("GET", "/api/v1/revisions/2/diff", "", 200, ""); !strings.Contains(w.Body.String(), "pools[two]") {
		t.Errorf("the difference of revision 2 is %s", w.Body)
	}
	b.expect("GET", "/api/v1/revisions/9", "", 404, "not-found")
	b.expect("GET", "/api/v1/revisions/x", "", 400, "bad-request")
	b.expect("POST", "/api/v1/revisions/9/rollback", "", 404, "not-found")
	b.expect("POST", "/api/v1/revisions/1/rollback", "", 200, "")
	if p := b.edge.Plan(); p.Pools[0].Name != "one" || p.Revision != 3 {
		t.Errorf("after the rollback edge runs pool %s of revision %d", p.Pools[0].Name, p.Revision)
	}
}

func TestEdgeThatRefusesOrIsGone(t *testing.T) {
	b := newBox(t)
	b.edge.Refuse("no such interface")
	if w := b.expect("PUT", "/api/v1/settings", documentOne, 502, "not-applied"); !strings.Contains(w.Body.String(), "no such interface") {
		t.Errorf("the problem does not say why: %s", w.Body)
	}
	b.edge.Stop()
	b.expect("PUT", "/api/v1/settings", documentOne, 503, "edge-unreachable")
	b.expect("GET", "/api/v1/sessions", "", 503, "edge-unreachable")
	if w := b.expect("GET", "/api/v1/status", "", 200, ""); !strings.Contains(w.Body.String(), `"edge-unreachable"`) {
		t.Errorf("the status does not say it: %s", w.Body)
	}
	if w := b.expect("GET", "/metrics", "", 200, ""); !strings.Contains(w.Body.String(), "breakwater_edge_up 0") {
		t.Errorf("the metrics do not say it: %s", w.Body)
	}
}

func TestSessionsAndKill(t *testing.T) {
	b := newBox(t)
	b.edge.Observe(status.Edge{}, status.Session{ID: 0xabc, Service: "everything"}, status.Session{ID: 0xdef, Service: "other"})
	w := b.expect("GET", "/api/v1/sessions?service=everything&limit=5", "", 200, "")
	var list status.SessionList
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Sessions) != 1 || list.Sessions[0].ID != 0xabc {
		t.Errorf("sessions %s, %v", w.Body, err)
	}
	b.expect("GET", "/api/v1/sessions?limit=-1", "", 400, "bad-request")
	b.expect("GET", "/api/v1/sessions?client=x", "", 400, "bad-request")
	b.expect("DELETE", "/api/v1/sessions/0000000000000abc", "", 204, "")
	b.expect("DELETE", "/api/v1/sessions/0000000000000abc", "", 404, "no-session")
	b.expect("DELETE", "/api/v1/sessions/abc", "", 400, "bad-request")
}

func TestTokens(t *testing.T) {
	b := newBox(t)
	w := b.expect("POST", "/api/v1/tokens", `{"name":"ci"}`, 201, "")
	var made api.NewToken
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || made.Name != "ci" || made.Secret == "" {
		t.Fatalf("token %s, %v", w.Body, err)
	}
	b.expect("POST", "/api/v1/tokens", `{"name":"ci"}`, 409, "token-exists")
	b.expect("POST", "/api/v1/tokens", `{"name":"a b"}`, 422, "token-name")
	b.expect("POST", "/api/v1/tokens", `{"nme":"x"}`, 422, "invalid")
	if w := b.expect("GET", "/api/v1/tokens", "", 200, ""); strings.Contains(w.Body.String(), made.Secret) || !strings.Contains(w.Body.String(), `"ci"`) {
		t.Errorf("the list of tokens is %s", w.Body)
	}
	b.overNetwork()
	b.expect("GET", "/api/v1/status", "", 200, "", "Authorization", "Bearer "+made.Secret)
	b.expect("PUT", "/api/v1/settings", documentOne, 200, "", "Authorization", "bearer "+made.Secret)
	if r, err := b.control.Current(); err != nil || r.Author != "ci" {
		t.Errorf("the author is %q (%v), want ci", r.Author, err)
	}
	b.expect("DELETE", "/api/v1/tokens/ci", "", 204, "", "Authorization", "Bearer "+made.Secret)
	b.expect("GET", "/api/v1/status", "", 401, "unauthorized", "Authorization", "Bearer "+made.Secret)
}

func TestPagesOfOthersCannotChangeAnything(t *testing.T) {
	b := newBox(t)
	b.expect("POST", "/api/v1/settings/revert", "", 403, "cross-origin", "Sec-Fetch-Site", "cross-site")
	b.expect("PUT", "/api/v1/settings", documentOne, 403, "cross-origin", "Origin", "https://evil.example")
}

func TestWhatIsNotThere(t *testing.T) {
	b := newBox(t)
	b.expect("GET", "/api/", "", 404, "no-such-page")
	b.expect("GET", "/api/v2/status", "", 404, "no-such-page")
	b.expect("POST", "/api/v1/status", "", 405, "method")
}

func TestMetrics(t *testing.T) {
	b := newBox(t)
	b.expect("PUT", "/api/v1/settings", documentOne, 200, "")
	twice := status.Origin{Name: "one-1", Address: "10.0.0.20", Up: true, Sessions: 2, Chosen: 9}
	b.edge.Observe(status.Edge{
		Version:    "test",
		Started:    time.Unix(1e9, 0),
		Conditions: []health.Condition{{Code: "return-path", Subject: "one-1", Severity: health.Warning}},
		Services:   []status.Service{{Name: "everything", Sessions: 3, BytesToClient: 77, DatagramsToOrig: 5}},
		Pools:      []status.Pool{{Name: "one", Origins: []status.Origin{twice, twice}}},
		Reasons:    []status.ReasonCounter{{Reason: status.OriginRefused, Code: 521, Protocol: plan.TCP, Count: 4}},
		Events:     status.EventCounters{Sent: 10, Lost: 1},
	})
	w := b.expect("GET", "/metrics", "", 200, "")
	text := w.Body.String()
	for _, want := range []string{
		`breakwater_sessions{service="everything"} 3`,
		`breakwater_payload_bytes_total{service="everything",to="client"} 77`,
		`breakwater_datagrams_total{service="everything",to="origin"} 5`,
		`breakwater_closes_total{code="521",protocol="tcp",reason="origin-refused"} 4`,
		`breakwater_origin_up{address="10.0.0.20",origin="one-1",pool="one"} 1`,
		`breakwater_condition{code="return-path",severity="warning",subject="one-1"} 1`,
		`breakwater_events_lost_total 1`,
		`breakwater_revision 1`,
		`breakwater_settings_in_force 1`,
		`breakwater_edge_start_time_seconds 1e+09`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestEventsAreStreamed(t *testing.T) {
	b := newBox(t)
	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	killed := status.Killed
	for b.edge.Send(status.Event{Type: status.Disconnect, Reason: &killed, Code: 603, Session: status.Session{ID: 7}}) == 0 {
		time.Sleep(time.Millisecond)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e status.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.ID != 7 || *e.Reason != status.Killed {
				t.Errorf("event %s, %v", data, err)
			}
			return
		}
	}
	t.Errorf("the stream ended without an event: %v", lines.Err())
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func metaOf(author string) control.Meta { return control.Meta{Author: author} }
