//go:build vm

package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// partition is one of a GPT (UEFI 2.10, 5.3.3).
type partition struct {
	name  string
	start int64 // bytes
}

// partitions reads the table of a disk, also while a machine writes it.
func partitions(t *testing.T, disk string) []partition {
	t.Helper()
	const block, entry = 512, 128
	table := make([]byte, 8*entry)
	readAt(t, disk, table, 2*block)
	var list []partition
	for ; len(table) > 0 && !bytes.Equal(table[:16], make([]byte, 16)); table = table[entry:] {
		letters := make([]uint16, 36)
		for i := range letters {
			letters[i] = binary.LittleEndian.Uint16(table[56+2*i:])
		}
		name, _, _ := strings.Cut(string(utf16.Decode(letters)), "\x00")
		list = append(list, partition{name, int64(binary.LittleEndian.Uint64(table[32:])) * block})
	}
	return list
}

func readAt(t *testing.T, disk string, b []byte, at int64) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// written tells whether there is anything at the beginning of a partition, counted from 1.
func written(t *testing.T, disk string, number int) bool {
	t.Helper()
	first := make([]byte, 4096)
	readAt(t, disk, first, partitions(t, disk)[number-1].start)
	return !bytes.Equal(first, make([]byte, len(first)))
}

// esp is what mtools take for the first partition of a disk.
func esp(t *testing.T, disk string) string {
	t.Helper()
	return fmt.Sprintf("%s@@%d", disk, partitions(t, disk)[0].start)
}

// imageIn is the one image of a folder.
func imageIn(t *testing.T, dir string) string {
	t.Helper()
	return oneOf(t, filepath.Join(dir, "breakwater_*.raw"))
}

func oneOf(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v; want one", pattern, found, err)
	}
	return found[0]
}

// copyDisk copies an image, and makes it as large as a disk.
func copyDisk(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Truncate(to, 8<<30); err != nil {
		t.Fatal(err)
	}
}
