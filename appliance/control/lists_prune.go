package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"breakwater/appliance/store"
)

// prune removes the files of lists that no settings need. Those of the current revision and of the candidate stay; so do those
// that a kept revision wants uploaded, as nobody could fetch them again after a roll back. Files about countries and networks are
// two, and stay. Whatever cannot be read is no reason to remove anything.
func (k *listKeeper) prune() error {
	k.taking.Lock() // no file is on its way
	defer k.taking.Unlock()
	files, err := k.listFiles()
	if err != nil {
		return err
	}
	for _, needed := range []func() (map[string]bool, error){k.c.listsInForce, k.c.listsUploaded} {
		if len(files) == 0 { // nearly always: then nobody reads all revisions
			return nil
		}
		names, err := needed()
		if err != nil {
			return err
		}
		maps.DeleteFunc(files, func(name string, _ []string) bool { return names[name] })
	}
	var failed []error
	for name, paths := range files {
		if err := removeAll(paths); err != nil {
			failed = append(failed, err)
			continue
		}
		k.mu.Lock()
		delete(k.lists, name)
		k.mu.Unlock()
		k.c.log.Info("removed the files of a list that no settings name", "name", name)
	}
	return errors.Join(failed...)
}

// removeAll removes files one after the other: what is known of a list goes before it, as a list that is not there must not be known.
func removeAll(paths []string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// listFiles are the files of lists by their names, what is known of each before it.
func (k *listKeeper) listFiles() (map[string][]string, error) {
	files := map[string][]string{}
	entries, err := os.ReadDir(k.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // in order: .json before .list
		file := e.Name()
		name, ending, _ := strings.Cut(file, ".")
		switch {
		case e.IsDir():
		case ending == "json", ending == "list":
			files[name] = append(files[name], filepath.Join(k.Dir, file))
		}
	}
	return files, nil
}

// listsInForce are the lists that the candidate and the current revision name. Between the two reads the one may become the other.
func (c *Control) listsInForce() (map[string]bool, error) {
	names := map[string]bool{}
	candidate, err := c.store.Candidate()
	if err == nil {
		err = addLists(names, candidate.Document, false)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	current, err := c.store.Current()
	if err != nil {
		return nil, err
	}
	return names, addLists(names, current.Document, false)
}

// listsUploaded are the lists without a URL of all revisions that are kept.
func (c *Control) listsUploaded() (map[string]bool, error) {
	revisions, err := c.store.Revisions()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, r := range revisions {
		if r, err = c.store.Revision(r.Number); errors.Is(err, store.ErrNotFound) {
			continue // it was forgotten just now
		}
		if err == nil {
			err = addLists(names, r.Document, true)
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// addLists adds the lists that a document names, of any version: all, or those that are uploaded.
func addLists(names map[string]bool, document []byte, uploaded bool) error {
	var part struct {
		Shield struct{ Lists []struct{ Name, URL string } }
	}
	if err := json.Unmarshal(document, &part); err != nil {
		return fmt.Errorf("read which lists settings name: %w", err)
	}
	for _, l := range part.Shield.Lists {
		if !uploaded || l.URL == "" {
			names[l.Name] = true
		}
	}
	return nil
}
