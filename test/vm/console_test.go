//go:build vm

package vm

import (
	"archive/zip"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// menuWait is for an answer of the menu; the units that it starts take a while in software emulation.
const menuWait = 2 * time.Minute

// TestConsole: somebody with a keyboard at the serial line, and a USB stick, mends a box and gives it away.
func TestConsole(t *testing.T) {
	stick := newStick(t)
	m := boot(t, freePort(t), "", "-device", "qemu-xhci", "-drive", "if=none,id=stick,format=raw,file="+stick, "-device", "usb-storage,drive=stick")
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	unclaimed := func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, "Enter  menu") && code.MatchString(s)
	}
	screen := waitFor(t, m, bootWait, unclaimed)
	setup, port := code.FindStringSubmatch(screen)[1], playerPort(t, screen)
	b := newBrowser(t, m)
	b.claim(t, setup)
	before := m.report(t)["machine"]
	k := m.keyboard(t)

	t.Run("address", func(t *testing.T) {
		k.menu(t, "1")
		k.answers(t, "Port: ", port, "VLAN, or none: ", "none", "or dhcp: ", "198.51.100.7/24", "Gateway, or none: ", "none", "or keep: ", "keep", "apply this at once: ", "yes")
		k.wait(t, "Applied as revision 1.")
		k.back(t)
		var document map[string]any
		b.call(t, http.MethodGet, "/api/v1/settings", nil, &document)
		if host, ok := document["host"].(map[string]any); !ok || len(host["interfaces"].([]any)) != 1 {
			t.Errorf("the settings are %v", document)
		}
	})
	t.Run("password", func(t *testing.T) {
		k.menu(t, "3")
		k.answers(t, "Account: ", "anna", "set it: ", "yes")
		shown := k.wait(t, "Change it on the page")
		found := regexp.MustCompile(`[a-z2-7]{5}(?:-[a-z2-7]{5}){3}`).FindString(shown)
		k.back(t)
		newBrowser(t, m).signIn(t, "anna", found)
	})
	t.Run("no other version", func(t *testing.T) {
		k.menu(t, "5")
		k.answers(t, "with the other version: ", "yes")
		k.wait(t, "Not done: There is no other version: the other slot is empty until a first update.")
		k.back(t)
	})
	t.Run("diagnostics", func(t *testing.T) {
		k.menu(t, "6")
		k.answers(t, "with the stick put in: ", "yes")
		shown := k.wait(t, "The stick can be taken out.")
		k.back(t)
		checkStick(t, stick, regexp.MustCompile(`breakwater-diagnostics-breakwater-\d{8}-\d{6}\.zip`).FindString(shown))
	})
	t.Run("factory reset", func(t *testing.T) {
		k.menu(t, "9")
		k.answers(t, "forget everything: ", "reset")
		k.wait(t, "That was not RESET.")
		k.back(t)
		k.menu(t, "9")
		k.answers(t, "forget everything: ", "RESET")
		k.wait(t, "It begins.")
		screen := waitFor(t, m, bootWait, func() (string, bool) {
			s, good := unclaimed()
			return s, good && !strings.Contains(s, setup)
		})
		t.Logf("after the factory reset:\n%s", screen)
		if after := m.report(t)["machine"]; len(after) != 32 || after == before {
			t.Errorf("the machine ID is %q, and was %q", after, before)
		}
		newBrowser(t, m).claim(t, code.FindStringSubmatch(screen)[1])
	})
}

// startOther goes from the next version, in slot B, to the one before it, and to the next one again.
func startOther(t *testing.T, m *machine) {
	k := m.keyboard(t)
	for _, test := range []struct{ shown, entries string }{
		{`, slot A\n\nVersion ` + next + ` is newer and not started: `, `breakwater_2\d{7}\.\d{6}\.efi\nbreakwater_` + next + `\+0-0\.efi`},
		{`Breakwater ` + next + `, slot B\n`, `breakwater_2\d{7}\.\d{6}\.efi\nbreakwater_` + next + `\.efi`},
	} {
		k.menu(t, "5")
		k.answers(t, "with the other version: ", "yes")
		k.wait(t, "It begins.")
		shown, entries := regexp.MustCompile(test.shown), regexp.MustCompile(test.entries)
		waitFor(t, m, bootWait, func() (string, bool) {
			s := m.screen()
			return s, shown.MatchString(s) && strings.Contains(s, "READY  Revision 1 is in force.")
		})
		r := waitForReport(t, m, func(r map[string]string) bool { return entries.MatchString(r["entries"]) }) // found healthy
		t.Logf("entries:\n%s", r["entries"])
	}
}

// keyboard is who types at the serial console.
type keyboard struct {
	m    *machine
	conn net.Conn
	seen int // bytes of the serial log that were looked at
}

func (m *machine) keyboard(t *testing.T) *keyboard {
	t.Helper()
	conn, err := net.Dial("unix", m.keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }() // what is not read would hold the serial line up; it is logged too
	return &keyboard{m: m, conn: conn}
}

// press types a line.
func (k *keyboard) press(t *testing.T, line string) {
	t.Helper()
	k.seen = len(k.log(t))
	if _, err := io.WriteString(k.conn, line+"\r"); err != nil {
		t.Fatal(err)
	}
}

func (k *keyboard) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(k.m.serial)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// wait returns what was shown since the last line was typed, when the text is in it.
func (k *keyboard) wait(t *testing.T, text string) string {
	t.Helper()
	return waitFor(t, k.m, menuWait, func() (string, bool) {
		shown := k.shown(t)
		return shown, strings.Contains(shown, text)
	})
}

func (k *keyboard) shown(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(k.log(t)[k.seen:], "\r", "")
}

// menu opens the menu and chooses an entry of it.
func (k *keyboard) menu(t *testing.T, entry string) {
	t.Helper()
	k.press(t, "")
	k.wait(t, "Number: ")
	k.press(t, entry)
}

// answers waits for each question and types the answer that stands behind it.
func (k *keyboard) answers(t *testing.T, pairs ...string) {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		k.wait(t, pair[0])
		k.press(t, pair[1])
	}
}

func (k *keyboard) back(t *testing.T) {
	t.Helper()
	k.wait(t, "Enter goes back to the screen: ")
	k.press(t, "")
	k.wait(t, "Enter  menu")
}

func (b *browser) signIn(t *testing.T, account, password string) {
	t.Helper()
	response, err := b.PostForm("https://"+b.m.page+"/login", url.Values{"login.name": {account}, "login.password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Request.URL.Path == "/login" {
		t.Errorf("signing in with %q: %s at %s", password, response.Status, response.Request.URL)
	}
}

// newStick is a FAT file system as a USB stick has it.
func newStick(t *testing.T) string {
	stick := filepath.Join(t.TempDir(), "stick.img")
	f, err := os.Create(stick)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	fromTree(t, "usr/sbin/mkfs.fat", "-F", "32", stick)
	return stick
}

// checkStick looks for the bundle on the stick, which the box has closed.
func checkStick(t *testing.T, stick, name string) {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle.zip")
	fromTree(t, "usr/bin/mcopy", "-i", stick, "::"+name, bundle)
	archive, err := zip.OpenReader(bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var files []string
	for _, f := range archive.File {
		files = append(files, filepath.Base(f.Name))
	}
	for _, want := range []string{"status.json", "settings.json", "logs.json"} {
		if !slices.Contains(files, want) {
			t.Errorf("the bundle lacks %s: %q", want, files)
		}
	}
}
