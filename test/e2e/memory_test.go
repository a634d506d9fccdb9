//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// mostMemory is what control may take with 50,000 sessions in its list, in bytes.
const mostMemory = 80 << 20

// ownControl runs a control of the test's own on an edge, and returns its process and a client of its API.
func ownControl(t *testing.T, edge string) (pid int, api *http.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "control") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "control.sock")
	cmd := exec.Command(binary, "control", "--state", dir, "--edge", edge, "--socket", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	eventually(t, func() error {
		c, err := dial(t.Context(), "", "")
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return cmd.Process.Pid, &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial}}
}

// memoryOf is the resident memory of a process at its highest so far, in bytes (proc_pid_status(5)).
func memoryOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestMemoryOfControl: somebody who looks through 50,000 sessions, window by window, costs control next to nothing.
func TestMemoryOfControl(t *testing.T) {
	edge := edgetest.Start(t)
	list := make([]status.Session, 50_000)
	for i := range list {
		list[i] = status.Session{
			ID: status.ID(i + 1), Protocol: plan.TCP, Path: plan.PathUser, Service: "games", State: "open", Origin: "games-1",
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 1000), Edge: families[0].at(25565),
			OriginAddress: netip.AddrPortFrom(families[0].origin, 25565), Started: time.Now(), BytesToOrigin: uint64(i), BytesToClient: uint64(i * 7 % 1009),
		}
	}
	edge.Observe(status.Edge{}, list...)
	pid, api := ownControl(t, edge.Socket)
	columns := []string{"started", "client", "service", "origin", "idle", "bytes", "state"}
	began := time.Now()
	const windows = 35
	for i := range windows {
		query := url.Values{"limit": {"100"}, "offset": {strconv.Itoa(i * 1400)}, "sort": {columns[i%len(columns)]}, "search": {"203.0."}}
		response, err := api.Get("http://localhost/api/v1/sessions?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var window status.SessionList
		err = json.NewDecoder(response.Body).Decode(&window)
		_ = response.Body.Close()
		if err != nil || window.Total != len(list) || window.Matched != len(list) || len(window.Sessions) != 100 {
			t.Fatalf("window %d: got %d of %d of %d, %v", i, len(window.Sessions), window.Matched, window.Total, err)
		}
	}
	memory := memoryOf(t, pid)
	t.Logf("control took %d MB at most, a window %s", memory>>20, time.Since(began)/windows)
	if memory > mostMemory {
		t.Errorf("control took %d MB, want at most %d", memory>>20, mostMemory>>20)
	}
}
