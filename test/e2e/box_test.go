//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

const binary = "../../build/breakwater"

// output is what a command said and how it ended.
type output struct {
	stdout, stderr string
	code           int
}

// breakwater runs the command line against the lab, with input on its standard input.
func breakwater(t *testing.T, input []byte, args ...string) output {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("run breakwater %s: %v", strings.Join(args, " "), err)
	}
	return output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// apply puts a document in force.
func apply(t *testing.T, s settings.Settings) {
	t.Helper()
	out := breakwater(t, settings.Encode(s), "apply", "-", "--reason", t.Name())
	if out.code != 0 {
		t.Fatalf("apply: %s", out.stderr)
	}
}

// document is a box with the lab's edge addresses.
func document(pools []settings.Pool, services ...settings.Service) settings.Settings {
	lab.OnPath(services)
	s := settings.Settings{Schema: settings.Schema, Pools: pools, Services: services}
	s.Edge.Interfaces = []string{"wan0"}
	s.Limits.MaxFlowsPerSource = 1 << 16 // all players of a test are one source
	for _, f := range families {
		var p settings.Prefix
		if err := p.UnmarshalText([]byte(f.edge.String())); err != nil {
			panic(err)
		}
		s.Edge.Addresses = append(s.Edge.Addresses, p)
	}
	return s
}

// pool has origins at addresses without ports, which keep the port that the client dialled and are not checked.
func pool(name string, addresses ...any) settings.Pool {
	p := settings.Pool{Name: name}
	for _, a := range addresses {
		p.Origins = append(p.Origins, settings.Origin{Address: fmt.Sprint(a)})
	}
	return p
}

// service takes TCP and UDP on ports to the pool "games", without an amplification limit: the lab's origin answers a
// word with a line.
func service(name string, ports ...string) settings.Service {
	s := settings.Service{Name: name, Protocols: []string{"tcp", "udp"}, Pool: "games"}
	s.Limits.MaxAmplification = -1
	for _, text := range ports {
		s.Ports = append(s.Ports, portRange(text))
	}
	return s
}

func portRange(text string) (p settings.Ports) {
	if err := p.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return p
}

func networks(texts ...string) []settings.Prefix {
	list := make([]settings.Prefix, len(texts))
	for i, text := range texts {
		if err := list[i].UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
	return list
}

// getJSON runs a command that prints JSON.
func getJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	out := breakwater(t, nil, append(args, "--json")...)
	if out.code != 0 {
		t.Fatalf("%s: %s", args[0], out.stderr)
	}
	if err := json.Unmarshal([]byte(out.stdout), into); err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
}

func boxStatus(t *testing.T) (s control.Status) {
	t.Helper()
	getJSON(t, &s, "status")
	return s
}

// tryStatus is boxStatus while control may be dead.
func tryStatus(t *testing.T) (s control.Status, err error) {
	t.Helper()
	out := breakwater(t, nil, "status", "--json")
	if err := json.Unmarshal([]byte(out.stdout), &s); err != nil {
		return s, fmt.Errorf("%w: %s", err, out.stderr)
	}
	return s, nil
}

// reasons are the counters of closes and drops of one protocol.
func reasons(t *testing.T, protocol plan.Protocol) map[status.Reason]uint64 {
	t.Helper()
	s := boxStatus(t)
	if s.Edge == nil {
		t.Fatal("edge does not answer")
	}
	counts := map[status.Reason]uint64{}
	for _, r := range s.Edge.Reasons {
		if r.Protocol == protocol {
			counts[r.Reason] = r.Count
		}
	}
	return counts
}

func sessions(t *testing.T, args ...string) (list []status.Session) {
	t.Helper()
	getJSON(t, &list, append([]string{"sessions"}, args...)...)
	return list
}

// inside runs a command in a network namespace of the lab and returns what it printed.
func inside(t *testing.T, ns string, args ...string) string {
	t.Helper()
	out, err := tryInside(ns, args...)
	if err != nil {
		t.Fatalf("in %s: %s: %v: %s", ns, strings.Join(args, " "), err, out)
	}
	return out
}

func tryInside(ns string, args ...string) (string, error) {
	var out []byte
	err := lab.Inside(ns, func() (err error) {
		out, err = exec.Command(args[0], args[1:]...).CombinedOutput()
		return err
	})
	return string(out), err
}

// change runs a command in a namespace now and its reverse when the test ends.
func change(t *testing.T, ns, do, undo string) {
	t.Helper()
	inside(t, ns, strings.Fields(do)...)
	t.Cleanup(func() { inside(t, ns, strings.Fields(undo)...) })
}

// eventLog collects the event stream of the box.
type eventLog struct {
	mu     sync.Mutex
	events []status.Event
}

// watchEvents follows the event stream until the test ends. It returns when the stream is known to run: the first
// event was seen of a client that tries until then.
func watchEvents(t *testing.T, f family) *eventLog {
	t.Helper()
	l := new(eventLog)
	cmd := exec.Command(binary, "events", "--json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { l.read(bufio.NewScanner(out)) })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
	})
	eventually(t, func() error {
		if c, err := dialTCP(f.at(1)); err == nil {
			_ = c.Close()
		}
		if len(l.all()) == 0 {
			return errors.New("got no event")
		}
		return nil
	})
	return l
}

func (l *eventLog) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var e status.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // a line that was cut when the stream ended
		}
		l.mu.Lock()
		l.events = append(l.events, e)
		l.mu.Unlock()
	}
}

func (l *eventLog) all() []status.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]status.Event(nil), l.events...)
}

// of waits for both events of a client's session or flow. One to another port may have had the same port of the client.
func (l *eventLog) of(t *testing.T, c net.Conn) (list []status.Event) {
	t.Helper()
	client, edge := local(c), addrPort(c.RemoteAddr())
	eventually(t, func() error {
		list = nil
		for _, e := range l.all() {
			if e.Client == client && e.Edge == edge {
				list = append(list, e)
			}
		}
		if len(list) < 2 {
			return fmt.Errorf("got %d events of %s, want 2", len(list), client)
		}
		return nil
	})
	return list
}
