package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/seed"
	"breakwater/web/api"
)

// marker is in the settings, and must be nowhere once the file was wiped.
const marker = "wipe-me-from-the-stick"

const soundSeed = `{ "schema": 1, "settings": { "schema": 1, "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": "` + marker + `", "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "` + marker + `" } ] },
  "accounts": [ { "name": "anna", "role": "admin", "passwordHash": "$argon2id$v=19$m=19456,t=2,p=1$c2VlZCBmb3IgYSB0ZXN0IQ$3qYmRqZ5G7N1b8m0u3yq7dJgkq7m1Zq1oV0yqv0pC0E" } ] }`

// sticks is the helper with directories in place of devices: what is mounted is a link to one.
type sticks struct {
	seedCmd
	t   *testing.T
	out bytes.Buffer
	// opened are the files of seeds from before the helper ran, as a raw device would show their blocks.
	opened map[string]*os.File
}

func newSticks(t *testing.T) *sticks {
	t.Helper()
	dir := t.TempDir()
	s := &sticks{t: t, opened: map[string]*os.File{}, seedCmd: seedCmd{State: filepath.Join(dir, "state"), Stick: filepath.Join(dir, "stick"),
		ESP: filepath.Join(dir, "esp"), Mounts: filepath.Join(dir, "mounted")}}
	s.mount = func(device, at string) (func() error, error) {
		if _, err := os.Stat(filepath.Join(device, "broken")); err == nil {
			return nil, errors.New("mount: wrong fs type")
		}
		return func() error { return os.Remove(at) }, os.Symlink(device, at)
	}
	if err := os.Mkdir(s.State, 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes a file into a device that is made for it.
func (s *sticks) put(device, name, content string) {
	s.t.Helper()
	if err := os.MkdirAll(device, 0o700); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(device, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Close() })
	s.opened[device] = f
}

// state reads a file of control's directory.
func (s *sticks) state(name string) string {
	content, err := os.ReadFile(filepath.Join(s.State, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(content)
}

func (s *sticks) run() error {
	s.t.Helper()
	err := s.Run(&env{stdout: &s.out, stderr: &s.out})
	if _, mounted := os.Lstat(s.Mounts); mounted == nil {
		s.t.Error("something is mounted still")
	}
	return err
}

// wiped expects that the file is gone, and its bytes from before are zeros.
func (s *sticks) wiped(device string) {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(device, seed.FileName)); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("the file is there: %v", err)
	}
	blocks := make([]byte, 1<<20)
	n, _ := s.opened[device].ReadAt(blocks, 0) // to its end
	if n != len(soundSeed) || len(bytes.Trim(blocks[:n], "\x00")) > 0 {
		s.t.Errorf("%d bytes are left: %q", n, blocks[:n])
	}
}

func TestSeedIsHandedOverAndWiped(t *testing.T) {
	for _, where := range []struct {
		name, from string
		device     func(*sticks) string
	}{
		{"stick", "BREAKWATER", func(s *sticks) string { return s.Stick }},
		{"ESP", "the ESP of this box", func(s *sticks) string { return s.ESP }},
	} {
		t.Run(where.name, func(t *testing.T) {
			s := newSticks(t)
			s.put(s.ESP, "loader.conf", "")
			s.put(where.device(s), seed.FileName, soundSeed)
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			s.wiped(where.device(s))
			var h seed.Handed
			if err := json.Unmarshal([]byte(s.state("seed.json")), &h); err != nil || h.From != where.from {
				t.Errorf("handed over: %+v, %v", h, err)
			}
			if _, problems := seed.Read(h.Seed); len(problems) > 0 {
				t.Errorf("handed over with problems: %v", problems)
			}
			if !strings.Contains(s.out.String(), "was wiped") || s.state("seed-notice.json") != "" {
				t.Errorf("told %q, notice %s", s.out.String(), s.state("seed-notice.json"))
			}
		})
	}
}

// TestControlTakesTheSeed: the box has an owner and settings a moment after the stick came, and says so.
func TestControlTakesTheSeed(t *testing.T) {
	dir, err := os.MkdirTemp("", "seed") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	child := startControl(t, dir, edgetest.Start(t).Socket)
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait() // killed
	}()
	s := newSticks(t)
	s.State = dir
	s.put(s.Stick, seed.FileName, soundSeed)
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	box := overSocket(filepath.Join(dir, "c.sock"))
	var status control.Status
	var setup api.Setup
	for deadline := time.Now().Add(20 * time.Second); !status.InForce; time.Sleep(20 * time.Millisecond) {
		err := errors.Join(box.get(t.Context(), "/api/v1/status", &status), box.get(t.Context(), "/api/v1/setup-code", &setup))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the seed is not applied: %+v (%v)", status, err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); len(status.Conditions) == 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := errors.Join(box.get(t.Context(), "/api/v1/status", &status), box.get(t.Context(), "/api/v1/setup-code", &setup)); err != nil {
			t.Fatal(err)
		}
	}
	if !setup.Claimed || setup.Code != "" || status.Revision != 1 || len(status.Conditions) != 1 ||
		!strings.HasPrefix(status.Conditions[0].Detail, "Seed: applied from BREAKWATER at ") {
		t.Errorf("setup %+v, status %+v", setup, status)
	}
	if seed.Waits(dir) || !seed.Owned(dir) {
		t.Error("another seed would not be told that this box has an owner")
	}
}

func TestSeedIsLeftAlone(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(s *sticks)
		err     string // in the error and the notice
		notice  string
		out     string
	}{
		{"nothing there", func(*sticks) {}, "", "", ""},
		{"no file", func(s *sticks) { s.put(s.Stick, "readme.txt", "") }, "", "", ""},
		{"an owner", func(s *sticks) { s.put(s.Stick, seed.FileName, soundSeed); s.put(s.State, "access.json", "") }, "", "", "This box has an owner"},
		{"an owner, and no stick", func(s *sticks) { s.put(s.State, "access.json", "") }, "", "", ""},
		{"another one waits", func(s *sticks) { s.put(s.Stick, seed.FileName, soundSeed); s.put(s.State, "seed.json", "{}") }, "", "", "or a seed already"},
		{"problems", func(s *sticks) { s.put(s.Stick, seed.FileName, `{"schema":1,"settings":{"schema":1,"servcies":[]}}`) },
			"settings.servcies", "accounts: is missing", ""},
		{"a directory", func(s *sticks) { s.put(filepath.Join(s.Stick, seed.FileName), "x", "") }, "the seed file is no file", "The seed file on BREAKWATER was not applied", ""},
		{"a book", func(s *sticks) { s.put(s.Stick, seed.FileName, strings.Repeat(" ", seed.MaxSize+1)) }, "at most 2097152 are allowed", "at most 2097152", ""},
		{"a broken stick", func(s *sticks) { s.put(s.Stick, "broken", "") }, "wrong fs type", "BREAKWATER could not be looked at", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSticks(t)
			s.put(s.State, "seed-notice.json", "of the last time")
			test.prepare(s)
			before := s.state("seed.json")
			err := s.run()
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			notice := s.state("seed-notice.json")
			if owned := seed.Owned(s.State) || before != ""; !owned && (notice == "") != (test.notice == "") || !strings.Contains(notice, test.notice) {
				t.Errorf("notice %s, want %q", notice, test.notice)
			}
			if out := s.out.String(); (out == "") != (test.out == "") || !strings.Contains(out, test.out) {
				t.Errorf("told %q, want %q", out, test.out)
			}
			if s.state("seed.json") != before {
				t.Error("a seed was handed over")
			}
			if f := s.opened[s.Stick]; f != nil {
				info, err := f.Stat()
				if _, there := os.Stat(f.Name()); err != nil || there != nil || test.name == "an owner" && info.Size() != int64(len(soundSeed)) {
					t.Errorf("the file was touched: %v, %v", there, err)
				}
			}
		})
	}
}

// TestSeedThatCannotBeWiped: it is applied all the same, and its owner is told to destroy it.
func TestSeedThatCannotBeWiped(t *testing.T) {
	s := newSticks(t)
	s.put(s.Stick, seed.FileName, soundSeed)
	s.wipe = func(*os.Root, int64) error { return errors.New("the stick is read-only") }
	err := s.run()
	if err == nil || !strings.Contains(s.state("seed-notice.json"), "The stick is read-only. It was handed over, and holds hashes of passwords: destroy it.") || s.state("seed.json") == "" {
		t.Errorf("got %v, notice %s", err, s.state("seed-notice.json"))
	}
}

func TestHashPassword(t *testing.T) {
	for _, test := range []struct{ typed, want string }{
		{"seven boats under granite 42\n", "$argon2id$v=19$m=19456,t=2,p=1$"},
		{"seven boats under granite 42", "$argon2id$"},
		{"short\n", "the password needs at least 12 characters"},
		{"", "empty"},
	} {
		t.Run(test.typed, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), &env{strings.NewReader(test.typed), &out, &out}, []string{"hash-password"})
			if got := strings.ToLower(fmt.Sprint(out.String(), err)); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
