package control_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
	"breakwater/appliance/update"
)

const (
	running = "20261101.000000"
	newer   = "20261129.090833"
	newest  = "20261130.090833"
)

func TestAnUpdateIsReceivedAndInstalled(t *testing.T) {
	b := newUpdateBox(t)
	b.want(control.UpdateNone, "", "")
	if _, err := b.InstallUpdate(); !errors.Is(err, control.ErrNoUpdate) {
		t.Errorf("with nothing to install: %v", err)
	}
	if err := b.receive(b.made(newer, b.key, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if u := b.want(control.UpdateReceived, newer, ""); u.Version != running || u.Slot != "A" || u.Release.Notes != "- New.\n" {
		t.Errorf("got %+v", u)
	}
	b.runs.Store(&host.System{Version: running, Slot: "A", Other: newer}) // the power went between the slot's name and its kernel
	b.restart()
	b.want(control.UpdateReceived, newer, "")
	if got := b.condition("update-installed"); got != "" {
		t.Errorf("the condition is %q", got)
	}
	b.runs.Store(&host.System{Version: running, Slot: "A"})

	failed := error(&host.Failed{Unit: host.Update, Why: "there is not enough room"})
	b.install.Store(&failed)
	if _, err := b.InstallUpdate(); err != nil {
		t.Fatal(err)
	}
	b.want(control.UpdateInstalling, newer, "")
	if err := b.receive(b.made(newest, b.key, 1)); !errors.Is(err, control.ErrUpdateBusy) {
		t.Errorf("while it is installed: %v", err)
	}
	if err := errors.Join(second(b.InstallUpdate()), b.ForgetUpdate()); !errors.Is(err, control.ErrUpdateBusy) {
		t.Errorf("while it is installed: %v", err)
	}
	b.proceed <- struct{}{}
	b.runUntil(b.state(control.UpdateReceived))
	b.want(control.UpdateReceived, newer, "There is not enough room.")

	b.install.Store(new(error))
	b.proceed <- struct{}{}
	if _, err := b.InstallUpdate(); err != nil {
		t.Fatal(err)
	}
	b.runUntil(b.state(control.UpdateInstalled))
	b.runs.Store(&host.System{Version: running, Slot: "A", Other: newer})
	b.want(control.UpdateInstalled, newer, "")
	if got := b.condition("update-installed"); !strings.Contains(got, newer) {
		t.Errorf("the condition is %q", got)
	}
	if _, err := b.InstallUpdate(); !errors.Is(err, control.ErrNoUpdate) {
		t.Errorf("twice: %v", err)
	}
	if got := b.files(); slices.Contains(got, "incoming") {
		t.Errorf("left behind: %q", got)
	}
	b.restart()
	b.want(control.UpdateInstalled, newer, "")
	if err := b.ForgetUpdate(); !errors.Is(err, control.ErrNoUpdate) {
		t.Errorf("what is installed was forgotten: %v", err)
	}
}

// TestWhatIsRefusedLeavesWhatThereWas: the update from before can still be installed, and nothing of the other is kept.
func TestWhatIsRefusedLeavesWhatThereWas(t *testing.T) {
	b := newUpdateBox(t)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.receive(b.made(newer, b.key, 1<<20)); err != nil {
		t.Fatal(err)
	}
	b.runs.Store(&host.System{Version: running, Slot: "A", Other: "20270101.000000", Failed: []string{"20270101.000000"}})
	whole := b.made(newest, b.key, 1<<20)
	flipped := bytes.Clone(whole)
	flipped[len(whole)-3000] ^= 1
	gone := errors.New("the connection was reset")
	tests := []struct {
		name, reason string
		in           io.Reader
		size         int64
		want         error
	}{
		{"another key", "not signed", bytes.NewReader(b.made(newest, other, 1)), 0, &update.Error{Fault: update.BadSignature}},
		{"older", "is older than", bytes.NewReader(b.made("20200101.000000", b.key, 1)), 0, &update.Error{Fault: update.Older}},
		{"the same", "runs already", bytes.NewReader(b.made(running, b.key, 1)), 0, &update.Error{Fault: update.Same}},
		{"given up", "was given up", bytes.NewReader(b.made("20270101.000000", b.key, 1)), 0, control.ErrUpdateGivenUp},
		{"cut short", "cut short", bytes.NewReader(whole[:len(whole)/2]), int64(len(whole)), &update.Error{Fault: update.CutShort}},
		{"a bit", "damaged", bytes.NewReader(flipped), 0, &update.Error{Fault: update.Damaged}},
		{"too large", "larger than 1024 MiB", bytes.NewReader(whole), 1<<30 + 1, &update.Error{Fault: update.TooLarge}},
		{"broken off", "connection was reset", io.MultiReader(bytes.NewReader(whole[:9000]), iotest.ErrReader(gone)), 0, gone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.ReceiveUpdate(test.in, test.size)
			want, typed := errors.AsType[*update.Error](test.want)
			got, _ := errors.AsType[*update.Error](err)
			if typed && (got == nil || got.Fault != want.Fault) || !typed && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			b.want(control.UpdateReceived, newer, test.reason)
			if got := b.files(); !slices.Equal(got, []string{"incoming"}) {
				t.Errorf("the directory has %q, want the update from before", got)
			}
		})
	}
	if err := b.ForgetUpdate(); err != nil {
		t.Fatal(err)
	}
	b.want(control.UpdateNone, "", "")
	if err := b.ForgetUpdate(); !errors.Is(err, control.ErrNoUpdate) || len(b.files()) > 0 {
		t.Errorf("forgotten twice: %v, %q", err, b.files())
	}
}

// TestWhatARestartFinds: half an upload, an update that runs by now, and a file of somebody else.
func TestWhatARestartFinds(t *testing.T) {
	b := newUpdateBox(t)
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.options.Dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{"runs already": b.made(running, b.key, 1), "is none": []byte("PK"), "is empty": nil} {
		write(".4711.part", []byte("half"))
		write("incoming", content)
		b.restart()
		b.want(control.UpdateNone, "", "")
		if got := b.files(); len(got) > 0 {
			t.Errorf("%s: left %q", name, got)
		}
	}
}

func TestAnUpdateIsFetched(t *testing.T) {
	b := newUpdateBox(t)
	whole := b.made(newer, b.key, 4<<20)
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/newest":
			_, _ = w.Write(whole)
		case "/old":
			_, _ = w.Write(b.made("20200101.000000", b.key, 1))
		case "/again":
			http.Redirect(w, r, "/again", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, "ftp://198.51.100.1/x", http.StatusFound)
		case "/twice":
			http.Redirect(w, r, "/newest", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "5000000")
			_, _ = w.Write(whole[:100_000])
		default:
			http.NotFound(w, r)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	if err := b.FetchUpdate(); !errors.Is(err, control.ErrNoUpdateURL) {
		t.Errorf("without a URL: %v", err)
	}
	for _, test := range []struct{ path, reason string }{
		{"/none", "the server answered 404 Not Found."}, {"/old", "is older than"}, {"/again", "leads elsewhere more than 3 times"},
		{"/elsewhere", "by https or http only"}, {"/short", "cut short: it ends after 100000 bytes"}, {"/newest", ""}, {"/twice", ""},
	} {
		document := bytes.Replace(documentWith("one"), []byte(`"schema": 1,`), []byte(`"schema": 1, "updates": {"url": "`+server.URL+test.path+`"},`), 1)
		if _, err := b.Propose(t.Context(), document, control.Meta{}); err != nil {
			t.Fatal(err)
		}
		if err := b.FetchUpdate(); err != nil {
			t.Fatal(err)
		}
		if err := b.FetchUpdate(); !errors.Is(err, control.ErrUpdateBusy) {
			t.Errorf("twice at once: %v", err)
		}
		if test.reason == "" {
			b.runUntil(b.state(control.UpdateReceived))
			b.want(control.UpdateReceived, newer, "")
			continue
		}
		b.runUntil(b.state(control.UpdateNone))
		b.want(control.UpdateNone, "", test.reason)
	}
}

// TestTheServerOfUpdatesIsNotThisBox: without a dialer of the test's own, loopback is refused, whatever leads there.
func TestTheServerOfUpdatesIsNotThisBox(t *testing.T) {
	b := newUpdateBox(t)
	b.options.Dial = nil
	b.restart()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, url := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), strings.Replace(server.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		document := bytes.Replace(documentWith("one"), []byte(`"schema": 1,`), []byte(`"schema": 1, "updates": {"url": "`+url+`/"},`), 1)
		if _, err := b.Propose(t.Context(), document, control.Meta{}); err != nil {
			t.Fatal(err)
		}
		if err := b.FetchUpdate(); err != nil {
			t.Fatal(err)
		}
		b.runUntil(b.state(control.UpdateNone))
		b.want(control.UpdateNone, "", "is loopback, where nothing is fetched from")
	}
}

// TestOriginsThatWereUp: the version that starts is asked for one of those that were up before, and for no others.
func TestOriginsThatWereUp(t *testing.T) {
	b := newUpdateBox(t)
	pools := func(origins ...status.Origin) {
		b.edge.Observe(status.Edge{Pools: []status.Pool{{Name: "games", Origins: origins}}})
	}
	pools(status.Origin{Name: "one", Up: true, Checks: 9}, status.Origin{Name: "two", Checks: 9}, status.Origin{Name: "three", Up: true, State: plan.Active},
		status.Origin{Name: "four", Up: true, Checks: 1})
	b.runs.Store(&host.System{Version: running, Slot: "A", Other: newer})
	if err := b.Restart(t.Context()); !errors.Is(err, control.ErrNoAppliance) { // the test has no systemd
		t.Fatal(err)
	}
	missing := func(want ...string) {
		t.Helper()
		if u, err := b.Update(t.Context()); err != nil || !slices.Equal(u.Missing, want) {
			t.Errorf("missing are %q, %v, want %q", u.Missing, err, want)
		}
	}
	pools(status.Origin{Name: "one"})
	missing() // it is about the next version
	b.runs.Store(&host.System{Version: newer, Slot: "B", Other: running})
	b.restart()
	pools(status.Origin{Name: "one"}, status.Origin{Name: "two", Up: true}, status.Origin{Name: "three", Up: true}, status.Origin{Name: "four"})
	missing("games/one", "games/four")
	pools(status.Origin{Name: "one"}, status.Origin{Name: "four", Up: true})
	missing("games/one", "games/four") // four was not checked yet
	pools(status.Origin{Name: "one"}, status.Origin{Name: "four", Up: true, Checks: 2, Failures: 2})
	missing("games/one", "games/four")
	pools(status.Origin{Name: "one"}, status.Origin{Name: "four", Up: true, Checks: 3, Failures: 2})
	missing()
	pools(status.Origin{Name: "one"})
	missing("games/one") // the settings have no four any more
	pools(status.Origin{Name: "five"})
	missing()
	b.edge.Stop()
	missing()
}

func TestAVersionThatWasGivenUpIsTold(t *testing.T) {
	b := newUpdateBox(t)
	b.runs.Store(&host.System{Version: running, Slot: "A", Other: newer, Failed: []string{newer}})
	b.restart()
	b.want(control.UpdateNone, "", "")
	if got := b.condition("update-given-up"); !strings.Contains(got, "It was started and did not come far enough to say what was wrong, or the one that runs was chosen instead. Version "+running+" runs") {
		t.Errorf("the condition is %q", got)
	}
	said := `{"version":"` + newer + `","reason":"this version is not healthy: the web page does not answer."}`
	if err := os.WriteFile(filepath.Join(b.options.Dir, control.UnhealthyName), []byte(said), 0o600); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if got := b.condition("update-given-up"); !strings.Contains(got, "and said: this version is not healthy: the web page does not answer. Version") {
		t.Errorf("the condition is %q", got)
	}
}

// TestAVersionThatWasLeftByChoice is not told as one that was given up, although it said once why it was not healthy.
func TestAVersionThatWasLeftByChoice(t *testing.T) {
	b := newUpdateBox(t)
	b.runs.Store(&host.System{Version: newer, Slot: "B", Other: running})
	said := `{"version":"` + newer + `","reason":"this version is not healthy: the web page does not answer."}`
	if err := os.WriteFile(filepath.Join(b.options.Dir, control.UnhealthyName), []byte(said), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(now host.System) {
		t.Helper()
		if err := b.StartOther(t.Context()); !errors.Is(err, control.ErrNoAppliance) { // it has no systemd
			t.Fatal(err)
		}
		b.runs.Store(&now)
		b.restart()
	}
	start(host.System{Version: running, Slot: "A", Other: newer, Failed: []string{newer}})
	if got := b.codes(); !slices.Contains(got, "update-left") || slices.Contains(got, "update-given-up") {
		t.Errorf("left by choice: the conditions are %q", got)
	}
	start(host.System{Version: running, Slot: "A", Other: newer, Failed: []string{newer}})
	if got := b.codes(); !slices.Contains(got, "update-given-up") || slices.Contains(got, "update-left") {
		t.Errorf("chosen again, and given up: the conditions are %q", got)
	}
}

func TestNoApplianceTakesNoUpdate(t *testing.T) {
	b := newBox(t)
	_, err := b.ReceiveUpdate(strings.NewReader("x"), 1)
	for _, err := range []error{err, b.FetchUpdate(), second(b.InstallUpdate()), b.ForgetUpdate()} {
		if !errors.Is(err, control.ErrNoAppliance) {
			t.Errorf("got %v, want ErrNoAppliance", err)
		}
	}
	if u, err := b.Update(t.Context()); err != nil || u.Version != "" || u.State != control.UpdateNone {
		t.Errorf("got %+v, %v", u, err)
	}
}

// TestSettingsOfANewerVersionAreNotReplaced: a box that is back on an older version changes nothing that it cannot read.
func TestSettingsOfANewerVersionAreNotReplaced(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	newer := []byte(`{"schema": 2, "unheard": {"of": 1}}`)
	if _, err := b.store.Commit(store.Revision{Author: "the newer version", Time: time.Unix(1e9, 0), Document: newer}); err != nil {
		t.Fatal(err)
	}
	b.crash()
	if _, err := b.propose("two", 0); !errors.Is(err, control.ErrNewer) {
		t.Errorf("a change: got %v, want ErrNewer", err)
	}
	if _, err := b.propose("two", time.Minute); !errors.Is(err, control.ErrNewer) {
		t.Errorf("a change that waits: got %v, want ErrNewer", err)
	}
	if r, err := b.Current(); err != nil || r.Number != 2 || !bytes.Equal(r.Document, newer) {
		t.Errorf("current is revision %d, %s, %v", r.Number, r.Document, err)
	}
	if _, err := b.Rollback(t.Context(), 1, control.Meta{}); err != nil {
		t.Errorf("back to what this version has made: %v", err)
	}
	b.assert(3, "one")
	if r, err := b.Revision(2); err != nil || !bytes.Equal(r.Document, newer) {
		t.Errorf("revision 2 is %s, %v", r.Document, err)
	}
}
