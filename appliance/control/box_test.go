package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/crash"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/store"
)

// documentWith is a valid document; different names make different documents.
func documentWith(name string) []byte {
	return fmt.Appendf(nil, `{ "schema": 1,
  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": %q, "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": %q } ] }`, name, name)
}

// box is a control on a store and a stand-in for edge, with a clock that the test moves.
type box struct {
	*control.Control
	t     *testing.T
	dir   string
	store *store.Store
	edge  *edgetest.Edge
	now   time.Time

	machine *control.Machine // nil: somebody else's
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir(), edge: edgetest.Start(t), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.start()
	t.Cleanup(func() { _ = b.store.Close() })
	return b
}

// start opens the store and makes a control, as a start of the process does.
func (b *box) start() {
	b.t.Helper()
	s, report, err := store.Open(b.dir, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = s
	crashes := crash.Open(crash.Options{File: filepath.Join(b.dir, "crashes.json"), Version: "1"})
	b.Control, err = control.New(control.Options{Store: s, Report: report, Edge: edgelink.New(b.edge.Socket), Now: func() time.Time { return b.now },
		Machine: b.machine, Crashes: crashes})
	if err != nil {
		b.t.Fatal(err)
	}
}

// crash is what is left of the process after a crash: what was on the disk.
func (b *box) crash() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.start()
}

func (b *box) propose(name string, confirm time.Duration) (control.Result, error) {
	return b.Propose(b.t.Context(), documentWith(name), control.Meta{Author: "anna", Reason: "because", Confirm: confirm})
}

func (b *box) mustPropose(name string, confirm time.Duration) control.Result {
	b.t.Helper()
	r, err := b.propose(name, confirm)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// assert compares the current revision and the pool that edge runs.
func (b *box) assert(revision uint64, pool string) {
	b.t.Helper()
	current, err := b.Current()
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		b.t.Fatal(err)
	}
	if current.Number != revision {
		b.t.Errorf("the current revision is %d, want %d", current.Number, revision)
	}
	got := ""
	if p := b.edge.Plan(); p != nil && len(p.Pools) > 0 {
		got = p.Pools[0].Name
	}
	if got != pool {
		b.t.Errorf("edge runs pool %q, want %q", got, pool)
	}
}

// runUntil runs the keeper until done is true.
func (b *box) runUntil(done func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Error("it did not happen in time")
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.t.Errorf("Run: %v", err)
	}
}

func (b *box) codes() []string {
	b.t.Helper()
	s, err := b.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var codes []string
	for _, c := range s.Conditions {
		codes = append(codes, c.Code)
	}
	return codes
}

func makeDirectory(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
