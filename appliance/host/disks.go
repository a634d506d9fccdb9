package host

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// smallestDisk holds both slots, the ESP and a /var that is worth it; bytes.
const smallestDisk = 4e9

// Refusal is why Breakwater is not installed to a disk.
type Refusal string

// The reasons, the one that tells most first.
const (
	RefusedRunning  Refusal = "running"  // the box runs from it
	RefusedExternal Refusal = "external" // it is plugged in from outside: USB, or it can be taken out
	RefusedReadOnly Refusal = "read-only"
	RefusedSmall    Refusal = "small"
	RefusedInUse    Refusal = "in-use" // something on it is mounted, or held by the kernel
)

// Content is what is on a disk, as far as its partition table and file systems tell.
type Content string

// What can be on a disk.
const (
	ContentNothing    Content = "nothing"
	ContentBreakwater Content = "breakwater"
	ContentOther      Content = "other"
)

// Disk is a disk of the machine. Texts come from the device and are cleaned of what is no letter.
type Disk struct {
	Name      string // of the kernel, which may give it to another disk later: sda, nvme0n1
	Sequence  uint64 // this disk in this start of the machine, never given again (diskseq, kernel 5.15)
	Model     string
	Serial    string // empty: it tells none
	Size      int64  // bytes
	Transport string // usb, ata, nvme, scsi, mmc, virtio and others of udev; empty: not known
	Removable bool
	Content   Content
	Refusal   Refusal // empty: Breakwater may be installed to it
	Started   bool    // its ESP is the one that the boot loader came from, or has the same identifier
}

// External tells whether the disk is plugged in from outside.
func (d *Disk) External() bool { return d.Removable || d.Transport == "usb" }

// ReadDisks lists the disks of the machine by their names, from what the kernel and udev tell below root, which is "/"
// but in tests. Drives without a medium and devices that are no hardware are left out.
func ReadDisks(root string) ([]Disk, error) {
	entries, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	used, err := readUse(root)
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	var list []Disk
	for _, e := range entries {
		at := filepath.Join(root, "sys/block", e.Name())
		if !isDisk(at, e.Name()) {
			continue
		}
		d := readDisk(root, at, e.Name())
		d.Refusal = d.refuse(read(at, "ro") == "1", used.of(at))
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Disk) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// noDisk are optical drives, floppies, network block devices, and the boot partitions of an eMMC.
var noDisk = regexp.MustCompile(`^(sr|fd|nbd|mmcblk\d+(boot|rpmb))`)

// isDisk: loop, ram, dm, md and zram have no device behind them; a path of an NVMe disk with several is hidden.
func isDisk(at, name string) bool {
	_, err := os.Stat(filepath.Join(at, "device"))
	return err == nil && !noDisk.MatchString(name) && read(at, "hidden") != "1" && number(read(at, "size")) > 0
}

func readDisk(root, at, name string) Disk {
	udev := readUdev(root, read(at, "dev"))
	sequence, err := strconv.ParseUint(read(at, "diskseq"), 10, 64)
	if err != nil {
		sequence = 0 // FindDisk takes no such disk
	}
	d := Disk{
		Name:      name,
		Sequence:  sequence,
		Model:     plain(udev["ID_VENDOR_ENC"] + " " + cmp.Or(udev["ID_MODEL_ENC"], read(at, "device/model"), udev["ID_NAME"], udev["ID_MODEL"])),
		Serial:    plain(cmp.Or(udev["ID_SCSI_SERIAL"], udev["ID_SERIAL_SHORT"], read(at, "serial"), read(at, "device/serial"))),
		Size:      int64(number(read(at, "size"))) * 512, // in these units, whatever the blocks of the disk are
		Transport: transport(at, name, udev["ID_BUS"]),
		Content:   ContentNothing,
		Started:   udev["ID_PART_GPT_AUTO_ROOT_UUID"] != "",
	}
	d.Removable = read(at, "removable") == "1" || read(at, "device/type") == "SD"
	if udev["ID_PART_TABLE_TYPE"] != "" || udev["ID_FS_TYPE"] != "" {
		d.Content = ContentOther
	}
	for _, p := range partitions(at) {
		label := readUdev(root, read(p, "dev"))["ID_PART_ENTRY_NAME"]
		if strings.HasPrefix(label, "breakwater") {
			d.Content = ContentBreakwater
		}
	}
	return d
}

var onUSB = regexp.MustCompile(`/usb\d+/`)

// transport: a SATA disk in a USB case has ata as its bus in udev, and is in the tree of the USB host.
func transport(at, name, bus string) string {
	path, err := filepath.EvalSymlinks(at)
	switch {
	case err == nil && onUSB.MatchString(path):
		return "usb"
	case bus != "":
		return plain(bus)
	}
	for prefix, is := range map[string]string{"nvme": "nvme", "mmcblk": "mmc", "vd": "virtio", "xvd": "xen"} {
		if strings.HasPrefix(name, prefix) {
			return is
		}
	}
	return ""
}

func (d *Disk) refuse(readOnly bool, u use) Refusal {
	switch {
	case u.running:
		return RefusedRunning
	case d.External():
		return RefusedExternal
	case readOnly:
		return RefusedReadOnly
	case d.Size < smallestDisk:
		return RefusedSmall
	case u.held:
		return RefusedInUse
	}
	return ""
}

// use is what a disk is used for: by this system, or by anything.
type use struct{ running, held bool }

// uses are device numbers ("8:1"): those that / and /var lie on, directly or below the device mapper, and all mounted ones.
type uses struct{ running, mounted []string }

// readUse reads mountinfo (proc_pid_mountinfo(5): the third field is the device, the fifth where it is).
func readUse(root string) (uses, error) {
	file, err := os.Open(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return uses{}, err
	}
	defer file.Close()
	var u uses
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 5 {
			continue
		}
		u.mounted = append(u.mounted, f[2])
		if f[4] == "/" || f[4] == "/var" || f[4] == "/usr" {
			u.running = append(u.running, below(root, f[2])...)
		}
	}
	return u, lines.Err()
}

// below is a device and all that it is made of.
func below(root, number string) []string {
	list := []string{number}
	slaves, err := filepath.Glob(filepath.Join(root, "sys/dev/block", number, "slaves/*"))
	if err != nil {
		return list
	}
	for _, s := range slaves {
		list = append(list, below(root, read(s, "dev"))...)
	}
	return list
}

// of looks at a disk and its partitions.
func (u *uses) of(at string) use {
	var is use
	for _, device := range append(partitions(at), at) {
		number := read(device, "dev")
		holders, err := os.ReadDir(filepath.Join(device, "holders"))
		is.held = is.held || err == nil && len(holders) > 0 || slices.Contains(u.mounted, number)
		is.running = is.running || slices.Contains(u.running, number)
	}
	return is
}

// partitions are the directories of a disk's partitions in sysfs.
func partitions(at string) []string {
	files, err := filepath.Glob(filepath.Join(at, "*/partition"))
	if err != nil {
		return nil
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}

// readUdev reads what udev knows of a block device: lines of E:KEY=VALUE. Without udev that is nothing.
func readUdev(root, number string) map[string]string {
	content, err := os.ReadFile(filepath.Join(root, "run/udev/data/b"+number))
	if err != nil {
		return nil
	}
	properties := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if property, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "E:"); ok {
			key, value, _ := strings.Cut(property, "=")
			properties[key] = value
		}
	}
	return properties
}

// plain takes back udev's \x20 and leaves of what a device says only what can be shown in a line.
func plain(text string) string {
	escape := regexp.MustCompile(`\\x[0-9a-fA-F]{2}`)
	text = escape.ReplaceAllStringFunc(text, func(e string) string {
		code, err := strconv.ParseUint(e[2:], 16, 8)
		if err != nil {
			return " "
		}
		return string(rune(code))
	})
	text = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), 64)]
}

// Partition is the device of a partition, by the number of it. The kernel makes it as soon as the table is written.
func Partition(root, disk string, n int) (string, error) {
	for _, p := range partitions(filepath.Join(root, "sys/block", disk)) {
		if number(read(p, "partition")) == n {
			return "/dev/" + filepath.Base(p), nil
		}
	}
	return "", fmt.Errorf("%s has no partition %d", disk, n)
}
