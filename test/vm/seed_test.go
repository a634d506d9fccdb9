//go:build vm

package vm

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
)

const (
	seedPassword = "seven boats under granite 42"
	seedFile     = "breakwater-seed.json"
	// seedMarker is in the settings, and must be nowhere on a stick that was wiped.
	seedMarker = "wipe-me-from-the-stick"
)

// TestSeed: a stick with a seed makes a box somebody's, once and without a trace; one with a wrong seed changes nothing.
func TestSeed(t *testing.T) {
	m := boot(t, freePort(t), "", "-device", "qemu-xhci,id=usb")
	ready := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, "Setup code") && strings.Contains(s, "52:54:00:00:00:02  link")
	})
	interfaceName := playerPort(t, ready)

	wrong := stick(t, strings.Replace(seedOf(t, interfaceName), `"passwordHash"`, `"password"`, 1))
	m.plug(t, "wrong", wrong)
	waitFor(t, m, answerWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "The seed file on BREAKWATER was not applied") &&
			strings.Contains(s, "accounts[0].password: is not taken") && strings.Contains(s, "Setup code")
	})
	if !strings.Contains(content(t, wrong), seedMarker) {
		t.Error("a seed that was not applied was wiped")
	}
	m.monitor1(t, "device_del wrong")

	good := stick(t, seedOf(t, interfaceName))
	if !strings.Contains(content(t, good), seedMarker) || !strings.Contains(list(t, good), seedFile) {
		t.Fatal("the stick has no seed to begin with")
	}
	m.plug(t, "good", good)
	screen := waitFor(t, m, 2*answerWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "Seed: applied from BREAKWATER at ") && strings.Contains(s, "READY  Revision 1 is in force.") && !strings.Contains(s, "Setup code")
	})
	t.Logf("the console:\n%s", screen)
	waitFor(t, m, answerWait, func() (string, bool) {
		files := list(t, good)
		return files, !strings.Contains(content(t, good), seedMarker) && !strings.Contains(content(t, good), "$argon2id$") && !strings.Contains(files, seedFile)
	})

	b := newBrowser(t, m)
	response, err := b.PostForm("https://"+m.page+"/login", url.Values{"login.name": {"anna"}, "login.password": {seedPassword}})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Request.URL.Path == "/login" || response.StatusCode != http.StatusOK {
		t.Fatalf("after the login: %s at %s", response.Status, response.Request.URL)
	}
	var s control.Status
	b.call(t, http.MethodGet, "/api/v1/status", nil, &s)
	if !s.InForce || s.Revision != 1 || s.Edge.Pools[0].Name != seedMarker {
		t.Errorf("status %+v", s)
	}
	if failed := m.report(t)["failed"]; strings.TrimSpace(failed) != "" {
		t.Errorf("failed units: %s", failed)
	}
}

// seedOf is a seed for players at a port of the box.
func seedOf(t *testing.T, interfaceName string) string {
	t.Helper()
	hash, err := access.HashPassword(t.Context(), seedPassword)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{ "schema": 1,
  "settings": { "schema": 1, "edge": { "interfaces": [%q], "addresses": ["198.18.1.10/32"] },
    "pools": [ { "name": %q, "origins": [ { "address": "198.18.1.2", "port": "9" } ] } ],
    "services": [ { "name": "all", "protocols": ["tcp"], "ports": ["1-65535"], "pool": %[2]q } ] },
  "accounts": [ { "name": "anna", "role": "admin", "passwordHash": %q } ] }`, interfaceName, seedMarker, string(hash))
}

// stick is a FAT file system with a seed, as somebody makes one.
func stick(t *testing.T, seed string) string {
	t.Helper()
	dir := t.TempDir()
	image, file := filepath.Join(dir, "stick.raw"), filepath.Join(dir, seedFile)
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	fromTree(t, "usr/sbin/mkfs.vfat", "-n", "BREAKWATER", image)
	fromTree(t, "usr/bin/mcopy", "-i", image, file, "::"+seedFile)
	return image
}

func list(t *testing.T, image string) string {
	t.Helper()
	return fromTree(t, "usr/bin/mdir", "-b", "-i", image, "::")
}

func content(t *testing.T, image string) string {
	t.Helper()
	raw, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// plug puts a stick into the running machine.
func (m *machine) plug(t *testing.T, name, image string) {
	t.Helper()
	m.monitor1(t, "drive_add 0 if=none,id="+name+"-disk,format=raw,file="+image)
	m.monitor1(t, "device_add usb-storage,bus=usb.0,id="+name+",drive="+name+"-disk,removable=on")
}

// monitor1 gives QEMU one command and fails with what it has against it.
func (m *machine) monitor1(t *testing.T, command string) {
	t.Helper()
	conn, err := net.Dial("unix", m.monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(command + "\n")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	for buffer := make([]byte, 256); strings.Count(said.String(), "(qemu) ") < 2; { // the second prompt comes when it is done
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(buffer[:n])
	}
	if strings.Contains(said.String(), "Error") {
		t.Fatalf("%s: %s", command, said.String())
	}
}
