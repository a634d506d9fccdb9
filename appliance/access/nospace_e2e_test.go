//go:build e2e

package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/store"
)

// TestNobodyCouldLogInWhileTheDiskWasFull fills a small file system and the free pages of the store.
func TestNobodyCouldLogInWhileTheDiskWasFull(t *testing.T) {
	b := &box{clock: newBox(t).clock, dir: t.TempDir(), log: newBox(t).log}
	if err := unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("mount a small file system: %v (needs root)", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(b.dir, 0)) })
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	anna, stored, err := b.Claim(t.Context(), peer(0), b.SetupCode(), "anna", goodPassword)
	must(t, err)
	recovery := enableTOTP(t, b, anna)

	ballast := filepath.Join(b.dir, "ballast")
	f, err := os.Create(ballast)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	for i := 0; !errors.Is(err, ErrNoSpace); i++ {
		err = b.store.UpdateAccess(func(tx *store.AccessTx) error {
			return tx.PutToken(store.Token{Sum: store.SumOf(fmt.Sprint(i)), Name: fmt.Sprint(i)})
		})
		if i > 10_000 {
			t.Fatal("the disk does not fill")
		}
	}
	assertLoginsWithoutStore(t, b, anna, stored, recovery[0], ErrNoSpace)

	must(t, os.Remove(ballast))
	b.clock.advance(absoluteTime)
	_, cookie, err := b.Login(t.Context(), peer(9), "anna", goodPassword, recovery[0])
	must(t, err)
	b.restart(t)
	if _, err := b.ByCookie(cookie, peer(9)); err != nil {
		t.Errorf("a login after there was room again: %v", err)
	}
	must(t, b.AuditCheck())
}
