package host

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/settings"
	"breakwater/appliance/whole"
)

// recorder is a network on a directory that writes down what it would do to a machine.
type recorder struct {
	Network
	did   []string
	fails string // what does not succeed
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{}
	do := func(what string) error {
		if r.did = append(r.did, what); what == r.fails {
			return errors.New("no")
		}
		return nil
	}
	unit := func(name string) func(context.Context) error {
		return func(context.Context) error { return do(name) }
	}
	r.Network = Network{Root: t.TempDir(), Ports: func() []Port { return []Port{{Name: "lan0"}, {Name: "wan0"}} },
		Firewall:   func(context.Context, string) error { return do("firewall") },
		DeleteLink: func(name string) error { return do("delete " + name) },
		Units: Units{Names: unit("names"), Time: unit("time"),
			Network: func(context.Context, []Expected) error { return do("network") }}}
	return r
}

// apply returns what was done.
func (r *recorder) apply(t *testing.T, s settings.Settings) []string {
	t.Helper()
	r.did = nil
	if err := r.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return r.did
}

func TestApply(t *testing.T) {
	const lan = `{ "name": "lan0", "addresses": ["192.0.2.10/24"] }`
	vlans := func(id string) string {
		return `{ "interfaces": [ ` + lan + `, { "name": "a", "vlan": ` + id + `, "parent": "lan0" }, { "name": "b", "vlan": 6, "parent": "a" }, { "name": "c", "vlan": 7, "parent": "lan0" } ] }`
	}
	r := newRecorder(t)
	steps := []struct {
		name string
		s    settings.Settings
		want []string
	}{
		{"the first time", machine(t, vlans("5")), []string{"firewall", "time", "network"}},
		{"again", machine(t, vlans("5")), []string{"firewall", "network"}},
		{"another VLAN, and one on it", machine(t, vlans("8")), []string{"firewall", "delete a", "delete b", "network"}},
		{"no VLANs", machine(t, `{ "interfaces": [ `+lan+` ] }`), []string{"firewall", "delete a", "delete b", "delete c", "network"}},
		{"name servers", machine(t, `{ "interfaces": [ `+lan+` ] }`, `"dns": { "servers": ["192.0.2.53"] }`), []string{"firewall", "names", "network"}},
		{"time servers", machine(t, `{ "timeServers": ["192.0.2.123"] }`), []string{"firewall", "names", "time", "network"}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, r.apply(t, step.s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		have, err := r.files()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Files(step.s), have); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", step.name, diff)
		}
	}
}

// A file of an interface that stays the same is not touched: systemd-networkd would configure that anew.
func TestApplyLeavesAlone(t *testing.T) {
	r := newRecorder(t)
	r.apply(t, machine(t, `{ "interfaces": [ { "name": "lan0", "addresses": ["192.0.2.10/24"] }, { "name": "wan0", "addresses": ["192.0.3.10/24"] } ] }`))
	inode := func(name string) uint64 {
		info, err := os.Stat(filepath.Join(r.Root, networkDir, made+name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	lan, wan := inode("lan0.network"), inode("wan0.network")
	r.apply(t, machine(t, `{ "interfaces": [ { "name": "lan0", "addresses": ["192.0.2.10/24"] }, { "name": "wan0", "addresses": ["192.0.3.11/24"] } ] }`))
	if inode("lan0.network") != lan || inode("wan0.network") == wan {
		t.Errorf("lan0 written again: %t, wan0: %t; want only wan0", inode("lan0.network") != lan, inode("wan0.network") != wan)
	}
}

// What one part cannot have keeps no other from being made: a change that is taken back must come as far as it can.
func TestApplyGoesOn(t *testing.T) {
	for _, fails := range []string{"firewall", "delete a", "names", "time", "network"} {
		t.Run(fails, func(t *testing.T) {
			r := newRecorder(t)
			r.apply(t, machine(t, `{ "interfaces": [ { "name": "a", "vlan": 5, "parent": "lan0" } ] }`))
			r.fails, r.did = fails, nil
			s := machine(t, `{ "timeServers": ["192.0.2.123"] }`, `"dns": { "servers": ["192.0.2.53"] }`)
			if err := r.Apply(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no") {
				t.Errorf("got %v, want the failure", err)
			}
			if want := []string{"firewall", "delete a", "names", "time", "network"}; !slices.Equal(r.did, want) {
				t.Errorf("did %q, want %q", r.did, want)
			}
			have, err := r.files()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Files(s), have); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnfinishedFileGoes: what an end in the middle of a file left is not there for ever.
func TestUnfinishedFileGoes(t *testing.T) {
	r := newRecorder(t)
	dir := filepath.Join(r.Root, networkDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	part, err := whole.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	r.apply(t, machine(t, `{ "interfaces": [ { "name": "lan0" } ] }`))
	if _, err := os.Stat(part.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unfinished file: %v, want that there is none", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestReadNetwork(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "network.json")
	if _, err := ReadNetwork(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v, want ErrNotExist", err)
	}
	s := machine(t, `{ "name": "box", "interfaces": [ { "name": "lan0" } ] }`, `"updates": { "url": "https://updates.example.org/" }`)
	if err := whole.Write(path, settings.Encode(networkPart(s)), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNetwork(path)
	if err != nil || !SameNetwork(got, s) || got.Updates.URL != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, make := range map[string]func(path string) error{
		"symlink":   func(p string) error { return os.Symlink(path, p) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"huge":      func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte(" "), settings.MaxSize+1), 0o644) },
		"text":      func(p string) error { return os.WriteFile(p, []byte("hello"), 0o644) },
		"injected": func(p string) error {
			return os.WriteFile(p, []byte(`{"schema":1,"edge":{"interfaces":[],"addresses":[]},"pools":[],"services":[],"host":{"name":"a\n[Match]\nName=*"}}`), 0o644)
		},
	} {
		hostile := filepath.Join(dir, name)
		if err := make(hostile); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadNetwork(hostile); err == nil {
			t.Errorf("%s: got %+v, want an error", name, s)
		}
	}
}

// FuzzFiles holds what root writes for any settings without problems: files in three directories, whose lines are those
// that we write, whatever the document says.
func FuzzFiles(f *testing.F) {
	for _, name := range []string{"schema-1.json", "smallest.json"} {
		content, err := os.ReadFile(filepath.Join("../settings/testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add(settings.Encode(machine(f, `{ "interfaces": [ { "name": "a", "vlan": 5, "parent": "b.-_" } ], "timeServers": ["ntp.example.org"] }`)))
	f.Fuzz(func(t *testing.T, document []byte) {
		s, problems := settings.Read(document)
		if len(problems) > 0 {
			return
		}
		for path, content := range Files(s) {
			if path != filepath.Clean(path) || !slices.Contains([]string{networkDir, resolvedDir, timeDir}, filepath.Dir(path)) {
				t.Errorf("a file %q", path)
			}
			for line := range strings.Lines(content) {
				key, _, isSetting := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				isSource := strings.HasPrefix(line, "pool ") || strings.HasPrefix(line, "server ")
				switch {
				case line == "\n", line == banner, isSource && len(strings.Fields(line)) == 3:
				case isSetting && !strings.ContainsAny(key, " []#;") && strings.IndexFunc(line[:len(line)-1], func(r rune) bool { return r < ' ' || r > '~' }) < 0:
				case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]\n") && slices.Contains([]string{"Match", "Link", "NetDev", "VLAN", "Bond", "Network", "Route", "DHCPv4", "DHCPv6", "Resolve"}, line[1:len(line)-2]):
				default:
					t.Errorf("%s has the line %q", path, line)
				}
			}
		}
		for line := range strings.Lines(Firewall(s, nil)) {
			if !strings.HasPrefix(line, "flush chain inet breakwater-host ") && !strings.HasPrefix(line, "add rule inet breakwater-host ") {
				t.Errorf("nft would read %q", line)
			}
		}
	})
}
