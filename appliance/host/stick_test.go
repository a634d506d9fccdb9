package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// disk is what a test machine has: its place below /sys/devices, and how its content begins.
type disk struct {
	place, kind string
	partition   bool
	locked      bool
}

// machineOf makes the folders of a machine: its disks, and which of them are mounted, by their numbers.
func machineOf(t *testing.T, mounts string, disks ...disk) string {
	t.Helper()
	root := t.TempDir()
	put := func(file, content string) {
		file = filepath.Join(root, file)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(content), 0o644))
	}
	link := func(to, from string) {
		from = filepath.Join(root, from)
		must(t, os.MkdirAll(filepath.Dir(from), 0o755))
		must(t, os.Symlink(filepath.Join(root, to), from))
	}
	put("proc/self/mountinfo", mounts)
	put("sys/class/block/.none", "")
	for i, d := range disks {
		name, place := filepath.Base(d.place), filepath.Join("sys/devices", d.place)
		put(filepath.Join(place, "ro"), map[bool]string{true: "1\n", false: "0\n"}[d.locked])
		if d.partition {
			put(filepath.Join(place, "partition"), "1\n")
		}
		put(filepath.Join("dev", name), begins(d.kind))
		link(place, "sys/class/block/"+name)
		link(place, "sys/dev/block/8:"+string(rune('0'+i)))
	}
	return root
}

// begins is the first 4 KiB of a file system.
func begins(kind string) string {
	content := make([]byte, 4096)
	switch kind {
	case "vfat":
		copy(content[82:], "FAT32   ")
		copy(content[510:], "\x55\xaa")
	case "exfat":
		copy(content[3:], "EXFAT   ")
	case "ext4":
		copy(content[1080:], "\x53\xef")
	case "table":
		copy(content[510:], "\x55\xaa")
	case "no card":
		return ""
	}
	return string(content)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFindStick(t *testing.T) {
	const usb = "pci0/usb1/1-1/host0/block/"
	table, part := disk{place: usb + "sda", kind: "table"}, disk{place: usb + "sda/sda1", kind: "vfat", partition: true}
	none, locked := "no USB stick with a FAT, exFAT or ext4 file system was found", part
	locked.locked = true
	tests := []struct {
		name, mounts string
		disks        []disk
		want, wrong  string
	}{
		{"a stick with a table", "", []disk{table, part}, "/dev/sda1 vfat", ""},
		{"one without", "", []disk{{place: usb + "sda", kind: "exfat"}}, "/dev/sda exfat", ""},
		{"ext4", "", []disk{table, {place: usb + "sda/sda1", kind: "ext4", partition: true}}, "/dev/sda1 ext4", ""},
		{"the box runs from it", "30 1 8:0 / /var rw - ext4 /dev/sda2 rw\n", []disk{{place: usb + "sda/sda2", kind: "ext4", partition: true}, table, part}, "", none},
		{"its disk is inside", "", []disk{{place: "pci0/ata1/block/sda", kind: "vfat"}}, "", none},
		{"an empty card reader", "", []disk{{place: usb + "sda", kind: "no card"}}, "", none},
		{"some other file system", "", []disk{table}, "", none},
		{"write-protected", "", []disk{table, locked}, "", "write-protected"},
		{"nothing", "", nil, "", none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := FindStick(machineOf(t, test.mounts, test.disks...))
			if text := strings.TrimSpace(got.Device + " " + got.Kind); text != test.want {
				t.Errorf("got %q, want %q", text, test.want)
			}
			if test.wrong == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
		})
	}
}

// TestFindStickBelowVerity: the system is a device of the device mapper over a partition of a stick.
func TestFindStickBelowVerity(t *testing.T) {
	const usb = "pci0/usb1/1-1/host0/block/"
	root := machineOf(t, "20 1 8:2 / / ro - erofs /dev/dm-0 ro\n", disk{place: usb + "sda/sda1", kind: "vfat", partition: true},
		disk{place: usb + "sda/sda3", kind: "table", partition: true}, disk{place: "virtual/block/dm-0", kind: "table"})
	slaves := filepath.Join(root, "sys/devices/virtual/block/dm-0/slaves")
	must(t, os.MkdirAll(slaves, 0o755))
	must(t, os.Symlink(filepath.Join(root, "sys/devices", usb, "sda/sda3"), filepath.Join(slaves, "sda3")))
	if got, err := FindStick(root); err == nil {
		t.Errorf("found %+v, which is the box's own", got)
	}
}

func FuzzKindOf(f *testing.F) {
	for _, kind := range []string{"vfat", "exfat", "ext4", "table", "no card"} {
		f.Add([]byte(begins(kind)))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		switch kindOf(first) {
		case "", "vfat", "exfat", "ext4":
		default:
			t.Errorf("%q is no kind", kindOf(first))
		}
	})
}
