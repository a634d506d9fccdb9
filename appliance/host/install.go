package host

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"breakwater/appliance/whole"
)

// InstallRequestFile is where console leaves what breakwater-install.service shall do.
const InstallRequestFile = "/run/breakwater/install.json"

// InstallRequest is a disk as somebody saw it, and what they typed to say that it may be overwritten.
type InstallRequest struct {
	Disk         string `json:"disk"` // its name
	Sequence     uint64 `json:"sequence"`
	Serial       string `json:"serial"`
	Size         int64  `json:"size"` // bytes
	Confirmation string `json:"confirmation"`
}

// Request is the request to install to this disk.
func (d *Disk) Request(confirmation string) InstallRequest {
	return InstallRequest{d.Name, d.Sequence, d.Serial, d.Size, confirmation}
}

// serialEnd is how much of a serial number is typed.
const serialEnd = 4

// Confirmation is what has to be typed to have this disk overwritten: the end of its serial number, which is on its
// label too, or, without one, a word and its name.
func (d *Disk) Confirmation() string {
	serial := strings.ReplaceAll(d.Serial, " ", "")
	if len(serial) < serialEnd {
		return "INSTALL " + d.Name
	}
	return serial[len(serial)-serialEnd:]
}

// Confirmed tells whether that is what was typed. The case of letters does not matter.
func (d *Disk) Confirmed(typed string) bool {
	typed = strings.Join(strings.Fields(typed), " ")
	return strings.EqualFold(typed, d.Confirmation()) || strings.EqualFold(typed, "INSTALL "+d.Name)
}

// Write puts the request into a file, whole or not at all, for all to read: root without its rights, in the unit, is others.
func (r InstallRequest) Write(file string) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := whole.Write(file, content, 0o644); err != nil {
		return fmt.Errorf("ask for the installation: %w", err)
	}
	return nil
}

// ReadInstallRequest reads a request as what a stranger wrote: a plain file of a few hundred bytes, one JSON object.
func ReadInstallRequest(file string) (InstallRequest, error) {
	content, err := readSmall(file)
	if err != nil {
		return InstallRequest{}, fmt.Errorf("read the request to install: %w", err)
	}
	return parseInstallRequest(content)
}

func parseInstallRequest(content []byte) (InstallRequest, error) {
	var r InstallRequest
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return InstallRequest{}, fmt.Errorf("read the request to install: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return InstallRequest{}, errors.New("read the request to install: there is more than the request")
	}
	return r, nil
}

// readSmall does not follow a link, does not wait for a FIFO, and reads no more than a request can be.
func readSmall(file string) ([]byte, error) {
	const most = 4096
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", file, most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// FindDisk finds the disk of a request among those that are there now: the very one that somebody saw, not one that
// got its name since, and one that may be overwritten.
func FindDisk(disks []Disk, r InstallRequest) (Disk, error) {
	for _, d := range disks {
		if d.Sequence != r.Sequence || d.Sequence == 0 {
			continue
		}
		switch {
		case d.Name != r.Disk || d.Serial != r.Serial || d.Size != r.Size:
			return Disk{}, fmt.Errorf("%s is not the disk any more that was chosen; choose again", d.Name)
		case d.Refusal != "":
			return Disk{}, fmt.Errorf("nothing is installed to %s: %s", d.Name, d.Refusal.Text())
		case !d.Confirmed(r.Confirmation):
			return Disk{}, fmt.Errorf("the installation to %s was not confirmed with %q", d.Name, d.Confirmation())
		}
		return d, nil
	}
	return Disk{}, errors.New("the disk that was chosen is not there any more; choose again")
}

// Text says a refusal in words, the disk being "it".
func (r Refusal) Text() string {
	return cmp.Or(map[Refusal]string{
		RefusedRunning:  "the box runs from it",
		RefusedExternal: "it is no internal disk",
		RefusedReadOnly: "it cannot be written to",
		RefusedSmall:    fmt.Sprintf("it is smaller than %d GB", int64(smallestDisk/1e9)),
		RefusedInUse:    "something on it is in use",
	}[r], string(r))
}

// Running is the disk that the box runs from; false: none of these, as where the system is somewhere else.
func Running(disks []Disk) (Disk, bool) {
	for _, d := range disks {
		if d.Refusal == RefusedRunning {
			return d, true
		}
	}
	return Disk{}, false
}

// Installer tells whether the box runs from a stick, which is then a thing to install from.
func Installer(disks []Disk) bool {
	d, ok := Running(disks)
	return ok && d.External()
}

// Twins are the disks that cannot be told apart, as one image file was written to each of them: the box may have started
// from one and run from the other. Usually there are none.
func Twins(disks []Disk) []Disk {
	twins := slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool { return !d.Started })
	if len(twins) < 2 {
		return nil
	}
	return twins
}

// RootHash is the hash of the system that runs, as in the kernel's command line (kernel-command-line(7): roothash=).
func RootHash(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return "", err
	}
	for word := range strings.FieldsSeq(string(content)) {
		if hash, ok := strings.CutPrefix(word, "roothash="); ok {
			return hash, nil
		}
	}
	return "", errors.New("the system was started without a hash of it")
}
