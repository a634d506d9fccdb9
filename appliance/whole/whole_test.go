package whole

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// has fails unless a directory has just these files, a name and its content in turn.
func has(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name(), string(content))
	}
	if !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	must(t, Write(path, []byte("a longer one"), 0o600))
	must(t, Write(path, []byte("another"), 0o644))
	has(t, dir, "list", "another")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("got %v, %v", info, err)
	}
	must(t, SyncFS(dir))
	must(t, Remove(path))
	must(t, Remove(path))
	has(t, dir)
}

// TestFailure: the former file stays, and nothing else, when the new one cannot be kept.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "taken"), 0o700))
	if err := Write(filepath.Join(dir, "taken"), nil, 0o600); err == nil {
		t.Error("a file is in place of a directory")
	}
	if err := Write(filepath.Join(dir, "nowhere", "list"), nil, 0o600); err == nil {
		t.Error("a file is where no directory is")
	}
	must(t, Remove(filepath.Join(dir, "taken")))
	path := filepath.Join(dir, "list")
	must(t, Write(path, []byte("the former"), 0o600))
	f, err := Create(dir)
	must(t, err)
	must(t, f.File.Close())
	if err := f.Keep(path); err == nil {
		t.Error("a file is kept that may not be on the disk")
	}
	f.Discard()
	has(t, dir, "list", "the former")
}

// TestUnfinished: a file is nowhere before it is kept; what was left of one goes, and nothing else does.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	must(t, err)
	_, err = io.WriteString(f, "half")
	must(t, err)
	has(t, dir, filepath.Base(f.Name()), "half")
	for _, name := range []string{"a.part", ".hidden"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, RemoveUnfinished(dir))
	has(t, dir, ".hidden", "", "a.part", "")
	if err := RemoveUnfinished(filepath.Join(dir, "nowhere")); !os.IsNotExist(err) {
		t.Errorf("without a directory: %v", err)
	}
}

// TestKeepCopy: one file under two names. What is discarded is the rest.
func TestKeepCopy(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	must(t, err)
	_, err = io.WriteString(f, "whole")
	must(t, err)
	must(t, f.Finish())
	must(t, f.KeepCopy(filepath.Join(dir, "a")))
	must(t, f.KeepCopy(filepath.Join(dir, "b")))
	f.Discard()
	has(t, dir, "a", "whole", "b", "whole")
}
