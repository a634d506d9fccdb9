package control_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
)

// files are the names of what is in the directory of lists, without what is known of each.
func (b *listBox) files() (names []string) {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, "lists"))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) != ".json" {
			names = append(names, e.Name())
		}
	}
	return names
}

func (b *listBox) untilFiles(want ...string) {
	b.t.Helper()
	b.until("files "+strings.Join(want, " "), func() bool { return slices.Equal(b.files(), want) })
}

// TestFilesOfFormerLists: a file goes when no settings need it. What is fetched comes again with a roll back; what was uploaded
// stays for one.
func TestFilesOfFormerLists(t *testing.T) {
	b := newListBox(t)
	far := `{ "name": "far", "url": "` + b.server.URL + `/" }`
	b.shield(`{ "lists": [ { "name": "friends", "action": "allow" }, ` + far + ` ] }`)
	if _, err := b.TakeList("friends", strings.NewReader("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	b.untilFiles("far.list", "friends.list")
	b.until("both in force", func() bool { return b.class("192.0.2.1") == "0friendstrue" && b.class("192.0.2.2") == "0farfalse" })

	// A candidate without them may be reverted: all stays until it is confirmed.
	document := []byte(`{ "schema": 1, "edge": { "interfaces": [], "addresses": [] }, "pools": [], "services": [], "shield": { "lists": [ { "name": "other" } ] } }`)
	if _, err := b.Propose(t.Context(), document, control.Meta{Author: "anna", Confirm: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TakeList("other", strings.NewReader("192.0.2.9")); err != nil {
		t.Fatal(err)
	}
	b.until("the candidate in force", func() bool { return b.class("192.0.2.9") == "0otherfalse" })
	if got, want := b.files(), []string{"far.list", "friends.list", "other.list"}; !slices.Equal(got, want) {
		t.Errorf("while a candidate waits the files are %v, want %v", got, want)
	}
	if _, err := b.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.shield(`{}`)
	b.untilFiles("friends.list", "other.list")
	if _, err := os.Stat(filepath.Join(b.dir, "lists", "far.json")); !os.IsNotExist(err) {
		t.Errorf("what is known of a list that is gone: %v", err)
	}

	if _, err := b.Rollback(t.Context(), 1, control.Meta{Author: "anna"}); err != nil {
		t.Fatal(err)
	}
	b.until("both in force again", func() bool { return b.class("192.0.2.1") == "0friendstrue" && b.class("192.0.2.2") == "0farfalse" })
	b.untilFiles("far.list", "friends.list", "other.list")
}

// TestFilesThatNobodyKnows: what a power cut left is removed at the next start.
func TestFilesThatNobodyKnows(t *testing.T) {
	b := newListBox(t)
	b.shield(`{ "lists": [ { "name": "part", "url": "` + b.server.URL + `/" } ] }`)
	b.untilFiles("part.list")
	b.end()
	unfinished := []string{".123.part", ".123-copy.part", "geo/.4711.part"}
	for _, name := range append(unfinished, "far.list", "far.json") {
		if err := os.WriteFile(filepath.Join(b.dir, "lists", name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	for _, name := range unfinished {
		if _, err := os.Stat(filepath.Join(b.dir, "lists", name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	b.untilFiles("part.list")
}
