//go:build e2e

package control_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/control"
)

// TestAnUpdateForWhichThereIsNoRoom: refused before a byte is read where its size is known, and while it is read where it
// is not; the room for settings and logs is left.
func TestAnUpdateForWhichThereIsNoRoom(t *testing.T) {
	b := newUpdateBox(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=120m"); err != nil {
		t.Fatalf("mount a small file system: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	b.options.Dir = dir
	b.restart()
	large := b.made(newer, b.key, 60<<20)
	in := bytes.NewReader(large)
	if _, err := b.ReceiveUpdate(in, int64(len(large))); !errors.Is(err, control.ErrNoSpace) || in.Len() != len(large) {
		t.Errorf("with its size: got %v after %d bytes, want ErrNoSpace before the first", err, len(large)-in.Len())
	}
	b.want(control.UpdateNone, "", "64 MiB must stay free")
	if _, err := b.ReceiveUpdate(bytes.NewReader(large), -1); !errors.Is(err, control.ErrNoSpace) {
		t.Errorf("without its size: got %v, want ErrNoSpace", err)
	}
	if left := b.files(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := b.receive(b.made(newer, b.key, 20<<20)); err != nil {
		t.Errorf("a smaller one: %v", err)
	}
	b.want(control.UpdateReceived, newer, "")
}
