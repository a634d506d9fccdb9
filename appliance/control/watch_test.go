package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/alert"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
)

// tower is a control that watches a stand-in for edge, second by second, without waiting for the seconds.
type tower struct {
	*Control
	t     *testing.T
	dir   string
	store *store.Store
	edge  *edgetest.Edge
	now   time.Time
	seen  status.Edge
}

func newTower(t *testing.T) *tower {
	w := &tower{t: t, dir: t.TempDir(), edge: edgetest.Start(t), now: time.Now()}
	w.seen = status.Edge{Shield: status.Shield{Mode: plan.ShieldOn, Attachments: []status.ShieldAttachment{{Interface: "wan0"}}},
		Interfaces: []status.Interface{{Name: "wan0", Speed: 1000}}}
	w.start()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *tower) start() {
	w.t.Helper()
	var err error
	if w.store, _, err = store.Open(w.dir, store.Options{}); err != nil {
		w.t.Fatal(err)
	}
	w.Control, err = New(Options{Store: w.store, Edge: edgelink.New(w.edge.Socket), Now: func() time.Time { return w.now },
		DialAlert: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.keepAlerts(w.t.Context())
}

// restart is a control that crashed and came back.
func (w *tower) restart() {
	w.t.Helper()
	w.endAlerts()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// ticks lets seconds pass in which this many packets of a vector come for service web.
func (w *tower) ticks(n int, vector status.Vector, packets uint64) {
	w.t.Helper()
	at := slices.IndexFunc(w.seen.Shield.Vectors, func(v status.VectorCounter) bool { return v.Vector == vector })
	if at < 0 {
		at = len(w.seen.Shield.Vectors)
		w.seen.Shield.Vectors = append(w.seen.Shield.Vectors, status.VectorCounter{Service: "web", Vector: vector})
	}
	for range n {
		w.now = w.now.Add(time.Second)
		c := &w.seen.Shield.Vectors[at]
		c.Packets, c.Bytes = c.Packets+packets, c.Bytes+60*packets
		if w.seen.Shield.Mode == plan.ShieldMonitor {
			c.Would += packets
		} else {
			c.Dropped += packets * 9 / 10
		}
		w.watcher.watch(w.t.Context(), w.seen, w.now)
	}
}

func (w *tower) condition(code string) *health.Condition {
	list := w.conditions.List()
	if i := slices.IndexFunc(list, func(c health.Condition) bool { return c.Code == code }); i >= 0 {
		return &list[i]
	}
	return nil
}

func (w *tower) sample(n int) {
	frame := append(make([]byte, 12), 8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 18, 1, 10, 0, 123, 0x69, 0x87, 0, 8, 0, 0)
	for range n {
		w.edge.Sample(status.Sample{Time: w.now, Interface: "wan0", Service: "web", Vector: status.VectorUDP, Verdict: status.SampleDrop, Reason: status.AddressRate, Length: 60, Bytes: frame})
	}
}

func TestAnIncidentFromBeginToEnd(t *testing.T) {
	w := newTower(t)
	w.ticks(100, status.VectorUDP, 10)
	if c := w.condition("under-attack"); c != nil || len(w.Incidents(IncidentQuery{})) > 0 {
		t.Fatalf("peace is an attack: %+v", c)
	}
	w.sample(30)
	w.ticks(5, status.VectorUDP, 50000)
	w.sample(20)
	w.ticks(5, status.VectorUDP, 50000)
	c := w.condition("under-attack")
	if c == nil || c.Subject != "web" || c.Severity != health.Warning || c.Title != "Under attack: UDP flood on web" || !strings.Contains(c.Detail, "50,000 packets a second") {
		t.Errorf("the condition is %+v", c)
	}
	open := w.Incidents(IncidentQuery{Open: true})
	if len(open) != 1 || open[0].ID != 1 || open[0].Evidence.Samples != 50 || open[0].Evidence.Sources[0].Value != "192.0.2.1" || len(open[0].Series) > 0 {
		t.Fatalf("got %+v", open)
	}
	if i, err := w.Incident(1); err != nil || len(i.Series) < 7 {
		t.Errorf("while it goes on it has %d points, error %v", len(i.Series), err)
	}
	w.ticks(30, status.VectorUDP, 10)
	if c := w.condition("under-attack"); c != nil {
		t.Errorf("30 s later: %+v", c)
	}
	assertOver := func(when string) {
		t.Helper()
		i, err := w.Incident(1)
		packets, errPackets := w.IncidentPackets(1)
		if err := errors.Join(err, errPackets); err != nil || i.Open() || len(i.Series) < 20 || len(packets) != 50 || i.Vector != status.VectorUDP || i.Seconds < 8 {
			t.Errorf("%s: error %v, %d packets, %d points, %d s", when, err, len(packets), len(i.Series), i.Seconds)
		}
	}
	assertOver("at its end")
	w.restart()
	assertOver("after a restart")
	w.ticks(100, status.VectorUDP, 10)
	w.ticks(10, status.VectorUDP, 50000)
	if list := w.Incidents(IncidentQuery{}); len(list) != 2 || list[0].ID != 2 || !list[0].Open() {
		t.Errorf("after a restart the next is %+v", list)
	}
	for _, test := range []struct {
		query IncidentQuery
		want  string
	}{
		{IncidentQuery{}, "[2 1]"},
		{IncidentQuery{Limit: 1}, "[2]"},
		{IncidentQuery{Before: 2}, "[1]"},
		{IncidentQuery{Open: true}, "[2]"},
		{IncidentQuery{Service: "web", Vector: status.VectorUDP}, "[2 1]"},
		{IncidentQuery{Service: "other"}, "[]"},
		{IncidentQuery{Vector: status.VectorSYN}, "[]"},
	} {
		ids := []uint64{}
		for _, i := range w.Incidents(test.query) {
			ids = append(ids, i.ID)
		}
		if got := fmt.Sprint(ids); got != test.want {
			t.Errorf("%+v: got %s, want %s", test.query, got, test.want)
		}
	}
	if _, err := w.Incident(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestControlCrashesDuringAnIncident(t *testing.T) {
	w := newTower(t)
	w.ticks(100, status.VectorUDP, 10)
	w.sample(5)
	w.ticks(50, status.VectorUDP, 50000)
	w.restart()
	i, err := w.Incident(1)
	if err != nil || i.Open() || !strings.Contains(i.Note, "restarted") {
		t.Errorf("after a restart: %+v, %v", i, err)
	}
	w.ticks(5, status.VectorUDP, 50000)
	i, err = w.Incident(1)
	packets, errPackets := w.IncidentPackets(1)
	if err := errors.Join(err, errPackets); err != nil || len(i.Series) < 15 || len(packets) != 5 {
		t.Errorf("it has %d points and %d packets, error %v", len(i.Series), len(packets), err)
	}
	if open := w.Incidents(IncidentQuery{Open: true}); len(open) != 1 || open[0].ID != 2 {
		t.Errorf("what comes after a restart is %+v", open)
	}
}

func TestNoDefenceIsCritical(t *testing.T) {
	w := newTower(t)
	w.seen.Shield.Mode = plan.ShieldMonitor
	w.ticks(100, status.VectorUDP, 10)
	w.ticks(10, status.VectorUDP, 50000)
	if c := w.condition("under-attack"); c == nil || c.Severity != health.Critical || !strings.Contains(c.Detail, "would have dropped") {
		t.Errorf("in mode monitor: %+v", c)
	}
}

func TestAFullLineIsTold(t *testing.T) {
	w := newTower(t)
	w.ticks(100, status.VectorUDP, 10)
	for range 10 {
		w.seen.Interfaces[0].Rx.Bytes += 120e6
		w.ticks(1, status.VectorUDP, 80000)
	}
	if c := w.condition("line-full"); c == nil || c.Subject != "wan0" || !strings.Contains(c.Detail, "no filter behind it can help, ask your provider") {
		t.Errorf("got %+v", c)
	}
	if lines := w.Lines(); len(lines) != 1 || !lines[0].Full {
		t.Errorf("the lines are %+v", lines)
	}
	w.ticks(30, status.VectorUDP, 10)
	if c := w.condition("line-full"); c != nil {
		t.Errorf("30 s later: %+v", c)
	}
}

func TestDryRun(t *testing.T) {
	w := newTower(t)
	w.seen.Shield.Mode = plan.ShieldMonitor
	w.ticks(1, status.VectorUDP, 10)
	w.ticks(1, status.VectorACK, 20)
	w.edge.Observe(w.seen)
	for _, reason := range []status.Reason{status.Reflection, status.AddressRate, status.Reflection} {
		w.edge.Sample(status.Sample{Service: "web", Vector: status.VectorUDP, Verdict: status.SampleWould, Reason: reason})
	}
	w.edge.Sample(status.Sample{Service: "web", Vector: status.VectorUDP, Verdict: status.SamplePass})
	d, err := w.DryRun(t.Context())
	if err != nil || d.Mode != plan.ShieldMonitor || len(d.Vectors) != 2 || d.Vectors[0].Would != 20 || len(d.Vectors[0].Reasons) != 0 {
		t.Fatalf("got %+v, %v", d, err)
	}
	if got, want := d.Vectors[1].Reasons, []WouldReason{{status.Reflection, 2}, {status.AddressRate, 1}}; !slices.Equal(got, want) {
		t.Errorf("the reasons are %v, want %v", got, want)
	}
}

const alertDocument = `{ "schema": 1, "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] }, "pools": [], "services": [],
  "alerts": { "webhooks": [ { "name": "on-call" } ] }, "shield": { "sensitivity": "high" } }`

// inbox is a web server that keeps what it gets.
type inbox struct {
	*httptest.Server
	mu   sync.Mutex
	list []alert.Message
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		var m alert.Message
		if err := json.Unmarshal(data, &m); err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.list = append(b.list, m)
		_, _ = w.Write([]byte("thanks"))
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *inbox) events() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.list {
		list = append(list, string(m.Event)+" "+m.Title)
	}
	return list
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestAlerts(t *testing.T) {
	w := newTower(t)
	defer w.endAlerts()
	b := newInbox(t)
	if _, err := w.TestAlerts(t.Context()); !errors.Is(err, ErrNoAlerts) {
		t.Errorf("without settings: %v", err)
	}
	if _, err := w.Propose(t.Context(), []byte(alertDocument), Meta{Author: "anna"}); err != nil {
		t.Fatal(err)
	}
	w.keepAlerts(t.Context())
	if c := w.condition(alertMissing); c == nil || c.Subject != "webhook:on-call" {
		t.Errorf("without its secret: %+v", c)
	}
	if trials, err := w.TestAlerts(t.Context()); err != nil || len(trials) != 1 || trials[0].Delivered {
		t.Errorf("without its secret: %+v, %v", trials, err)
	}
	if err := w.SetSecret("webhook:on-call", b.URL+"/s3cret", "anna"); err != nil {
		t.Fatal(err)
	}
	w.keepAlerts(t.Context())
	if c := w.condition(alertMissing); c != nil {
		t.Errorf("with its secret: %+v", c)
	}
	if trials, err := w.TestAlerts(t.Context()); err != nil || len(trials) != 1 || trials[0] != (AlertTrial{"webhook:on-call", true, "200 OK thanks"}) {
		t.Errorf("got %+v, %v", trials, err)
	}
	w.ticks(100, status.VectorUDP, 1)
	w.ticks(10, status.VectorUDP, 400) // enough for the sensitivity of the settings
	w.ticks(30, status.VectorUDP, 1)
	want := []string{"test breakwater: test", "start breakwater: UDP flood on web", "end breakwater: over: UDP flood on web"}
	waitFor(t, "the messages arrive", func() bool { return len(b.events()) == 3 })
	if got := b.events(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	b.Close()
	w.ticks(100, status.VectorUDP, 1)
	w.ticks(10, status.VectorUDP, 400)
	waitFor(t, "a failure is told", func() bool { return w.condition(alertFailing) != nil })
	if c := w.condition(alertFailing); strings.Contains(c.Detail, "s3cret") {
		t.Errorf("the condition shows the secret: %s", c.Detail)
	}
	if err := w.DeleteSecret("webhook:on-call"); err != nil {
		t.Fatal(err)
	}
	w.keepAlerts(t.Context())
	if c := w.condition(alertFailing); c != nil || w.condition(alertMissing) == nil {
		t.Errorf("after its secret was taken away: %+v", c)
	}
}

func TestSecretsAreJudgedAndNotShown(t *testing.T) {
	w := newTower(t)
	for name, secret := range map[string]string{
		"webhook:on-call": "not a URL", "webhook:": "https://example.org/", "webhook:A b": "https://example.org/", "token": "x", "email": "", "webhook:a": "ftp://s3cret.example/",
	} {
		_, refused := errors.AsType[*SecretRefused](w.SetSecret(name, secret, "anna"))
		if !refused {
			t.Errorf("%s=%q is taken", name, secret)
		}
	}
	if err := w.SetSecret("email", "s3cret", "anna"); err != nil {
		t.Fatal(err)
	}
	list, err := w.Secrets()
	if err != nil || len(list) != 1 || !list[0].Set || list[0].Needed || list[0].Author != "anna" {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := w.DeleteSecret("webhook:none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestMessagesLeaveTheBox holds the guard to what it must refuse: the box itself, and what only it can reach.
func TestMessagesLeaveTheBox(t *testing.T) {
	w := newTower(t)
	for _, address := range []string{"127.0.0.1:80", "[::1]:80", "169.254.169.254:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:25", "224.0.0.1:80"} {
		if err := w.guard(nothingSent)(t.Context(), "tcp", address, nil); err == nil || !strings.Contains(err.Error(), "where no message is sent") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"192.0.2.1:443", "10.0.0.5:8123"} {
		if err := w.guard(nothingSent)(t.Context(), "tcp", address, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
