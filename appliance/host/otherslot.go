package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"breakwater/appliance/whole"
)

// Where the entries of systemd-boot and the names of the partitions are.
const (
	ESPEntries      = "/efi/EFI/Linux"
	PartitionLabels = "/dev/disk/by-partlabel"
)

// entry is a version that systemd-boot can start, by the name of its file: breakwater_8.efi, or with the starts that are
// left to it and those that it had, breakwater_8+2-1.efi (Automatic Boot Assessment, systemd.io).
type entry struct {
	file, version string
	counted       bool
	left, done    int
}

var entryName = regexp.MustCompile(`^breakwater_([0-9A-Za-z][0-9A-Za-z.]*)(?:\+([0-9]{1,4})(?:-([0-9]{1,4}))?)?\.efi$`)

func parseEntry(file string) (entry, bool) {
	m := entryName.FindStringSubmatch(file)
	if m == nil {
		return entry{}, false
	}
	left, _ := strconv.Atoi(m[2]) // digits, or nothing
	done, _ := strconv.Atoi(m[3])
	return entry{file, m[1], m[2] != "", left, done}, true
}

// ChooseOther makes systemd-boot start the version in the other slot from the next start on, and returns which that is.
// running is the version that runs, entries and labels are ESPEntries and PartitionLabels but in tests.
//
// systemd-boot starts the newest entry, and those without starts left only when there is no other. So the other version
// gets three starts, as an update does: if none of them is found healthy, this one starts again. And this version, if it
// is the newer one, gets no start. The names are on the disk with the systems, an update reads and writes them too, and
// they hold until somebody chooses again. An EFI variable (bootctl(1), set-oneshot and set-default) would be forgotten
// after one start, or keep the next update from being tried.
func ChooseOther(entries, labels, running string) (version string, err error) {
	all, err := readEntries(entries)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(e entry) bool { return e.version == running })
	if i < 0 {
		return "", fmt.Errorf("version %s, which runs, is not among those that can be started; the other one cannot be chosen", running)
	}
	this := all[i]
	if this.counted && this.done > 0 {
		return "", fmt.Errorf("version %s is on trial until it is found healthy, which takes some minutes; choose the other one then", running)
	}
	other, err := otherEntry(all, labels, running)
	if err != nil {
		return "", err
	}
	if err := rename(entries, other.file, fmt.Sprintf("breakwater_%s+3-0.efi", other.version)); err != nil {
		return "", err
	}
	if this.version > other.version { // they are times (image/build), and compare as text
		if err := rename(entries, this.file, fmt.Sprintf("breakwater_%s+0-0.efi", this.version)); err != nil {
			return "", err
		}
	}
	if err := whole.SyncFS(entries); err != nil {
		return "", fmt.Errorf("choose the version to start: %w", err)
	}
	return other.version, nil
}

func readEntries(dir string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the versions that can be started: %w", err)
	}
	var all []entry
	for _, f := range files {
		if e, ok := parseEntry(f.Name()); ok {
			all = append(all, e)
		}
	}
	return all, nil
}

// otherEntry is the newest version whose partitions are there: an update takes away their names first and gives them
// new ones last.
func otherEntry(all []entry, labels, running string) (entry, error) {
	var found entry
	for _, e := range all {
		present := exists(filepath.Join(labels, "breakwater_"+e.version)) && exists(filepath.Join(labels, "breakwater_"+e.version+"_verity"))
		if e.version != running && present && e.version > found.version {
			found = e
		}
	}
	if found.version == "" {
		return entry{}, errors.New("there is no other version: the other slot is empty until a first update")
	}
	return found, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func rename(dir, from, to string) error {
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		return fmt.Errorf("choose the version to start: %w", err)
	}
	return nil
}
