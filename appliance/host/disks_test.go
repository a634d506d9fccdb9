package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aMachine is a box that was started from a stick, sdb, with every kind of disk in it. Paths are those of sysfs.
var aMachine = map[string]string{
	// The stick: system over the device mapper, /var.
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/dev": "8:16", "sys/devices/pci0/usb2/2-1/host1/block/sdb/diskseq": "11",
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/size": "62500000", "sys/devices/pci0/usb2/2-1/host1/block/sdb/removable": "1",
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/ro": "0", "sys/devices/pci0/usb2/2-1/host1/block/sdb/device/model": "Ultra",
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/sdb3/partition": "3", "sys/devices/pci0/usb2/2-1/host1/block/sdb/sdb3/dev": "8:19",
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/sdb3/holders/dm-0/dev": "252:0",
	"sys/devices/pci0/usb2/2-1/host1/block/sdb/sdb6/partition":        "6", "sys/devices/pci0/usb2/2-1/host1/block/sdb/sdb6/dev": "8:22",
	"run/udev/data/b8:16":                 "S:disk/by-id/x\nE:ID_BUS=usb\nE:ID_VENDOR_ENC=SanDisk\\x20\nE:ID_MODEL_ENC=Ultra\\x20Fit\\x20\\x20\nE:ID_SERIAL_SHORT=4C53\\x1b[2J0001\nE:ID_PART_TABLE_TYPE=gpt\nE:ID_PART_GPT_AUTO_ROOT_UUID=1\n",
	"run/udev/data/b8:22":                 "E:ID_PART_ENTRY_NAME=breakwater-var\n",
	"sys/dev/block/252:0/slaves/sdb3/dev": "8:19", "sys/dev/block/252:0/slaves/sdb2/dev": "8:18",
	"proc/self/mountinfo": "22 1 252:0 / / ro - erofs /dev/mapper/root ro\n25 22 8:22 / /var rw - ext4 /dev/sdb6 rw\n30 22 8:65 / /mnt rw - ext4 /dev/sde1 rw\n31 22 0:5 / /proc rw - proc proc rw\nodd\n",
	// A new NVMe disk.
	"sys/devices/pci0/nvme/nvme0/nvme0n1/dev": "259:0", "sys/devices/pci0/nvme/nvme0/nvme0n1/diskseq": "3", "sys/devices/pci0/nvme/nvme0/nvme0n1/size": "1000215216",
	"sys/devices/pci0/nvme/nvme0/nvme0n1/device/model": "Samsung SSD 980  ", "sys/devices/pci0/nvme/nvme0/nvme0n1/device/serial": "S64ANL0R1\n",
	// A disk with a Windows on it.
	"sys/devices/pci0/ata1/block/sda/dev": "8:0", "sys/devices/pci0/ata1/block/sda/diskseq": "1", "sys/devices/pci0/ata1/block/sda/size": "7814037168", "sys/devices/pci0/ata1/block/sda/device/model": "ST4000",
	"sys/devices/pci0/ata1/block/sda/sda1/partition": "1", "sys/devices/pci0/ata1/block/sda/sda1/dev": "8:1",
	"run/udev/data/b8:0": "E:ID_BUS=ata\nE:ID_MODEL_ENC=ST4000VN008\nE:ID_SERIAL_SHORT=ZDH1\nE:ID_PART_TABLE_TYPE=gpt\n",
	"run/udev/data/b8:1": "E:ID_PART_ENTRY_NAME=Basic\\x20data\\x20partition\n",
	// An older box; too small; not to be written to; mounted; held; a SATA disk in a USB case; an SD card.
	"sys/devices/pci0/virtio1/block/vda/dev": "254:0", "sys/devices/pci0/virtio1/block/vda/diskseq": "4", "sys/devices/pci0/virtio1/block/vda/size": "16777216", "sys/devices/pci0/virtio1/block/vda/device/x": "",
	"sys/devices/pci0/virtio1/block/vda/vda3/partition": "3", "sys/devices/pci0/virtio1/block/vda/vda3/dev": "254:3",
	"run/udev/data/b254:3":                   "E:ID_PART_ENTRY_NAME=breakwater_7\n",
	"sys/devices/pci0/virtio2/block/vdb/dev": "254:16", "sys/devices/pci0/virtio2/block/vdb/diskseq": "5", "sys/devices/pci0/virtio2/block/vdb/size": "7812499", "sys/devices/pci0/virtio2/block/vdb/device/x": "", "sys/devices/pci0/virtio2/block/vdb/serial": "small",
	"sys/devices/pci0/virtio3/block/vdc/dev": "254:32", "sys/devices/pci0/virtio3/block/vdc/diskseq": "6", "sys/devices/pci0/virtio3/block/vdc/size": "16777216", "sys/devices/pci0/virtio3/block/vdc/device/x": "", "sys/devices/pci0/virtio3/block/vdc/ro": "1",
	"sys/devices/pci0/ata2/block/sde/dev": "8:64", "sys/devices/pci0/ata2/block/sde/diskseq": "7", "sys/devices/pci0/ata2/block/sde/size": "16777216", "sys/devices/pci0/ata2/block/sde/device/x": "",
	"sys/devices/pci0/ata2/block/sde/sde1/partition": "1", "sys/devices/pci0/ata2/block/sde/sde1/dev": "8:65",
	"sys/devices/pci0/ata3/block/sdf/dev": "8:80", "sys/devices/pci0/ata3/block/sdf/diskseq": "8", "sys/devices/pci0/ata3/block/sdf/size": "16777216", "sys/devices/pci0/ata3/block/sdf/device/x": "", "sys/devices/pci0/ata3/block/sdf/holders/md0/x": "",
	"sys/devices/pci0/usb2/2-2/host3/block/sdg/dev": "8:96", "sys/devices/pci0/usb2/2-2/host3/block/sdg/diskseq": "9", "sys/devices/pci0/usb2/2-2/host3/block/sdg/size": "16777216", "sys/devices/pci0/usb2/2-2/host3/block/sdg/removable": "0", "sys/devices/pci0/usb2/2-2/host3/block/sdg/device/x": "",
	"run/udev/data/b8:96":                     "E:ID_BUS=ata\n",
	"sys/devices/pci0/mmc0/block/mmcblk0/dev": "179:0", "sys/devices/pci0/mmc0/block/mmcblk0/diskseq": "10", "sys/devices/pci0/mmc0/block/mmcblk0/size": "62500000", "sys/devices/pci0/mmc0/block/mmcblk0/device/type": "SD", "sys/devices/pci0/mmc0/block/mmcblk0/device/serial": "0x1",
	// No disks.
	"sys/devices/virtual/block/loop0/size": "16777216", "sys/devices/pci0/ata4/block/sr0/size": "1000", "sys/devices/pci0/ata4/block/sr0/device/x": "",
	"sys/devices/pci0/usb2/2-3/block/sdh/size": "0", "sys/devices/pci0/usb2/2-3/block/sdh/device/x": "",
	"sys/devices/pci0/nvme/nvme0c0n1/size": "1000215216", "sys/devices/pci0/nvme/nvme0c0n1/hidden": "1", "sys/devices/pci0/nvme/nvme0c0n1/device/x": "",
}

// newMachine writes the files of a machine below a directory, and the links to its disks.
func newMachine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if disk := filepath.Dir(name); filepath.Base(name) == "size" {
			if err := os.Symlink(filepath.Join(root, disk), filepath.Join(root, "sys/block", filepath.Base(disk))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestReadDisks(t *testing.T) {
	root := newMachine(t, aMachine)
	disks, err := ReadDisks(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range disks {
		got = append(got, fmt.Sprintf("%s %d %q %q %d %s %s %s", d.Name, d.Sequence, d.Model, d.Serial, d.Size/1e9, d.Transport, d.Content, d.Refusal))
	}
	want := []string{
		`mmcblk0 10 "" "0x1" 32 mmc nothing external`,
		`nvme0n1 3 "Samsung SSD 980" "S64ANL0R1" 512 nvme nothing `,
		`sda 1 "ST4000VN008" "ZDH1" 4000 ata other `,
		`sdb 11 "SanDisk Ultra Fit" "4C53 [2J0001" 32 usb breakwater running`,
		`sde 7 "" "" 8  nothing in-use`,
		`sdf 8 "" "" 8  nothing in-use`,
		`sdg 9 "" "" 8 usb nothing external`,
		`vda 4 "" "" 8 virtio breakwater `,
		`vdb 5 "" "small" 3 virtio nothing small`,
		`vdc 6 "" "" 8 virtio nothing read-only`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("disks (-want +got):\n%s", diff)
	}
	if twins := Twins(disks); twins != nil {
		t.Errorf("twins: got %+v, want none", twins)
	}
	for i := range disks {
		if disks[i].Started != (disks[i].Name == "sdb") {
			t.Errorf("%s started: got %v", disks[i].Name, disks[i].Started)
		}
		disks[i].Started = disks[i].Started || disks[i].Name == "vda"
	}
	if twins := Twins(disks); len(twins) != 2 || twins[0].Name != "sdb" || twins[1].Name != "vda" {
		t.Errorf("twins: got %+v, want sdb and vda", twins)
	}
	if !Installer(disks) {
		t.Error("not known as a box that runs from a stick")
	}
	if node, err := Partition(root, "sdb", 6); err != nil || node != "/dev/sdb6" {
		t.Errorf("partition 6 of sdb: got %q, %v; want /dev/sdb6", node, err)
	}
	if node, err := Partition(root, "sdb", 7); err == nil {
		t.Errorf("partition 7 of sdb: got %q, want an error", node)
	}
}

// TestInstallerOnDisk: a box on an internal disk offers nothing.
func TestInstallerOnDisk(t *testing.T) {
	root := newMachine(t, map[string]string{
		"sys/devices/pci0/ata1/block/sda/dev": "8:0", "sys/devices/pci0/ata1/block/sda/size": "7814037168", "sys/devices/pci0/ata1/block/sda/device/x": "",
		"proc/self/mountinfo": "22 1 8:0 / / ro - erofs /dev/sda ro\n",
	})
	disks, err := ReadDisks(root)
	if err != nil || Installer(disks) {
		t.Errorf("disks %+v, %v: want one that is no stick", disks, err)
	}
	if d, ok := Running(disks); !ok || d.Name != "sda" {
		t.Errorf("running from %+v, %v; want sda", d, ok)
	}
	if _, ok := Running(nil); ok {
		t.Error("running from a disk that is not there")
	}
}

func TestReadDisksOfNoMachine(t *testing.T) {
	if disks, err := ReadDisks(t.TempDir()); err == nil {
		t.Errorf("got %+v, want an error", disks)
	}
	root := newMachine(t, nil)
	if disks, err := ReadDisks(root); err == nil {
		t.Errorf("without mounts: got %+v, want an error", disks)
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		`QEMU\x20HARDDISK\x20`: "QEMU HARDDISK", "a\x1b[2Jb\nc": "a [2Jb c", `\x1b]0;x`: "]0;x", `\xzz`: `\xzz`, "é": "",
		strings.Repeat("x", 100): strings.Repeat("x", 64),
	} {
		if got := plain(text); got != want {
			t.Errorf("plain(%q): got %q, want %q", text, got, want)
		}
	}
}
