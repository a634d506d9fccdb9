//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"breakwater/test/lab"
)

// Where the lab keeps what it runs.
const (
	labLock    = "/run/breakwater/lab.lock"
	labFile    = "/run/breakwater/lab.json"
	edgeSocket = "/run/breakwater/lab/edge.sock"
	edgeState  = "/run/breakwater/lab/edge"
)

func labPID(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(labLock)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("send %s to process %d: %v", s, pid, err)
	}
}

// end ends a process of the lab and returns when its successor runs.
func end(t *testing.T, name string, s syscall.Signal) {
	t.Helper()
	old, err := lab.Child(name)
	if err != nil {
		t.Fatal(err)
	}
	signal(t, old, s)
	eventually(t, func() error {
		pid, err := lab.Child(name)
		if err == nil && pid == old {
			err = fmt.Errorf("process %d of %s goes on", pid, name)
		}
		return err
	})
}

// freeze stops a process until the test ends or thaw is called.
func freeze(t *testing.T, pid int) (thaw func()) {
	t.Helper()
	signal(t, pid, syscall.SIGSTOP)
	thaw = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(thaw)
	return thaw
}

// withoutEdge kills edge and keeps the lab from starting another until the test ends or back is called. back
// returns when the box carries traffic again.
func withoutEdge(t *testing.T) (back func()) {
	t.Helper()
	parent := labPID(t)
	edge, err := lab.Child("edge")
	if err != nil {
		t.Fatal(err)
	}
	thaw := freeze(t, parent)
	signal(t, edge, syscall.SIGKILL)
	eventually(t, func() error { // its threads end one by one, and the last closes its files
		if c, err := net.Dial("unix", edgeSocket); err == nil {
			return errors.Join(errors.New("edge goes on"), c.Close())
		}
		return nil
	})
	back = func() {
		thaw()
		inForce(t)
	}
	t.Cleanup(back)
	return back
}

// inForce waits until edge runs what control wants.
func inForce(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		out := breakwater(t, nil, "status", "--json")
		var s struct{ InForce bool }
		if err := json.Unmarshal([]byte(out.stdout), &s); err != nil || !s.InForce {
			return fmt.Errorf("the settings are not in force: %s%s", out.stdout, out.stderr)
		}
		return nil
	})
}

// api calls control over its socket, which whoever may open it is an admin on.
func api(t *testing.T) *http.Client {
	t.Helper()
	text, err := os.ReadFile(labFile)
	if err != nil {
		t.Fatal(err)
	}
	var access lab.Access
	if err := json.Unmarshal(text, &access); err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", access.Socket)
	}
	return &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}
