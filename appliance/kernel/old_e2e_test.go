//go:build e2e

package kernel

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestAnotherLayout: the maps of another version stay as long as they have sessions, and begin none.
func TestAnotherLayout(t *testing.T) {
	dir := pins(t)
	old, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.close() })
	if err := old.Config.Put(uint32(0), &bpfConfiguration{Layout: 77}); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "another-layout")
	if err := os.Rename(old.dir, other); err != nil {
		t.Fatal(err)
	}
	objects, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.close() })
	k := &Path{options: Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}, objects: objects}
	for _, tt := range []struct {
		total bpfTotal
		left  uint64
	}{{bpfTotal{Sessions: 2, Flows: 1}, 3}, {bpfTotal{Flows: 256}, 256}, {bpfTotal{}, 0}} {
		if err := old.Totals.Put(uint32(0), &tt.total); err != nil {
			t.Fatal(err)
		}
		left, err := k.retire()
		if err != nil || left != tt.left {
			t.Errorf("%d sessions and flows are left, %v, want %d", left, err, tt.left)
		}
		var c bpfConfiguration
		if err := old.Config.Lookup(uint32(0), &c); err != nil {
			t.Fatal(err)
		}
		if c.Off == 0 || c.Layout != 77 {
			t.Errorf("the other version is configured as %+v, want it off", c)
		}
		if _, err := os.Stat(other); (err == nil) != (tt.left > 0) {
			t.Errorf("with %d left its maps are there: %t", tt.left, err == nil)
		}
	}
	if _, err := os.Stat(objects.dir); err != nil {
		t.Errorf("the maps of this version are gone: %v", err)
	}
}
