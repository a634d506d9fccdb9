//go:build vm

package vm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneBitIsWrong: a system that is not what was built is not run.
func TestOneBitIsWrong(t *testing.T) {
	image := filepath.Join(t.TempDir(), "breakwater.raw")
	copyDisk(t, imageIn(t, "../../build/image"), image)
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

// flipSystemBit changes the label of the system, which means nothing to the kernel.
func flipSystemBit(t *testing.T, image string) {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := partitions(t, image)[2].start + 1024
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
