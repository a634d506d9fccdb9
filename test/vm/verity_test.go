//go:build vm

package vm

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneBitIsWrong: a system that is not what was built is not run.
func TestOneBitIsWrong(t *testing.T) {
	image := filepath.Join(t.TempDir(), "breakwater.raw")
	found, err := filepath.Glob("../../build/image/breakwater_*.raw")
	if err != nil || len(found) != 1 {
		t.Fatalf("images: %q, %v; want one", found, err)
	}
	if out, err := exec.Command("cp", "--sparse=always", found[0], image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	flipSystemBit(t, image)
	m := boot(t, freePort(t), image)
	waitFor(t, m, bootWait, func() (string, bool) {
		content, err := os.ReadFile(m.serial)
		if err != nil {
			return err.Error(), false
		}
		return string(content), strings.Contains(string(content), "dm-verity device corrupted")
	})
	if s := m.screen(); strings.Contains(s, "READY") {
		t.Errorf("it started:\n%s", s)
	}
}

// flipSystemBit changes the label of the system, which means nothing to the kernel. The system is the
// third partition (UEFI 2.10, 5.3.3: entries of 128 bytes from block 2 on, the first block of each at byte 32).
func flipSystemBit(t *testing.T, image string) {
	t.Helper()
	const block, entry = 512, 128
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := make([]byte, 8)
	if _, err := f.ReadAt(first, 2*block+2*entry+32); err != nil {
		t.Fatal(err)
	}
	at := int64(binary.LittleEndian.Uint64(first))*block + 1024
	superblock := make([]byte, 128)
	if _, err := f.ReadAt(superblock, at); err != nil {
		t.Fatal(err)
	}
	if magic := binary.LittleEndian.Uint32(superblock); magic != 0xe0f5e1e2 {
		t.Fatalf("no erofs where the system should be: %#x", magic)
	}
	superblock[64] ^= 1
	if _, err := f.WriteAt(superblock, at); err != nil {
		t.Fatal(err)
	}
}
