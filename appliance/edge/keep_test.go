package edge

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"breakwater/appliance/whole"
)

// TestUnfinishedFilesGo: what a power cut left is removed at the start, and nothing else.
func TestUnfinishedFilesGo(t *testing.T) {
	e := newEdge(t, t.TempDir())
	if err := e.keep(PlanFile, planOf(1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ListsFile, crashFile, "notes.part"} {
		if err := os.WriteFile(filepath.Join(e.options.State, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := names(t, e.options.State)
	for range 3 { // as keep and putLists begin
		if _, err := whole.Create(e.options.State); err != nil {
			t.Fatal(err)
		}
	}
	if err := prepareState(Options{State: e.options.State, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if after := names(t, e.options.State); !slices.Equal(after, before) {
		t.Errorf("there is %v, want %v", after, before)
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
