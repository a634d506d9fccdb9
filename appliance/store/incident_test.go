package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheLastIncidentsAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	s.files.sync = func(*os.File) error { return nil } // the disk is not what is tested
	s.db.NoSync = true
	for n := uint64(1); n <= MaxIncidents+3; n++ {
		if err := s.PutIncident(Incident{Number: n, Record: fmt.Append(nil, "record ", n), Details: fmt.Append(nil, "details ", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutIncident(Incident{Number: 7, Record: []byte("again"), Details: []byte("details again")}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Incidents()
	if err != nil || len(list) != MaxIncidents || list[0].Number != 4 || string(list[3].Record) != "again" || string(list[499].Record) != "record 503" {
		t.Fatalf("got %d incidents from %d on, error %v", len(list), list[0].Number, err)
	}
	if got, err := s.IncidentDetails(7); err != nil || string(got) != "details again" {
		t.Errorf("details of 7: %q, %v", got, err)
	}
	if _, err := s.IncidentDetails(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("details of a forgotten one: %v, want ErrNotFound", err)
	}
	if err := errors.Join(s.Close(), Check(filepath.Join(dir, FileName))); err != nil {
		t.Error(err)
	}
}

func TestWhatWasLearnedIsKept(t *testing.T) {
	s := open0(t, t.TempDir())
	if got := s.Learned(); len(got) > 0 {
		t.Errorf("a new store has learned %q", got)
	}
	if err := s.PutLearned([]byte("[1]")); err != nil {
		t.Fatal(err)
	}
	if got := s.Learned(); string(got) != "[1]" {
		t.Errorf("got %q", got)
	}
}

func TestSecrets(t *testing.T) {
	s := open0(t, t.TempDir())
	for _, value := range []Secret{"https://example.org/first", "https://example.org/second"} {
		if err := s.PutSecret(NamedSecret{Name: "webhook:a", Secret: value, Author: "anna"}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Secrets()
	if err != nil || len(list) != 1 || string(list[0].Secret) != "https://example.org/second" {
		t.Errorf("got %d secrets, error %v", len(list), err)
	}
	if text := fmt.Sprintf("%v %+v %q", list, list, list); strings.Contains(text, "example.org") {
		t.Errorf("printing shows it: %s", text)
	}
	if stored, err := json.Marshal(list); err != nil || !strings.Contains(string(stored), "example.org") {
		t.Errorf("it is not stored: %s, %v", stored, err)
	}
	if err := s.DeleteSecret("webhook:a"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteSecret("webhook:a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting again: %v, want ErrNotFound", err)
	}
}
