package edge

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"breakwater/appliance/lists"
	"breakwater/appliance/status"
)

func (e *Edge) listsPrint() string {
	var s status.Edge
	e.addLists(&s)
	return s.Shield.Lists
}

func encodedTable() []byte {
	b := lists.NewBuilder()
	b.Layer(lists.Entries([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, b.Class(lists.Class{Name: "drop"})))
	return b.Table().Encode()
}

// TestListsOutliveEdge: they are in force again before control says a word.
func TestListsOutliveEdge(t *testing.T) {
	state := t.TempDir()
	e := newEdge(t, state)
	e.restoreLists()
	if got := e.listsPrint(); got != "" {
		t.Errorf("without lists the fingerprint is %q", got)
	}
	table := encodedTable()
	if w := ask(t, e, http.MethodPut, "/lists", string(table)); w.Code != http.StatusNoContent {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	want := lists.Fingerprint(table)
	next := newEdge(t, state)
	if next.restoreLists(); next.listsPrint() != want || e.listsPrint() != want {
		t.Errorf("edge has %q, the next one %q, want %q", e.listsPrint(), next.listsPrint(), want)
	}
	if w := ask(t, next, http.MethodPut, "/lists", string((&lists.Table{}).Encode())); w.Code != http.StatusNoContent || next.listsPrint() != "" {
		t.Errorf("without lists: got %d and %q", w.Code, next.listsPrint())
	}
}

// TestBrokenListsAreRefused: nothing of a table that is not whole comes into force or onto the disk.
func TestBrokenListsAreRefused(t *testing.T) {
	state := t.TempDir()
	e := newEdge(t, state)
	table := encodedTable()
	if w := ask(t, e, http.MethodPut, "/lists", string(table)); w.Code != http.StatusNoContent {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for _, body := range []string{"", "BWLISTS1", string(table[:len(table)-1]), string(table) + "x", "{}"} {
		if w := ask(t, e, http.MethodPut, "/lists", body); w.Code != http.StatusBadRequest {
			t.Errorf("%d bytes are answered with %d", len(body), w.Code)
		}
	}
	if kept, err := os.ReadFile(filepath.Join(state, ListsFile)); err != nil || string(kept) != string(table) || e.listsPrint() != lists.Fingerprint(table) {
		t.Errorf("the former lists are gone: %v", err)
	}
	if files, err := os.ReadDir(state); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// TestListsOnAFullDisk: a disk that takes nothing does not make a table broken, and is told behind it.
func TestListsOnAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	disk := &remembering{out: full}
	if _, _, err := lists.Decode(io.TeeReader(bytes.NewReader(encodedTable()), disk)); err != nil {
		t.Errorf("the table is refused: %v", err)
	}
	if !errors.Is(disk.failed, syscall.ENOSPC) {
		t.Errorf("got %v, want that the disk is full", disk.failed)
	}
}

// TestDamagedListsAreAskedFor: a file that cannot be read has a fingerprint that no table has, so that control sends its own.
func TestDamagedListsAreAskedFor(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, ListsFile), []byte("BWLISTS1"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, state)
	e.restoreLists()
	if got := e.conditions.List(); len(got) != 1 || got[0].Code != listsNotRestored || e.listsPrint() != damagedLists {
		t.Errorf("conditions %+v, fingerprint %q", got, e.listsPrint())
	}
}
