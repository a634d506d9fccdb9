package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/settings"
)

// TestKilledControlLosesNothing changes the settings over the API without a pause while the control process is killed again
// and again, also as it starts. Every acknowledged revision is there at the end, and edge runs the newest.
func TestKilledControlLosesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "kill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	edge := edgetest.Start(t)
	acknowledged := map[uint64]string{} // by revision: the pool
	var newest uint64
	for changes, kills := 0, 0; kills < 15 || changes < 30; kills++ {
		child := startControl(t, dir, edge.Socket)
		kill := time.AfterFunc(time.Duration(100+rand.IntN(200))*time.Millisecond, func() { _ = child.Process.Kill() })
		for {
			pool := fmt.Sprintf("pool-%d", changes)
			r, err := put(t, dir, strings.ReplaceAll(documentOne, `"one"`, fmt.Sprintf("%q", pool)))
			if err != nil {
				break // killed
			}
			changes++
			acknowledged[r.Revision], newest = pool, r.Revision
		}
		kill.Stop()
		_ = child.Process.Kill()
		_ = child.Wait() // killed
		t.Logf("kill %d after %d changes", kills+1, changes)
	}
	child := startControl(t, dir, edge.Socket)
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait() // killed
	}()
	box := overSocket(filepath.Join(dir, "c.sock"))
	for n := newest; n > max(newest, 100)-100; n-- {
		assertPool(t, box, n, acknowledged[n])
	}
	var s control.Status
	for deadline := time.Now().Add(30 * time.Second); !s.InForce; time.Sleep(5 * time.Millisecond) {
		if err := box.get(t.Context(), "/api/v1/status", &s); err != nil || time.Now().After(deadline) {
			t.Fatalf("edge does not run revision %d (%v)", s.Revision, err)
		}
	}
	// One more than acknowledged may be current: committed, and killed before the answer.
	if s.Revision < newest || s.Revision > newest+1 {
		t.Errorf("revision %d is current, acknowledged was %d", s.Revision, newest)
	}
}

// startControl runs the control process and returns when it answers.
func startControl(t *testing.T, dir, edge string) *exec.Cmd {
	t.Helper()
	socket := filepath.Join(dir, "c.sock")
	child := exec.Command(os.Args[0], "control", "--state", dir, "--edge", edge, "--socket", socket)
	var log bytes.Buffer
	child.Stderr = &log
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !answers(socket); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = child.Process.Kill()
			_ = child.Wait() // its log is complete then
			t.Fatalf("control does not answer:\n%s", log.String())
		}
	}
	return child
}

func put(t *testing.T, dir, document string) (r control.Result, err error) {
	box := overSocket(filepath.Join(dir, "c.sock"))
	defer box.http.CloseIdleConnections()
	return r, box.call(t.Context(), http.MethodPut, "/api/v1/settings", url.Values{}, []byte(document), &r)
}

// assertPool compares the pool of a revision; a revision that was never acknowledged only has to be whole.
func assertPool(t *testing.T, box *client, number uint64, pool string) {
	t.Helper()
	var document []byte
	if err := box.get(t.Context(), fmt.Sprintf("/api/v1/revisions/%d", number), &document); err != nil {
		t.Errorf("revision %d, acknowledged for %q: %v", number, pool, err)
		return
	}
	s, problems := settings.Read(document)
	if len(problems) > 0 || pool != "" && s.Pools[0].Name != pool {
		t.Errorf("revision %d, acknowledged for %q, is\n%s", number, pool, document)
	}
}
