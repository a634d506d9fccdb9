//go:build e2e

package kernel

import (
	"os"
	"testing"
)

// pins gives a directory of its own in the file system of pinned maps.
func pins(t testing.TB) string {
	t.Helper()
	if err := mountBPF(bpfFS + "/x"); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(bpfFS, "breakwater-test-")
	if err != nil {
		t.Fatalf("make a directory for pinned maps: %v", err)
	}
	t.Cleanup(func() {
		if err := Clear(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestLoad: the verifier takes the programs, and a second load finds the maps of the first.
func TestLoad(t *testing.T) {
	dir := pins(t)
	first, err := load(dir)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	second, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := first.Sessions.Info()
	b, errB := second.Sessions.Info()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	idA, _ := a.ID()
	idB, _ := b.ID()
	if idA != idB {
		t.Errorf("the sessions are in map %d, then in map %d", idA, idB)
	}
	if err := first.close(); err != nil {
		t.Error(err)
	}
	if err := second.close(); err != nil {
		t.Error(err)
	}
}
