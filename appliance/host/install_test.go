package host

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfirmed(t *testing.T) {
	labelled, bare := Disk{Name: "sda", Serial: "WD-1 2ab"}, Disk{Name: "vda", Serial: "1"}
	tests := []struct {
		disk  Disk
		typed string
		want  bool
	}{
		{labelled, "12ab", true}, {labelled, " 12AB ", true}, {labelled, "INSTALL sda", true}, {labelled, "install  sda", true},
		{labelled, "", false}, {labelled, "yes", false}, {labelled, "INSTALL", false}, {labelled, "INSTALL sdb", false}, {labelled, "WD-12ab", false},
		{bare, "INSTALL vda", true}, {bare, "1", false}, {bare, "", false},
	}
	for _, test := range tests {
		if got := test.disk.Confirmed(test.typed); got != test.want {
			t.Errorf("%s, typed %q: got %v, want %v", test.disk.Name, test.typed, got, test.want)
		}
	}
}

func TestFindDisk(t *testing.T) {
	good := Disk{Name: "sda", Sequence: 7, Serial: "ABCDEF", Size: 8e9}
	request := good.Request("CDEF")
	change := func(change func(*Disk)) []Disk { d := good; change(&d); return []Disk{{Name: "sdb", Sequence: 1}, d} }
	tests := []struct {
		name  string
		disks []Disk
		want  string
	}{
		{"as it was", change(func(*Disk) {}), ""},
		{"gone", nil, "is not there any more"},
		{"another one under its name", change(func(d *Disk) { d.Sequence = 8 }), "is not there any more"},
		{"a kernel that does not number disks", change(func(d *Disk) { d.Sequence = 0 }), "is not there any more"},
		{"another serial number", change(func(d *Disk) { d.Serial = "ABCDEG" }), "sda is not the disk any more that was chosen"},
		{"another size", change(func(d *Disk) { d.Size-- }), "sda is not the disk any more that was chosen"},
		{"renamed", change(func(d *Disk) { d.Name = "sdc" }), "sdc is not the disk any more that was chosen"},
		{"the stick", change(func(d *Disk) { d.Refusal = RefusedRunning }), "sda: the box runs from it"},
		{"small", change(func(d *Disk) { d.Refusal = RefusedSmall }), "sda: it is smaller than 4 GB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := FindDisk(test.disks, request)
			if test.want == "" && (err != nil || d != good) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v; want %q", d, err, test.want)
			}
		})
	}
	request.Confirmation = "yes"
	if _, err := FindDisk([]Disk{good}, request); err == nil || !strings.Contains(err.Error(), `was not confirmed with "CDEF"`) {
		t.Errorf("not confirmed: got %v", err)
	}
	request.Sequence = 0
	if d, err := FindDisk([]Disk{{}}, request); err == nil {
		t.Errorf("no number at all: got %+v", d)
	}
}

func TestInstallRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "install.json")
	disk := Disk{Name: "sda", Sequence: 7, Serial: "ABCDEF", Size: 8e9}
	for range 2 { // the second one replaces the first
		if err := disk.Request("CDEF").Write(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadInstallRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(InstallRequest{"sda", 7, "ABCDEF", 8e9, "CDEF"}, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// TestReadInstallRequestRefuses: whoever may write into the directory may write anything there.
func TestReadInstallRequestRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		"cut": `{"disk":"sda"`, "unknown": `{"disk":"sda","force":true}`, "two": `{"disk":"sda"} {"disk":"sdb"}`, "empty": "",
		"kind": `{"sequence":-1}`, "big": `{"disk":"` + strings.Repeat("x", 5000) + `"}`,
	} {
		if err := os.WriteFile(at(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("good"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("good"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInstallRequest(at("good")); err != nil {
		t.Errorf("good: %v", err)
	}
	for _, name := range []string{"cut", "unknown", "two", "empty", "kind", "big", "link", "fifo", "none", "."} {
		if r, err := ReadInstallRequest(at(name)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, r)
		}
	}
}

func FuzzInstallRequest(f *testing.F) {
	f.Add([]byte(`{"disk":"sda","sequence":7,"serial":"ABCDEF","size":8000000000,"confirmation":"CDEF"}`))
	f.Add([]byte(`{"disk":"sdb","sequence":8}`))
	disks := []Disk{
		{Name: "sda", Sequence: 7, Serial: "ABCDEF", Size: 8e9},
		{Name: "sdb", Sequence: 8, Serial: "ABCDEF", Size: 8e9, Refusal: RefusedRunning},
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parseInstallRequest(content)
		if err != nil {
			return
		}
		d, err := FindDisk(disks, r)
		if err == nil && (d.Name != "sda" || r.Disk != "sda" || !d.Confirmed(r.Confirmation)) {
			t.Errorf("%s installs to %+v", content, d)
		}
	})
}

func TestRootHash(t *testing.T) {
	root := newMachine(t, map[string]string{"proc/cmdline": "ro quiet roothash=12ab panic=10\n"})
	if got, err := RootHash(root); got != "12ab" || err != nil {
		t.Errorf("got %q, %v; want 12ab", got, err)
	}
	root = newMachine(t, map[string]string{"proc/cmdline": "root=/dev/sda1\n"})
	if got, err := RootHash(root); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}
