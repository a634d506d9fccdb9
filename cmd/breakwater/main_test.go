package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/test/lab"
	webtls "breakwater/web/tls"
)

const documentOne = `{ "schema": 1,
  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": "one", "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "one" } ] }`

// TestMain also runs this binary as a control process to be killed, and as the child of one that checks the store.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "control" || os.Args[1] == "check-store") {
		os.Exit(exitCode(os.Stderr, run(context.Background(), &env{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])))
	}
	// With -race, every child would sleep for a second before it ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// box is a control process, run in this process, on a stand-in for edge.
type box struct {
	t    *testing.T
	dir  string
	edge *edgetest.Edge
	tls  string // URL
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "cmd") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &box{t: t, dir: dir, edge: edgetest.Start(t), tls: "https://" + freeAddress(t)}
	ready := listenReady(t, filepath.Join(dir, "notify"))
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("BREAKWATER_URL", "unix://"+filepath.Join(dir, "control.sock"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	var log bytes.Buffer
	go func() {
		ended <- run(ctx, &env{stdin: strings.NewReader(""), stdout: &log, stderr: &log}, []string{"control", "--state", dir,
			"--edge", b.edge.Socket, "--socket", filepath.Join(dir, "control.sock"), "--listen", strings.TrimPrefix(b.tls, "https://")})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("control ended with %v:\n%s", err, log.String())
		}
	})
	if got := ready(); got != "READY=1" {
		t.Fatalf("control told systemd %q, want READY=1", got)
	}
	return b
}

// listenReady is the end of the readiness socket that systemd has.
func listenReady(t *testing.T, path string) func() string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return func() string {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 100)
		n, err := l.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(message[:n])
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// cli runs one command line and returns what it printed.
func cli(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaint bytes.Buffer
	err := run(t.Context(), &env{strings.NewReader(stdin), &out, &complaint}, args)
	code = exitCode(&complaint, err)
	return out.String(), complaint.String(), code
}

// expect runs a command that must end with code, and looks for a text in all that it printed.
func expect(t *testing.T, wantCode int, wantText, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, code := cli(t, stdin, args...)
	if code != wantCode || !strings.Contains(stdout+stderr, wantText) {
		t.Errorf("breakwater %s: exit %d, want %d and %q:\n%s%s", strings.Join(args, " "), code, wantCode, wantText, stdout, stderr)
	}
	if code == 0 != (stderr == "") && args[0] != "token" {
		t.Errorf("breakwater %s: exit %d with standard error %q", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func TestSettingsFromEndToEnd(t *testing.T) {
	b := newBox(t)
	file := filepath.Join(b.dir, "settings.json")
	if err := os.WriteFile(file, []byte(documentOne), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, 0, "There are no settings yet", "", "status")
	expect(t, 1, "There are no settings yet", "", "export")
	expect(t, 0, "The settings are valid.", "", "validate", file)
	expect(t, 0, "+ name everything", "", "apply", file, "--check")
	expect(t, 0, "Applied as revision 1.", "", "apply", file, "--reason", "the first")
	expect(t, 0, "Nothing to change", "", "apply", file)
	expect(t, 0, "the first", "", "revisions")
	expect(t, 0, "Revision 1 is in force", "", "status")
	exported := expect(t, 0, "203.0.113.10/32", "", "export")

	two := strings.ReplaceAll(documentOne, `"one"`, `"two"`)
	expect(t, 0, "unless you run: breakwater confirm", two, "apply", "-", "--confirm", "60s")
	expect(t, 0, "An unconfirmed change is in force", "", "status")
	expect(t, 1, "a change by local", exported, "apply", "-")
	expect(t, 0, "Confirmed as revision 2.", "", "confirm")
	expect(t, 1, "no change waits", "", "confirm")
	expect(t, 0, "services[everything].pool", "", "diff", "2")
	expect(t, 0, "Applied as revision 3.", "", "rollback", "1")
	if got := expect(t, 0, "", "", "export"); got != exported {
		t.Errorf("after the rollback the settings are\n%s, want\n%s", got, exported)
	}
	if got := expect(t, 0, "", "", "export", "2"); !strings.Contains(got, `"two"`) {
		t.Errorf("revision 2 is\n%s", got)
	}
	expect(t, 0, "unless", two, "apply", "-", "--confirm", "60s")
	expect(t, 0, "Reverted.", "", "revert")
	if p := b.edge.Plan(); p.Pools[0].Name != "one" {
		t.Errorf("edge runs pool %s, want one", p.Pools[0].Name)
	}
}

func TestBadInputIsRefusedWithItsReason(t *testing.T) {
	b := newBox(t)
	bad := strings.Replace(documentOne, "1-65535", "0-70000", 1)
	expect(t, 1, "services[0].ports[0]: ", bad, "validate", "-")
	expect(t, 1, "services[0].ports[0]: ", bad, "apply", "-")
	expect(t, 1, "no such file", "", "apply", filepath.Join(b.dir, "missing.json"))
	expect(t, 1, "- is empty", "", "apply", "-")
	expect(t, 1, "revision 9: not found", "", "rollback", "9")
	expect(t, 1, "16 hex digits", "", "kill", "1")
	expect(t, 1, "no such session", "", "kill", "0000000000000001")
	b.edge.Refuse("no such interface")
	expect(t, 1, "no such interface", documentOne, "apply", "-")
	b.edge.Stop()
	expect(t, 1, "does not answer", documentOne, "apply", "-")
	expect(t, 0, "critical: The data plane does not answer", "", "status")
	for _, usage := range [][]string{{"aply"}, {"apply"}, {"rollback", "x"}, {"apply", "-", "--confirm", "soon"}, {"sessions", "--limit", "-1"}} {
		if _, stderr, code := cli(t, "", usage...); code != 2 || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
			t.Errorf("breakwater %v: exit %d, want 2 and one line: %s", usage, code, stderr)
		}
	}
}

func TestStatusAndSessions(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "revision 1", documentOne, "apply", "-")
	b.edge.Observe(status.Edge{
		Started:  time.Now().Add(-26 * time.Hour),
		Services: []status.Service{{Name: "everything", Sessions: 3, BytesToClient: 5 << 20}},
		Pools:    []status.Pool{{Name: "one", Origins: []status.Origin{{Name: "one-1", Address: "10.0.0.20", State: plan.Drain, Why: "con\x1b[31mnect"}}}},
		Reasons:  []status.ReasonCounter{{Reason: status.OriginRefused, Code: 521, Protocol: plan.TCP, Count: 4}},
		Shield:   status.Shield{Mode: plan.ShieldMonitor, Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "generic", Why: "x"}}},
	}, status.Session{ID: 0xabc, Protocol: plan.UDP, Path: plan.PathUser, Service: "everything", State: "open", Idle: 90})
	out := expect(t, 0, "up for 1d02h", "", "status")
	for _, want := range []string{"5.0 MiB", "down, drain", "origin-refused", "con [31mnect", "mode monitor", "(wan0 generic)"} {
		if !strings.Contains(out, want) {
			t.Errorf("the status lacks %q:\n%s", want, out)
		}
	}
	expect(t, 0, "There is no incident.", "", "incidents")
	expect(t, 0, "[]", "", "incidents", "--open", "--json")
	var s struct{ Revision uint64 }
	if err := json.Unmarshal([]byte(expect(t, 0, "", "", "status", "--json")), &s); err != nil || s.Revision != 1 {
		t.Errorf("status --json has revision %d, %v", s.Revision, err)
	}
	if table := expect(t, 0, "1m30s", "", "sessions", "--limit", "5"); !strings.Contains(table, "PROTOCOL  PATH  SERVICE") || !strings.Contains(table, "udp       user  everything") {
		t.Errorf("the sessions are printed without their path:\n%s", table)
	}
	var list []status.Session
	if err := json.Unmarshal([]byte(expect(t, 0, "", "", "sessions", "--json")), &list); err != nil || len(list) != 1 {
		t.Errorf("sessions --json has %v, %v", list, err)
	}
	expect(t, 0, "Ended.", "", "kill", "0000000000000abc")
}

func TestEvents(t *testing.T) {
	b := newBox(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &firstLine{done: cancel}
	go func() {
		refused := status.OriginRefused
		for ctx.Err() == nil {
			b.edge.Send(status.Event{Type: status.Disconnect, Reason: &refused, Code: 521, Session: status.Session{ID: 7, Service: "everything"}})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := run(ctx, &env{stdout: out, stderr: out}, []string{"events"}); err != nil {
		t.Errorf("events ended with %v", err)
	}
	if got := out.String(); !strings.Contains(got, "disconnect 0000000000000007") || !strings.Contains(got, "origin-refused (521)") {
		t.Errorf("the event is printed as %q", got)
	}
}

// firstLine keeps what is written and calls done after it.
type firstLine struct {
	bytes.Buffer
	done func()
}

func (w *firstLine) Write(p []byte) (int, error) {
	defer w.done()
	return w.Buffer.Write(p)
}

func TestOverTheNetwork(t *testing.T) {
	b := newBox(t)
	secret := strings.TrimSpace(expect(t, 0, "", "", "token", "create", "laptop"))
	expect(t, 0, "laptop", "", "token", "list")
	certificate := filepath.Join(b.dir, webtls.CertificateFile)
	content, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	print := fingerprintOf(t, content)
	tests := []struct {
		name     string
		args     []string
		wantCode int
		wantText string
	}{
		{"certificate file", []string{"--token", secret, "--ca", certificate}, 0, "There are no settings yet"},
		{"fingerprint", []string{"--token", secret, "--fingerprint", print}, 0, "There are no settings yet"},
		{"fingerprint with colons", []string{"--token", secret, "--fingerprint", strings.ToUpper(print[:2]) + ":" + print[2:]}, 0, "There are no settings yet"},
		{"wrong fingerprint", []string{"--token", secret, "--fingerprint", strings.Repeat("0", 64)}, 1, "another certificate"},
		{"unknown certificate", []string{"--token", secret}, 1, "certificate"},
		{"wrong token", []string{"--token", "wrong", "--ca", certificate}, 1, "valid token is needed"},
		{"no token", []string{"--ca", certificate}, 1, "needs a token"},
		{"no certificate in the file", []string{"--token", secret, "--ca", filepath.Join(b.dir, "key.pem")}, 1, "holds no certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, test.wantCode, test.wantText, "", append([]string{"status", "--url", b.tls}, test.args...)...)
		})
	}
	expect(t, 1, "write it like https://", "", "status", "--url", "http://127.0.0.1:1")
	expect(t, 0, "Revoked.", "", "token", "delete", "laptop")
	expect(t, 1, "valid token is needed", "", "status", "--url", b.tls, "--token", secret, "--ca", certificate)
}

// TestTheLabIsFound: without flags, and with the lab's own URL, what the lab wrote is used.
func TestTheLabIsFound(t *testing.T) {
	b := newBox(t)
	secret := strings.TrimSpace(expect(t, 0, "", "", "token", "create", "lab"))
	certificate := filepath.Join(b.dir, webtls.CertificateFile)
	tests := []struct {
		name     string
		url      string
		access   lab.Access
		wantBase string
	}{
		{"socket", "", lab.Access{Socket: filepath.Join(b.dir, "control.sock"), URL: b.tls}, "http://box"},
		{"no socket", "", lab.Access{Socket: "/nowhere", URL: b.tls, Token: secret, Certificate: certificate}, b.tls},
		{"its url", b.tls + "/", lab.Access{URL: b.tls, Token: secret, Certificate: certificate}, b.tls},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data, err := json.Marshal(test.access)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "lab.json")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			c := connection{URL: test.url, labFile: file, socket: "/nowhere"}
			box, err := c.dial()
			if err != nil {
				t.Fatal(err)
			}
			if box.base != test.wantBase {
				t.Errorf("it goes to %s, want %s", box.base, test.wantBase)
			}
			var s struct{ Version string }
			if err := box.get(t.Context(), "/api/v1/status", &s); err != nil || s.Version == "" {
				t.Errorf("status %+v, %v", s, err)
			}
		})
	}
}

func TestNobodyThereIsOneSentence(t *testing.T) {
	t.Setenv("BREAKWATER_URL", "unix:///nowhere/control.sock")
	if _, stderr, code := cli(t, "", "status"); code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "is breakwater control running") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestEveryCommandHasHelp walks the whole command line.
func TestEveryCommandHasHelp(t *testing.T) {
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(false)
	if len(leaves) < 15 {
		t.Fatalf("there are %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		if leaf.Help == "" {
			t.Errorf("%s has no help", leaf.FullPath())
		}
		for _, flag := range leaf.Flags {
			if flag.Help == "" {
				t.Errorf("%s: --%s has no help", leaf.FullPath(), flag.Name)
			}
		}
		for _, argument := range leaf.Positional {
			if argument.Help == "" {
				t.Errorf("%s: %s has no help", leaf.FullPath(), argument.Name)
			}
		}
		var args []string
		for n := leaf; n.Parent != nil; n = n.Parent {
			args = append([]string{n.Name}, args...)
		}
		expect(t, 0, strings.Fields(leaf.Help)[0], "", append(args, "--help")...)
	}
}

func fingerprintOf(t *testing.T, certificate []byte) string {
	t.Helper()
	block, _ := pem.Decode(certificate)
	if block == nil {
		t.Fatal("the certificate file holds no PEM")
	}
	return webtls.Fingerprint(block.Bytes)
}
