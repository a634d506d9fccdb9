package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// factoryReset is the variable that systemd-repart(8) looks for in the initrd, and takes away when it is done. What it
// makes anew is what says FactoryReset=yes in repart.d(5): /var.
const factoryReset = "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67"

// AskFactoryReset lets the next start begin with an empty /var. dir is where the kernel shows the variables of the
// firmware, which is not there on a machine without UEFI.
func AskFactoryReset(dir string) error {
	if !exists(dir) {
		return errors.New("this machine was not started by UEFI, whose variables carry the wish to the next start; write the image to its disk anew instead")
	}
	want := binary.LittleEndian.AppendUint32(nil, 7) // kept without power, for the boot loader, for the system (UEFI 2.10, 8.2)
	for _, letter := range utf16.Encode([]rune("yes\x00")) {
		want = binary.LittleEndian.AppendUint16(want, letter)
	}
	file := filepath.Join(dir, factoryReset)
	if there, err := os.ReadFile(file); err == nil {
		if bytes.Equal(there, want) {
			return nil // asked for already
		}
		if err := mutable(file); err != nil {
			return fmt.Errorf("ask for the factory reset: %w", err)
		}
	}
	if err := write(file, want); err != nil {
		return fmt.Errorf("the firmware did not keep the wish for a factory reset: %w", err)
	}
	return nil
}

// write makes one call of write(2), as each sets the whole variable; and none to make the file empty, which removes it.
func write(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// mutable takes the flag away with which the kernel keeps variables that it does not know from being removed by
// accident (efivarfs in the kernel's documentation).
func mutable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	const immutable = 0x10 // FS_IMMUTABLE_FL, ioctl_iflags(2)
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable)
}
