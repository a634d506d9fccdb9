package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/host"
	"breakwater/appliance/settings"
)

// keyboard is somebody who types these lines, one for each question, and then leaves.
func keyboard(typed ...string) <-chan string {
	lines := make(chan string, len(typed))
	for _, line := range typed {
		lines <- line
	}
	close(lines)
	return lines
}

var twoPorts = []host.Port{{Name: "enp1s0", MAC: "52:54:00:12:34:56", Link: true, Speed: 1000}, {Name: "enp2s0", MAC: "52:54:00:12:34:57"}}

// atMenu opens the menu of a box and types. It returns what the terminal showed.
func (b *box) atMenu(typed ...string) string {
	b.t.Helper()
	var out bytes.Buffer
	m := menu{dialogue{keyboard(typed...), &out, time.Minute}, overSocket(filepath.Join(b.dir, "control.sock")),
		func(context.Context, string) (string, error) {
			b.t.Error("a unit was started beside control")
			return "", nil
		}, screen{ports: twoPorts}}
	m.open(b.t.Context())
	return out.String()
}

// settings are those in force.
func (b *box) settings() settings.Settings {
	b.t.Helper()
	s, problems := settings.Decode([]byte(expect(b.t, 0, "", "", "export")))
	if len(problems) > 0 {
		b.t.Fatal(problems)
	}
	return s
}

func wants(t *testing.T, shown string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("the terminal lacks %q:\n%s", text, shown)
		}
	}
}

func TestConsoleSetsAnAddress(t *testing.T) {
	b := newBox(t)
	shown := b.atMenu("1", "enp1s0", "none", "192.0.2.10", "192.0.2.10/24, 2001:db8::10/64", "192.0.2.1", "192.0.2.53 2001:db8::53", "yes", "")
	wants(t, shown, "1  enp1s0      52:54:00:12:34:56  link, 1000 Mbit/s", "2  enp2s0      52:54:00:12:34:57  no link",
		`Not taken: "192.0.2.10" is not an address with the length of its network`, "host.interfaces[enp1s0]", "Applied as revision 1.")
	i := b.settings().Host.Interfaces
	if len(i) != 1 || i[0].Name != "enp1s0" || len(i[0].Addresses) != 2 || len(i[0].Gateways) != 1 || len(b.settings().DNS.Servers) != 2 {
		t.Errorf("the settings are %+v, DNS %v", i, b.settings().DNS)
	}
	wants(t, expect(t, 0, "", "", "revisions"), "local", "console")

	wants(t, b.atMenu("1", "2", "20", "198.51.100.1/24", "none", "keep", "yes", ""), "Applied as revision 2.")
	i = b.settings().Host.Interfaces
	if len(i) != 2 || i[1].VLAN != 20 || i[1].Parent != "enp2s0" || i[1].Name != "vlan20" || len(b.settings().DNS.Servers) != 2 {
		t.Errorf("with a VLAN the settings are %+v, DNS %v", i, b.settings().DNS)
	}
	wants(t, b.atMenu("1", "3", "198.51.100.2/24", "none", "keep", "yes", ""), "VLAN 20 on enp2s0", "Applied as revision 3.")
	wants(t, b.atMenu("1", "1", "none", "dhcp", "yes", ""), "Applied as revision 4.")
	if i = b.settings().Host.Interfaces; len(i) != 1 || i[0].Name != "vlan20" || i[0].Addresses[0].String() != "198.51.100.2/24" {
		t.Errorf("after DHCP the settings are %+v, want the VLAN only", i)
	}
	wants(t, b.atMenu("1", "1", "none", "dhcp", ""), "Nothing changes.")
}

func TestConsoleLeavesThingsAsTheyAre(t *testing.T) {
	b := newBox(t)
	for _, test := range []struct {
		name  string
		typed []string
		want  string
	}{
		{"an empty line", []string{""}, "0  Back"},
		{"zero", []string{"0"}, "0  Back"},
		{"an entry that is not there", []string{"17", "x", ""}, `Not taken: there is no "17"; type a number from 1 to 9`},
		{"Ctrl-C in the middle", []string{"1", "1", string(interrupt)}, "Nothing was done."},
		{"a port that is not there", []string{"1", "7", ""}, `Not taken: there is no "7"; type a number from 1 to 2`},
		{"nobody there any more", []string{"1", "1", "none"}, "Nothing was done."},
		{"not confirmed", []string{"1", "1", "none", "192.0.2.10/24", "none", "keep", "no", ""}, "That was not yes."},
		{"no settings to go back to", []string{"4", ""}, "Not done: there are no older settings"},
		{"no accounts", []string{"3", ""}, "Not done: there are no accounts yet"},
		{"the wrong word", []string{"9", "reset", ""}, "That was not RESET."},
		{"no appliance", []string{"9", "RESET", ""}, "Not done: this is not the appliance"},
		{"nor is it restarted", []string{"7", "yes", ""}, "Not done: this is not the appliance"},
	} {
		t.Run(test.name, func(t *testing.T) { wants(t, b.atMenu(test.typed...), test.want) })
	}
	expect(t, 1, "There are no settings yet", "", "export")
}

func TestConsoleChoosesWhereThePageIs(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "Applied", strings.Replace(documentOne, `"pools"`, `"management": { "networks": ["10.9.0.0/16"] }, "pools"`, 1), "apply", "-")
	wants(t, b.atMenu("2", "2 enp1s0", "maybe", "any", "yes", ""), "all but the ports of the edge", "from these networks only: 10.9.0.0/16",
		"Not taken: type any or keep", "Applied as revision 2.")
	if m := b.settings().Management; strings.Join(m.Interfaces, " ") != "enp2s0 enp1s0" || len(m.Networks) != 0 {
		t.Errorf("the management is %+v", m)
	}
	wants(t, b.atMenu("2", "all", "yes", ""), "reached at: enp2s0, enp1s0", "Applied as revision 3.")
	if m := b.settings().Management; len(m.Interfaces) != 0 {
		t.Errorf("the management is %+v", m)
	}
}

func TestConsoleRollsBack(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "Applied", documentOne, "apply", "-", "--reason", "the \x1b[2J first")
	expect(t, 0, "Applied", strings.ReplaceAll(documentOne, `"one"`, `"two"`), "apply", "-", "--reason", "second")
	shown := b.atMenu("4", "1", "yes", "")
	wants(t, shown, "Revision 2 is in force.", "1  1", "local", "pool", "Applied as revision 3.")
	if strings.Contains(strings.TrimPrefix(shown, clearScreen), "\x1b") {
		t.Errorf("the terminal is told what somebody wrote into a reason: %q", shown)
	}
	wants(t, expect(t, 0, "", "", "revisions"), "console: back to revision 1")
}

// TestConsoleTakesBackWhatWaits: a change that waits stands in the way of every other.
func TestConsoleTakesBackWhatWaits(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "Applied", documentOne, "apply", "-")
	waiting := strings.ReplaceAll(documentOne, "wan0", "wan7")
	expect(t, 0, "Reverted at", waiting, "apply", "-", "--confirm", "1h")
	wants(t, b.atMenu("1", ""), "A change by local waits", "wan7", "Nothing was done.")
	wants(t, b.atMenu("4", "revert", ""), "It is taken back.", "there are no older settings")
	expect(t, 0, "Reverted at", waiting, "apply", "-", "--confirm", "1h")
	wants(t, b.atMenu("2", "revert", "2", "yes", ""), "It is taken back.", "Applied as revision 2.")
}

func TestConsoleResetsAPassword(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "Created", "seven boats under granite 42\n", "accounts", "create", "anna", "--role", "admin")
	shown := b.atMenu("3", "anna", "yes", "")
	found := regexp.MustCompile(`(?m)^  ([a-z2-7]{5}(?:-[a-z2-7]{5}){3})$`).FindStringSubmatch(shown)
	if found == nil {
		t.Fatalf("no password is shown:\n%s", shown)
	}
	if again := b.atMenu("3", "1", "yes", ""); strings.Contains(again, found[1]) {
		t.Errorf("the same password twice:\n%s", again)
	}
}

func TestConsoleAsksForTheSecondFactor(t *testing.T) {
	for typed, want := range map[string]bool{"yes": true, "no": false} {
		var out bytes.Buffer
		m := menu{dialogue: dialogue{keyboard("perhaps", typed), &out, time.Minute}}
		got, err := m.askFactors(t.Context(), access.Account{Name: "anna", TOTP: true, Passkeys: []access.Passkey{{ID: "x"}}})
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", typed, got, err, want)
		}
		wants(t, out.String(), "app, passkeys (1)", "Not taken: type yes or no")
	}
}

// TestConsoleWithoutControl: what stops or changes the machine works all the same, and what is refused is told.
func TestConsoleWithoutControl(t *testing.T) {
	for _, test := range []struct {
		name  string
		typed []string
		err   error
		unit  string
		want  string
	}{
		{"an address", []string{"1", ""}, nil, "", `Not taken: "Set an address" needs control, which does not answer`},
		{"restart", []string{"7", "yes", ""}, nil, host.Restart, "It begins."},
		{"power off", []string{"Power off", "yes", ""}, nil, host.PowerOff, "It begins."},
		{"reset", []string{"9", "RESET", ""}, nil, host.FactoryReset, "It begins."},
		{"not the other version", []string{"5", "no", ""}, nil, "", "Nothing was done."},
		{"no other version", []string{"5", "yes", ""}, &host.Failed{Unit: host.OtherSlot, Why: "there is \x1b[2Jno other version"}, host.OtherSlot, "Not done: there is  [2Jno other version"},
		{"diagnostics", []string{"6", "yes", ""}, nil, host.Diagnostics, "Written: breakwater-diagnostics.zip. The stick can be taken out."},
		{"no stick", []string{"6", "yes", ""}, errors.New("no USB stick"), host.Diagnostics, "Not done: no USB stick"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			started := ""
			m := menu{dialogue{keyboard(test.typed...), &out, time.Minute}, overSocket(filepath.Join(t.TempDir(), "none")),
				func(_ context.Context, unit string) (string, error) {
					started = unit
					return "breakwater-diagnostics.zip", test.err
				}, screen{trouble: errors.New("no answer")}}
			m.open(t.Context())
			if started != test.unit {
				t.Errorf("started %q, want %q", started, test.unit)
			}
			wants(t, out.String(), test.want)
			if strings.Contains(strings.TrimPrefix(out.String(), clearScreen), "\x1b") || strings.Contains(out.String(), " 1  Set an address") {
				t.Errorf("the terminal shows %q", out.String())
			}
		})
	}
}

// TestControlGoesWhileTheMenuIsOpen: the machine is asked itself then.
func TestControlGoesWhileTheMenuIsOpen(t *testing.T) {
	var out bytes.Buffer
	started := ""
	m := menu{dialogue{keyboard("7", "yes", ""), &out, time.Minute}, overSocket(filepath.Join(t.TempDir(), "none")),
		func(_ context.Context, unit string) (string, error) { started = unit; return "", nil }, screen{}}
	m.open(t.Context())
	if started != host.Restart {
		t.Errorf("started %q, want %q:\n%s", started, host.Restart, out.String())
	}
}

// TestNobodyIsAtTheConsole: the menu does not stay open for the next who comes by.
func TestNobodyIsAtTheConsole(t *testing.T) {
	var out bytes.Buffer
	m := menu{dialogue: dialogue{make(chan string), &out, 10 * time.Millisecond}}
	m.open(t.Context())
	wants(t, out.String(), "Number: ")
}

// TestTheConsoleHearsItself: a serial line that sends back what is shown does nothing, and not for ever.
func TestTheConsoleHearsItself(t *testing.T) {
	heard := make(chan string, 10000)
	echo := writerFunc(func(p []byte) (int, error) {
		for line := range strings.Lines(string(p)) {
			heard <- strings.TrimSpace(line)
		}
		return len(p), nil
	})
	m := menu{dialogue{heard, echo, 10 * time.Millisecond}, overSocket(filepath.Join(t.TempDir(), "none")),
		func(_ context.Context, unit string) (string, error) {
			t.Errorf("started %s", unit)
			return "", nil
		}, screen{trouble: errors.New("no answer")}}
	for range 20 {
		m.open(t.Context())
	}
}

// writerFunc is a terminal of a test.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestConsoleOpensTheMenu: Enter opens it, and the screen is drawn again after it.
func TestConsoleOpensTheMenu(t *testing.T) {
	b := newBox(t)
	typed, keys := io.Pipe()
	var out terminal
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- (&consoleCmd{Socket: filepath.Join(b.dir, "control.sock")}).Run(ctx, &env{stdin: typed, stdout: &out})
	}()
	for _, step := range []struct{ typed, next string }{
		{"\n", "Number: "}, {"4\n", "Not done: there are no older settings\n\nEnter goes back to the screen: "}, {"half a line\x03", "\nEnter  menu\n"},
		{"\n", "Number: "}, {"0\n", "\nEnter  menu\n"},
		{"\n", "Number: "}, {"\x03", "\nEnter  menu\n"},
	} {
		if _, err := io.WriteString(keys, step.typed); err != nil {
			t.Fatal(err)
		}
		out.next(t, step.next)
	}
	_ = keys.Close()
	out.next(t, "Network") // it goes on without a keyboard
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	shown := out.shown.String()
	if last := shown[strings.LastIndex(shown, clearScreen):]; !strings.Contains(last, "READY") || strings.Contains(last, "Enter  menu") {
		t.Errorf("the last screen, without a keyboard, is:\n%s", last)
	}
}

// terminal is what is shown, for who looks meanwhile.
type terminal struct {
	mu    sync.Mutex
	shown bytes.Buffer
	seen  int // bytes that were waited for
}

func (w *terminal) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.Write(p)
}

// next waits until a text comes that has not been waited for.
func (w *terminal) next(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		shown := w.shown.String()
		at := strings.Index(shown[w.seen:], text)
		if at >= 0 {
			w.seen += at + len(text)
		}
		w.mu.Unlock()
		if at >= 0 {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Fatalf("never shown: %q\n%s", text, w.shown.String())
}

func FuzzReadLines(f *testing.F) {
	f.Add("1\nyes\x03\n\x1b[A\x00\xff\n")
	f.Fuzz(func(t *testing.T, typed string) {
		lines := make(chan string)
		go readLines(strings.NewReader(typed), lines)
		for line := range lines {
			if line != string(interrupt) && line != clean(line) || len(line) > 4*maxTyped {
				t.Errorf("a line is %q", line)
			}
		}
	})
}

func TestDiagnosticsFile(t *testing.T) {
	b := newBox(t)
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	lines := func(context.Context) ([]byte, error) { return []byte("control: password=hunter2\n"), nil }
	dir := t.TempDir()
	name, err := saveDiagnostics(t.Context(), overSocket(filepath.Join(b.dir, "control.sock")), dir, "box/../7", now, lines)
	if err != nil || name != "breakwater-diagnostics-box----7-20261129-100000.zip" {
		t.Fatalf("the file is %q, %v", name, err)
	}
	if got := http.DetectContentType(readAll(t, filepath.Join(dir, name))); got != "application/zip" {
		t.Errorf("the bundle is %s", got)
	}
	if _, err := saveDiagnostics(t.Context(), overSocket(filepath.Join(b.dir, "control.sock")), dir, "box/../7", now, lines); err == nil {
		t.Error("a file was written over")
	}
	none := overSocket(filepath.Join(dir, "none"))
	name, err = saveDiagnostics(t.Context(), none, dir, "box", now, lines)
	if err != nil || name != "breakwater-diagnostics-box-20261129-100000.txt" {
		t.Fatalf("without control the file is %q, %v", name, err)
	}
	wants(t, string(readAll(t, filepath.Join(dir, name))), "This is the log only: no answer from", "password=[secret]")
	lines = func(context.Context) ([]byte, error) { return nil, errors.New("no log") }
	if _, err := saveDiagnostics(t.Context(), none, dir, "box", now.Add(time.Second), lines); err == nil || !strings.Contains(err.Error(), "no log") {
		t.Errorf("without control and log: %v", err)
	}
}

func readAll(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
