//go:build e2e

package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAFullDisk fills a small file system, in steps of a document, until a commit is refused.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a small file system: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	// Ballast makes room again later, as an operator would.
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var committed uint64
	for err == nil {
		committed++
		_, err = s.Commit(Revision{Document: make([]byte, 20<<10)})
	}
	committed--
	if !errors.Is(err, ErrNoSpace) || committed < 3 {
		t.Fatalf("after %d commits: got %v, want ErrNoSpace", committed, err)
	}
	assertKept := func(s *Store, want uint64) {
		t.Helper()
		n, err := s.newest()
		plain, plainErr := s.plainFiles()
		if n != want || len(plain) != int(want) || errors.Join(err, plainErr) != nil {
			t.Errorf("the newest is %d with %d plain files (%v, %v), want %d", n, len(plain), err, plainErr, want)
		}
	}
	assertKept(s, committed)
	if err := s.UpdateAccess(putOneOfEach); err != nil && !errors.Is(err, ErrNoSpace) {
		t.Errorf("UpdateAccess: got %v, want nil or ErrNoSpace", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open0(t, dir)
	assertKept(s, committed)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 1)
	assertKept(s, committed+1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(filepath.Join(dir, FileName)); err != nil {
		t.Error(err)
	}
}
