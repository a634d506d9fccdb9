package control_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/lists"
	"breakwater/appliance/lists/mmdbtest"
	"breakwater/appliance/store"
)

// listBox is a control that runs, and a server of lists on loopback.
type listBox struct {
	*control.Control
	t      *testing.T
	dir    string
	edge   *edgetest.Edge
	clock  atomic.Int64 // ahead of the time of day, in ns
	dial   func(context.Context, string, string) (net.Conn, error)
	server *httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	end    func()
}

func newListBox(t *testing.T) *listBox {
	t.Helper()
	b := &listBox{t: t, dir: t.TempDir(), edge: edgetest.Start(t), dial: new(net.Dialer).DialContext}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*b.answer.Load())(w, r) }))
	t.Cleanup(b.server.Close)
	b.serve("192.0.2.0/24\n")
	b.start()
	t.Cleanup(func() { b.end() })
	return b
}

func (b *listBox) start() {
	b.t.Helper()
	s, report, err := store.Open(b.dir, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Control, err = control.New(control.Options{
		Store: s, Report: report, Edge: edgelink.New(b.edge.Socket), Now: func() time.Time { return time.Now().Add(time.Duration(b.clock.Load())) },
		Lists: control.ListOptions{Dir: filepath.Join(b.dir, "lists"), Dial: b.dial},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.end = func() {
		cancel()
		<-done
		_ = s.Close()
	}
}

// restart is what a new process finds.
func (b *listBox) restart() {
	b.end()
	b.start()
}

func (b *listBox) serve(text string) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	b.answer.Store(&h)
}

func (b *listBox) handle(h http.HandlerFunc) { b.answer.Store(&h) }

// shield applies settings with this shield.
func (b *listBox) shield(text string) {
	b.t.Helper()
	document := fmt.Appendf(nil, `{ "schema": 1, "edge": { "interfaces": [], "addresses": [] }, "pools": [], "services": [], "shield": %s }`, text)
	if _, err := b.Propose(b.t.Context(), document, control.Meta{Author: "anna", Reason: "lists"}); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for something.
func (b *listBox) until(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			all, geo, err := b.Lists()
			b.t.Fatalf("%s never came about; lists %+v, %+v, %v", what, all, geo, err)
		}
	}
}

// class is the class that edge gives an address.
func (b *listBox) class(address string) string {
	t := b.edge.Lists()
	if t == nil {
		return ""
	}
	n := t.Lookup(netip.MustParseAddr(address))
	if n == lists.None {
		return ""
	}
	c := t.Classes[n-lists.First]
	return fmt.Sprint(c.Kind, c.Name, c.Pass)
}

func (b *listBox) has(code, subject string) bool {
	s, err := b.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range s.Conditions {
		if c.Code == code && c.Subject == subject {
			return c.Severity == health.Warning && c.Detail != ""
		}
	}
	return false
}

func (b *listBox) list(name string) control.ListFile {
	all, geo, err := b.Lists()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range append(all, geo...) {
		if f.Name == name {
			return f
		}
	}
	return control.ListFile{}
}

// TestListFromURL: it is fetched, used, and the last good one stays whatever comes after it, also over a restart; once it is too
// old it is not used any more.
func TestListFromURL(t *testing.T) {
	b := newListBox(t)
	b.shield(`{ "lists": [ { "name": "drop", "url": "` + b.server.URL + `/drop.txt", "refresh": "1h", "expiry": "10h" } ] }`)
	b.until("the list", func() bool { return b.class("192.0.2.1") == "0dropfalse" })
	b.until("its state", func() bool {
		f := b.list("drop")
		return f.InUse && f.Entries == 1 && f.Error == "" && !f.Expires.IsZero()
	})
	later := func(d time.Duration) { b.clock.Add(int64(d)) }

	b.serve("192.0.2.0/24\nbroken\n\n300.0.0.1\n")
	later(2 * time.Hour)
	b.until("the broken lines", func() bool { return b.list("drop").Lines == 2 })
	if f := b.list("drop"); f.Broken[0].Line != 2 || f.Broken[1].Line != 4 || f.Entries != 1 || !b.has("list-failed", "drop") {
		t.Errorf("got %+v", f)
	}
	for _, test := range []struct {
		name, text string
		answer     http.HandlerFunc
	}{
		{"an empty list", "has no entry", func(http.ResponseWriter, *http.Request) {}},
		{"an error", "answered 404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }},
		{"a page", "broken lines", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\n") }},
		{"a list without an end", "too large", func(w http.ResponseWriter, _ *http.Request) {
			for line := []byte(strings.Repeat("# x\n", 10000)); ; {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}},
		{"a list that breaks off", "broke off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "192.0.2.0/24\n")
		}},
		{"another scheme", "by https or http only", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}},
		{"a redirect without an end", "leads elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }},
	} {
		b.handle(test.answer)
		later(40 * time.Minute)
		b.until(test.name, func() bool { return strings.Contains(b.list("drop").Error, test.text) })
		if f := b.list("drop"); !f.InUse || f.Entries != 1 || b.class("192.0.2.1") != "0dropfalse" {
			t.Errorf("%s: got %+v", test.name, f)
		}
	}
	b.restart()
	if f := b.list("drop"); f.Entries != 1 || f.Error == "" {
		t.Errorf("after a restart: got %+v", f)
	}
	later(10 * time.Hour)
	b.until("its end", func() bool { return b.class("192.0.2.1") == "" && b.has("list-expired", "drop") })
	b.handle(func(w http.ResponseWriter, _ *http.Request) { // packed, as publishers of large ones do
		packed := gzip.NewWriter(w)
		_, _ = io.WriteString(packed, "198.51.100.0/24\n")
		_ = packed.Close()
	})
	later(time.Hour)
	b.until("the new list", func() bool {
		return b.class("198.51.100.9") == "0dropfalse" && !b.has("list-expired", "drop") && !b.has("list-failed", "drop")
	})
	b.shield(`{}`)
	b.until("no list", func() bool { return b.edge.Lists().Empty() })
}

// TestListOfThisBox: a URL must not make the box ask itself.
func TestListOfThisBox(t *testing.T) {
	b := newListBox(t)
	b.end()
	b.dial = nil
	b.start()
	b.shield(`{ "lists": [ { "name": "drop", "url": "` + b.server.URL + `/" } ] }`)
	b.until("its refusal", func() bool { return strings.Contains(b.list("drop").Error, "is loopback") })
}

// TestUploadedList: only what the settings name can be uploaded, and what is broken leaves the former one.
func TestUploadedList(t *testing.T) {
	b := newListBox(t)
	b.shield(`{ "lists": [ { "name": "friends", "action": "allow" }, { "name": "first" }, { "name": "second" }, { "name": "far", "url": "` + b.server.URL + `/" } ] }`)
	b.until("the condition", func() bool { return b.has("list-missing", "friends") })
	take := func(name, text string) error {
		_, err := b.TakeList(name, strings.NewReader(text))
		return err
	}
	for name, text := range map[string]string{"friends": "192.0.2.1", "first": "192.0.2.0/24", "second": "192.0.0.0/16\n192.0.2.0/25"} {
		if err := take(name, text); err != nil {
			t.Fatal(err)
		}
	}
	b.until("the table", func() bool { return b.class("192.0.2.1") == "0friendstrue" && b.class("192.0.9.9") == "0secondfalse" })
	if got := b.class("192.0.2.2"); got != "0firstfalse" || b.has("list-missing", "friends") {
		t.Errorf("the second list has %s", got)
	}
	refusal, ok := errors.AsType[*control.ListUnusable](take("first", "192.0.2.1\nx\n"))
	if !ok || refusal.Lines != 1 || refusal.Broken[0].Line != 2 || b.class("192.0.2.2") != "0firstfalse" {
		t.Errorf("a broken list: %+v", refusal)
	}
	if err := take("unknown", "192.0.2.1"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("an unknown list: %v", err)
	}
	if _, ok := errors.AsType[*control.ListUnusable](take("far", "192.0.2.1")); !ok {
		t.Error("a list with a URL is uploaded")
	}
	b.edge.Stop()
	b.edge.Restart()
	b.until("the table of the next edge", func() bool { return b.class("192.0.2.1") == "0friendstrue" })
	b.restart()
	b.edge.Stop()
	b.edge.Restart()
	b.until("the table of the next control", func() bool { return b.class("192.0.2.1") == "0friendstrue" })
}

// TestDamagedList: a file that cannot be read any more keeps no other from being used, and is told.
func TestDamagedList(t *testing.T) {
	b := newListBox(t)
	b.shield(`{ "lists": [ { "name": "one" }, { "name": "two" } ] }`)
	for name, address := range map[string]string{"one": "192.0.2.1", "two": "192.0.2.2"} {
		if _, err := b.TakeList(name, strings.NewReader(address)); err != nil {
			t.Fatal(err)
		}
	}
	b.until("both in force", func() bool { return b.class("192.0.2.1") != "" && b.class("192.0.2.2") != "" })
	b.end()
	if err := os.WriteFile(filepath.Join(b.dir, "lists", "one.list"), []byte("\x00\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.until("the other alone in force", func() bool { return b.class("192.0.2.1") == "" && b.class("192.0.2.2") == "0twofalse" })
	b.until("it is told", func() bool { return b.has("list-missing", "one") && b.list("one").Error != "" })
	if _, err := b.TakeList("one", strings.NewReader("192.0.2.3")); err != nil {
		t.Fatal(err)
	}
	b.until("both in force again", func() bool { return b.class("192.0.2.3") == "0onefalse" && b.class("192.0.2.2") == "0twofalse" })
}

// TestCountriesAndNetworks: what lists say wins over AS numbers, and those over countries; without a file nobody is turned away,
// and a condition says so.
func TestCountriesAndNetworks(t *testing.T) {
	b := newListBox(t)
	b.shield(`{ "lists": [ { "name": "friends", "action": "allow" } ], "countries": { "deny": ["AQ"] }, "networks": { "deny": [64496], "allow": [64497] } }`)
	b.until("the conditions", func() bool { return b.has("geo-unknown", "countries") && b.has("geo-unknown", "networks") })
	if _, err := b.TakeList("friends", strings.NewReader("192.0.2.7\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TakeGeo(strings.NewReader("no such file")); err == nil {
		t.Error("anything is taken")
	}
	type m = mmdbtest.Map
	taken, err := b.TakeGeo(strings.NewReader(string(mmdbtest.Write("Test-Both", "free for all", map[string]any{
		"192.0.2.0/24":    m{"country_code": "AQ"},
		"192.0.3.0/24":    m{"country_code": "AQ", "asn": "AS64497"},
		"198.51.100.0/24": m{"country_code": "DE", "asn": "AS64496"},
		"203.0.113.0/24":  m{"country_code": "DE"},
		"2001:db8::/32":   m{"country_code": "AQ"},
	}))))
	if err != nil || len(taken) != 2 || taken[0].Licence != "free for all" || taken[0].Entries != 5 || taken[1].Entries != 2 {
		t.Fatalf("got %+v, %v", taken, err)
	}
	b.until("the table", func() bool { return b.class("192.0.2.1") == "2AQfalse" })
	for address, want := range map[string]string{
		"192.0.2.7": "0friendstrue", "192.0.3.1": "", "198.51.100.1": "1AS64496false", "203.0.113.1": "", "2001:db8::1": "2AQfalse", "9.9.9.9": "",
	} {
		if got := b.class(address); got != want {
			t.Errorf("%s has class %q, want %q", address, got, want)
		}
	}
	b.shield(`{ "countries": { "allow": ["DE"] } }`)
	b.until("the other rule", func() bool { return b.class("9.9.9.9") == "2othersfalse" })
	for address, want := range map[string]string{"203.0.113.1": "", "192.0.2.7": "2othersfalse", "10.1.2.3": "", "fe80::1": "", "2001:db9::1": "2othersfalse"} {
		if got := b.class(address); got != want {
			t.Errorf("%s has class %q, want %q", address, got, want)
		}
	}
	// The file is damaged on the disk: nobody is turned away for it.
	file := filepath.Join(b.dir, "lists", "geo", "countries.mmdb")
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.until("nobody is turned away", func() bool { return b.class("9.9.9.9") == "" && b.has("geo-unknown", "countries") })
}
