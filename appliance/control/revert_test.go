package control_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/store"
)

// TestARevertSaidThatNothingWasChanged reverts while the store cannot be written, here as a newer version has written it.
// The version is beside its key in a page of the file, and pages have no checksum.
func TestARevertSaidThatNothingWasChanged(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustPropose("two", time.Minute)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, store.FileName)
	file, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(file, fmt.Append(nil, "schema", store.Schema), fmt.Append(nil, "schema", store.Schema+1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.start()
	b.assert(1, "two")
	err = b.Revert(t.Context(), "test")
	if _, ok := errors.AsType[*control.NotForgotten](err); !ok || !errors.Is(err, control.ErrNewer) {
		t.Errorf("got %v, want NotForgotten with ErrNewer", err)
	}
	b.assert(1, "one")
	if p := b.Pending(); p != nil {
		t.Errorf("%+v waits still", p)
	}
}

func TestTheSentenceOfARevertOnAFullDisk(t *testing.T) {
	err := &control.NotForgotten{Deadline: time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC), Err: control.ErrNoSpace}
	text := err.Error()
	if strings.Contains(text, "nothing was changed") {
		t.Errorf("%q is not true", text)
	}
	for _, part := range []string{"is taken back", "full", "2026-03-01 12:01:00"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}
