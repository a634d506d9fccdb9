package control_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/host"
	"breakwater/appliance/store"
	"breakwater/appliance/update"
)

// updateBox is a box that is an appliance, as far as its versions are concerned.
type updateBox struct {
	*box
	options control.UpdateOptions
	key     ed25519.PrivateKey
	runs    atomic.Pointer[host.System]
	install atomic.Pointer[error] // what the unit answers
	proceed chan struct{}
}

func newUpdateBox(t *testing.T) *updateBox {
	t.Helper()
	b := &updateBox{box: newBox(t), proceed: make(chan struct{}, 1)}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.key = key
	b.runs.Store(&host.System{Version: running, Slot: "A"})
	b.install.Store(new(error))
	b.options = control.UpdateOptions{Dir: filepath.Join(b.dir, "update"), Key: public, System: func() host.System { return *b.runs.Load() },
		Install: func(context.Context) error { <-b.proceed; return *b.install.Load() }, Dial: (&net.Dialer{}).DialContext}
	b.restart()
	return b
}

// restart is one of control.
func (b *updateBox) restart() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	s, report, err := store.Open(b.dir, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = s
	b.Control, err = control.New(control.Options{Store: s, Report: report, Edge: edgelink.New(b.edge.Socket), Update: b.options})
	if err != nil {
		b.t.Fatal(err)
	}
}

// made is an update whose system has size bytes.
func (b *updateBox) made(version string, key ed25519.PrivateKey, size int) []byte {
	b.t.Helper()
	var out bytes.Buffer
	name := "breakwater_" + version
	err := update.Write(&out, key, update.Release{Version: version, Schema: 1, Notes: "- New.\n"}, fstest.MapFS{
		name + ".efi": {Data: []byte("a kernel")}, name + ".root." + strings.Repeat("1", 32) + ".raw": {Data: make([]byte, size)},
		name + ".verity." + strings.Repeat("2", 32) + ".raw.gz": {Data: []byte("hashes")}})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

func (b *updateBox) receive(whole []byte) error {
	_, err := b.ReceiveUpdate(bytes.NewReader(whole), int64(len(whole)))
	return err
}

// want compares the state, the version of the release, and a part of the reason.
func (b *updateBox) want(state control.UpdateState, version, reason string) control.Update {
	b.t.Helper()
	u, err := b.Update(b.t.Context())
	got := ""
	if u.Release != nil {
		got = u.Release.Version
	}
	if err != nil || u.State != state || got != version || !strings.Contains(u.Reason, reason) || reason == "" && u.Reason != "" {
		b.t.Errorf("got %q of %q, reason %q, %v; want %q of %q, reason %q", u.State, got, u.Reason, err, state, version, reason)
	}
	return u
}

func (b *updateBox) files() []string {
	b.t.Helper()
	entries, err := os.ReadDir(b.options.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (b *updateBox) state(is control.UpdateState) func() bool {
	return func() bool {
		u, err := b.Update(b.t.Context())
		return err == nil && u.State == is
	}
}

func (b *updateBox) condition(code string) string {
	b.t.Helper()
	s, err := b.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range s.Conditions {
		if c.Code == code {
			return c.Title + ": " + c.Detail
		}
	}
	return ""
}

func second(_ string, err error) error { return err }
