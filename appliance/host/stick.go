package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Stick is a file system on a USB stick.
type Stick struct {
	Device string // /dev/sdb1
	Kind   string // vfat, exfat, ext4
}

// FindStick returns the first file system of a USB stick that can be written to. A disk of which anything is mounted is
// none: the box itself may run from a stick. root is "/" but in tests.
func FindStick(root string) (Stick, error) {
	own, err := ownDisks(root)
	if err != nil {
		return Stick{}, err
	}
	blocks, err := filepath.Glob(filepath.Join(root, "sys/class/block/*"))
	if err != nil {
		return Stick{}, err
	}
	locked := false
	for _, b := range blocks {
		at, err := filepath.EvalSymlinks(b)
		if err != nil || !strings.Contains(at, "/usb") || own[diskOf(at)] {
			continue
		}
		name := filepath.Base(at)
		kind := kindOf(beginning(filepath.Join(root, "dev", name)))
		switch {
		case kind == "":
		case read(at, "ro") == "1":
			locked = true
		default:
			return Stick{"/dev/" + name, kind}, nil
		}
	}
	if locked {
		return Stick{}, errors.New("the USB stick is write-protected; unlock it, or put in another one")
	}
	return Stick{}, errors.New("no USB stick with a FAT, exFAT or ext4 file system was found; put one in and try again")
}

// ownDisks are the disks of which something is mounted (proc_pid_mountinfo(5)).
func ownDisks(root string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("find the disks of the box: %w", err)
	}
	defer f.Close()
	own := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 {
			markDisks(own, filepath.Join(root, "sys/dev/block", fields[2]))
		}
	}
	return own, lines.Err()
}

// markDisks goes from a block device down to the disks that it lies on: through dm-verity, of a partition to its disk.
func markDisks(own map[string]bool, device string) {
	at, err := filepath.EvalSymlinks(device)
	if err != nil {
		return // no block device: a file system of the kernel's
	}
	own[diskOf(at)] = true
	below, err := filepath.Glob(filepath.Join(at, "slaves", "*"))
	if err != nil {
		return
	}
	for _, b := range below {
		markDisks(own, b)
	}
}

// diskOf is the name of the disk that a block device is a partition of, or its own.
func diskOf(at string) string {
	if exists(filepath.Join(at, "partition")) {
		at = filepath.Dir(at)
	}
	return filepath.Base(at)
}

// beginning is what kindOf looks at; empty where nothing can be read, such as a card reader without a card.
func beginning(device string) []byte {
	f, err := os.Open(device)
	if err != nil {
		return nil
	}
	defer f.Close()
	first := make([]byte, 2048)
	n, err := io.ReadFull(f, first)
	if err != nil {
		return first[:n]
	}
	return first
}

// kindOf names the file system that begins so, as mount(2) calls it: exFAT (its specification, 3.1), FAT (Microsoft's
// FAT specification, 3), ext2 and its successors (the kernel's documentation of ext4). Empty: none of these.
func kindOf(first []byte) string {
	if len(first) < 2048 {
		return ""
	}
	fat := bytes.HasPrefix(first[54:], []byte("FAT")) || bytes.HasPrefix(first[82:], []byte("FAT32"))
	switch {
	case bytes.HasPrefix(first[3:], []byte("EXFAT   ")):
		return "exfat"
	case fat && first[510] == 0x55 && first[511] == 0xaa:
		return "vfat"
	case binary.LittleEndian.Uint16(first[1080:]) == 0xef53:
		return "ext4"
	}
	return ""
}

// Mount mounts the stick at dir, with nothing on it that could become more than a file. The caller unmounts it.
func (s Stick) Mount(dir string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOSYMFOLLOW | unix.MS_NOATIME
	if err := unix.Mount(s.Device, dir, s.Kind, flags, ""); err != nil {
		return fmt.Errorf("the USB stick (%s, %s) cannot be opened: %w", s.Device, s.Kind, err)
	}
	return nil
}
