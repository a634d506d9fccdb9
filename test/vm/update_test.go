//go:build vm

package vm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/appliance/update"
)

const (
	uploadWait  = 5 * time.Minute
	installWait = 10 * time.Minute // for writing a slot
	giveUpWait  = 25 * time.Minute // for three starts, and that of the version before
)

// Versions that a box is brought to; later than every other.
const (
	next  = "99990101.000000"
	after = "99990102.000000"
)

// TestUpdate is the life of a box: an update stays, since it is found healthy; the one after it does not, since an origin
// that was up does not come back.
func TestUpdate(t *testing.T) {
	next, after := built(t, next), built(t, after)
	m := boot(t, freePort(t), "", "-smbios", credential(t, "unit-dropin", "breakwater-healthy.service"))
	origin, stop := serveOnce(t)
	o := newOwner(t, m, origin)
	first := o.update(t)
	if first.Slot != "A" || first.Other != "" || first.State != control.UpdateNone {
		t.Fatalf("a new box: %+v", first)
	}
	ok := t.Run("healthy", func(t *testing.T) {
		o.put(t, bytes.NewReader(read(t, next)), http.StatusOK, "")
		o.install(t)
		u := o.wait(t, bootWait, func(u control.Update) bool { return u.Version != first.Version })
		if u.Slot != "B" || u.Other != first.Version {
			t.Errorf("it runs %+v", u)
		}
		r := waitForReport(t, m, func(r map[string]string) bool { return strings.Contains(r["entries"], "breakwater_"+u.Version+".efi") })
		t.Logf("entries:\n%s\ntrials:\n%s", r["entries"], r["trials"])
		checkSystem(t, r)
		o.wantSettings(t)
		o.put(t, bytes.NewReader(read(t, updateIn(t, "../../build/image"))[:4<<20]), http.StatusConflict, "update-older")
	}) && t.Run("unhealthy", func(t *testing.T) {
		before := o.update(t)
		o.put(t, bytes.NewReader(read(t, after)), http.StatusOK, "")
		o.install(t)
		stop()
		u := o.wait(t, giveUpWait, func(u control.Update) bool { return u.Version == before.Version && len(u.Failed) > 0 })
		if u.Slot != "B" {
			t.Errorf("it went back to %+v", u)
		}
		screen := waitFor(t, m, answerWait, func() (string, bool) {
			s := m.screen()
			return s, strings.Contains(s, "is newer and not started: ") && strings.Contains(s, "READY  Revision 1 is in force.")
		})
		if !strings.HasPrefix(screen, "Breakwater "+before.Version+", slot B\n") {
			t.Errorf("the console says:\n%s", screen)
		}
		const reason = "none of the origins that were up before is up: tcp/tcp-1."
		if got := o.condition(t, "update-given-up"); !strings.Contains(got, reason) {
			t.Errorf("the condition is %q, want %q in it", got, reason)
		}
		r := m.report(t)
		t.Logf("entries:\n%s\ntrials:\n%s", r["entries"], r["trials"])
		if !strings.Contains(r["entries"], "+0-3.efi") {
			t.Errorf("entries: %q, want one whose tries are used up", r["entries"])
		}
		o.put(t, bytes.NewReader(read(t, after)[:4<<20]), http.StatusConflict, "update-given-up")
		o.wantSettings(t)
	})
	if !ok {
		t.Logf("screen:\n%s", m.screen())
	}
}

// TestRefusedUpdates: what is no update for a box is refused, and says why.
func TestRefusedUpdates(t *testing.T) {
	next := built(t, next)
	origin, _ := serveOnce(t)
	o := newOwner(t, boot(t, freePort(t), ""), origin)
	const enough = 4 << 20 // to see what is wrong; the emulated box reads slowly
	o.put(t, bytes.NewReader(resigned(t, next)[:enough]), http.StatusUnprocessableEntity, "update-signature")
	whole := read(t, next)
	for _, size := range []int{0, 1, 4096, 8191, 1 << 20, enough, len(whole) - 1} {
		o.put(t, bytes.NewReader(whole[:size]), http.StatusUnprocessableEntity, "update-refused")
	}
	begin := whole[:enough]
	begin[100_000] ^= 1
	o.put(t, bytes.NewReader(begin), http.StatusUnprocessableEntity, "update-refused")
	o.put(t, bytes.NewReader(read(t, updateIn(t, "../../build/image"))[:enough]), http.StatusConflict, "update-older")
	if u := o.update(t); u.State != control.UpdateNone {
		t.Errorf("left is %+v", u)
	}
}

// built is the update file of a version, which is built for it unless another test had it built.
func built(t *testing.T, version string) string {
	t.Helper()
	began := time.Now()
	dir := filepath.Join(versions, version)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		command := exec.Command("../../image/build")
		command.Env = append(os.Environ(), "VERSION="+version, "OUTPUT="+dir)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("image/build: %v\n%s", err, out)
		}
		t.Logf("version %s: %.0f s", version, time.Since(began).Seconds())
	}
	return updateIn(t, dir)
}

// updateIn is the one update file of a folder.
func updateIn(t *testing.T, dir string) string {
	t.Helper()
	return oneOf(t, filepath.Join(dir, "breakwater_*"+update.Extension))
}

// resigned is an update that somebody else has signed.
func resigned(t *testing.T, path string) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := update.Write(&out, key, update.Release{Version: next, Schema: settings.Schema}, os.DirFS(filepath.Join(filepath.Dir(path), "update"))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// serveOnce is an origin, and what ends it.
func serveOnce(t *testing.T) (port int, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = l.Close() } // twice is once
	t.Cleanup(stop)
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_ = conn.Close() // a health check wants no more
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, stop
}

// owner has a token, which lasts over restarts.
type owner struct {
	m      *machine
	client http.Client
	token  string
}

// documentOne has one origin, which is checked.
const documentOne = `{ "schema": 1,
  "edge": { "interfaces": [%q], "addresses": ["198.18.1.10/32"] },
  "pools": [ { "name": "tcp", "origins": [ { "address": "198.18.1.2", "port": "%d" } ] } ],
  "services": [ { "name": "tcp", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "tcp" } ] }`

// newOwner claims the box and gives it settings.
func newOwner(t *testing.T, m *machine, origin int) *owner {
	t.Helper()
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && code.MatchString(s)
	})
	b := newBrowser(t, m)
	b.claim(t, code.FindStringSubmatch(screen)[1])
	var token struct{ Secret string }
	b.call(t, http.MethodPost, "/api/v1/tokens", []byte(`{"name": "owner", "role": "admin"}`), &token)
	b.apply(t, fmt.Sprintf(documentOne, playerPort(t, screen), origin))
	o := &owner{m: m, client: http.Client{Transport: b.Transport}, token: token.Secret}
	waitFor(t, m, answerWait, func() (string, bool) { // its first check
		var s control.Status
		err := o.call(http.MethodGet, "/api/v1/status", nil, &s)
		return fmt.Sprint(err), err == nil && s.Edge.Pools[0].Origins[0].Up && s.Edge.Pools[0].Origins[0].Checks > 0
	})
	return o
}

// call makes one call; another status than one of the 200s is an error that begins with it and the code.
func (o *owner) call(method, path string, body io.Reader, answer any) error {
	within := answerWait // QEMU takes connections for a box that is not up yet, and nobody answers
	if method == http.MethodPut {
		within = uploadWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "https://"+o.m.page+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	request.Header.Set("Content-Type", "application/json")
	if path == "/api/v1/update" {
		request.Header.Set("Content-Type", "application/octet-stream")
	}
	response, err := o.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		var p struct{ Code, Detail string }
		_ = json.Unmarshal(content, &p) // else it is a page
		return fmt.Errorf("%d %s: %s", response.StatusCode, p.Code, p.Detail)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}

func (o *owner) update(t *testing.T) control.Update {
	t.Helper()
	return o.wait(t, callWait, func(control.Update) bool { return true })
}

// wait asks until the answer is good. Most of the time nobody answers.
func (o *owner) wait(t *testing.T, within time.Duration, good func(control.Update) bool) (u control.Update) {
	t.Helper()
	waitFor(t, o.m, within, func() (string, bool) {
		var now control.Update
		if err := o.call(http.MethodGet, "/api/v1/update", nil, &now); err != nil {
			return err.Error() + "\n" + o.m.screen(), false
		}
		u = now
		return fmt.Sprintf("%+v\n%s", now, o.m.screen()), good(now)
	})
	return u
}

func (o *owner) post(t *testing.T, path string) {
	t.Helper()
	if err := o.call(http.MethodPost, path, nil, nil); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// put sends an update, and compares what becomes of it.
func (o *owner) put(t *testing.T, body io.Reader, status int, code string) {
	t.Helper()
	err := o.call(http.MethodPut, "/api/v1/update", body, nil)
	if status == http.StatusOK && err == nil {
		return
	}
	if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("%d %s: ", status, code)) {
		t.Fatalf("got %v, want %d %s", err, status, code)
	}
	t.Log(err)
}

// install writes what was received into the other slot, and starts it.
func (o *owner) install(t *testing.T) {
	t.Helper()
	began := time.Now()
	o.post(t, "/api/v1/update/install")
	u := o.wait(t, installWait, func(u control.Update) bool {
		return u.Reason != "" || u.State == control.UpdateInstalled && u.Other == u.Release.Version // udev has read the label
	})
	if u.Reason != "" {
		t.Fatalf("after the installation: %+v", u)
	}
	t.Logf("installed in %.0f s", time.Since(began).Seconds())
	o.post(t, "/api/v1/host/restart")
}

func (o *owner) condition(t *testing.T, code string) string {
	t.Helper()
	var s control.Status
	if err := o.call(http.MethodGet, "/api/v1/status", nil, &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Conditions {
		if c.Code == code {
			return c.Detail
		}
	}
	return ""
}

func (o *owner) wantSettings(t *testing.T) {
	t.Helper()
	var s control.Status
	waitFor(t, o.m, answerWait, func() (string, bool) {
		err := o.call(http.MethodGet, "/api/v1/status", nil, &s)
		return fmt.Sprintf("%v %+v", err, s), err == nil && s.Revision == 1 && s.InForce
	})
}

// waitForReport waits for one that is good: what is reported may come after what the console shows.
func waitForReport(t *testing.T, m *machine, good func(map[string]string) bool) map[string]string {
	var r map[string]string
	waitFor(t, m, reportWait, func() (string, bool) {
		r = m.report(t)
		return fmt.Sprint(r), good(r)
	})
	return r
}
