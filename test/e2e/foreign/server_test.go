//go:build e2e

package foreign

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/test/lab"
)

// modules is where test/tools/setup installs what comes from npm.
const modules = "../../../build/npm/node_modules"

// server is a foreign program that runs in a network namespace until the test ends.
type server struct {
	netns, name string
	said        output
	ended       chan struct{} // closed when it ended; err says how
	err         error
}

// start runs a program. What it says is shown when the test fails.
func start(t *testing.T, netns, name string, args ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{netns: netns, name: name, ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	cmd.Env = append(os.Environ(), "NODE_PATH="+absolute(t, modules))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		defer close(s.ended)
		s.err = lab.Inside(netns, cmd.Run)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.ended
		if t.Failed() {
			t.Logf("%s says:\n%s", name, s.said.String())
		}
	})
	return s
}

// program finds a program that the tests do not bring along.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: run test/tools/setup test, which installs it", name)
	}
	return path
}

// awaitListening waits until the server listens on a TCP address. It does not connect: some servers serve one client,
// and some complain about one without a PROXY header.
func (s *server) awaitListening(t *testing.T, address netip.Addr, port uint16) {
	t.Helper()
	eventually(t, func() error {
		select {
		case <-s.ended:
			t.Fatalf("%s ended: %v (test/tools/setup test installs what it needs)", s.name, s.err)
		default:
		}
		var out []byte
		err := lab.Inside(s.netns, func() (err error) {
			out, err = exec.Command("ss", "-Hltn", "src", netip.AddrPortFrom(address, port).String()).Output()
			return err
		})
		if err == nil && len(out) == 0 {
			err = fmt.Errorf("%s does not listen on %s port %d", s.name, address, port)
		}
		return err
	})
}

// eventually waits until done reports nothing, and fails with what it reported last.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", patience, err)
		}
	}
}

// ask runs a foreign client in bw-client, where the tests are, and returns what it prints.
func ask(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+absolute(t, modules))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out.String(), complaint.String())
	}
	return out.String()
}

// absolute is the path of a file of this folder, for programs that run elsewhere.
func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// output collects what a process writes, while others read it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
