package host

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// System is what runs.
type System struct {
	Version string   `json:"version"` // of the image; empty: this is none
	Slot    string   `json:"slot"`    // A or B; empty: not an image
	Other   string   `json:"other"`   // the version in the other slot; empty: none
	Failed  []string `json:"failed"`  // newer versions in the other slot, which are not started
}

// ReadSystem reads what runs from the file system below root, which is "/" but in tests.
func ReadSystem(root string) System {
	release, err := os.ReadFile(filepath.Join(root, "etc/os-release"))
	if err != nil {
		return System{}
	}
	s := System{Version: imageVersion(release), Failed: failedVersions(filepath.Join(root, loaderEntries))}
	if below := rootPartition(root); below != "" {
		s.Slot = slots[read(below, "partition")]
		s.Other = otherVersion(below, filepath.Join(root, "run/udev/data"))
	}
	return s
}

// loaderEntries is what systemd-boot found to start, as the EFI variable that it leaves (systemd's Boot Loader Interface).
const loaderEntries = "sys/firmware/efi/efivars/LoaderEntries-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// failedVersions are those that are newer than the first: systemd-boot puts the newest first and those whose tries are
// used up last, without their counters. The file is four bytes of attributes, and names in UTF-16, each with a zero
// behind it. Versions are times (image/build), and compare as text.
func failedVersions(file string) []string {
	content, err := os.ReadFile(file)
	if err != nil || len(content) < 4 {
		return nil // not started by systemd-boot
	}
	content = content[4:]
	letters := make([]uint16, len(content)/2)
	for i := range letters {
		letters[i] = binary.LittleEndian.Uint16(content[2*i:])
	}
	var list []string
	for name := range strings.SplitSeq(string(utf16.Decode(letters)), "\x00") {
		version, ours := strings.CutPrefix(name, "breakwater_")
		if version, whole := strings.CutSuffix(version, ".efi"); ours && whole {
			list = append(list, version)
		}
	}
	if len(list) == 0 {
		return nil
	}
	first := list[0]
	return slices.DeleteFunc(list, func(v string) bool { return v <= first })
}

// imageVersion is IMAGE_VERSION of os-release(5).
func imageVersion(release []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(release)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "IMAGE_VERSION="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// slots are those of the partitions: for each a system and, before it, its hashes (image/repart).
var slots = map[string]string{"2": "A", "3": "A", "4": "B", "5": "B"}

// rootPartition is where sysfs has one of the partitions that the root lies on, over the device mapper.
func rootPartition(root string) string {
	info, err := os.Stat(root)
	if err != nil {
		return ""
	}
	device := info.Sys().(*syscall.Stat_t).Dev
	below, err := filepath.Glob(fmt.Sprintf("/sys/dev/block/%d:%d/slaves/*/partition", unix.Major(device), unix.Minor(device)))
	if err != nil || len(below) == 0 {
		return ""
	}
	at, err := filepath.EvalSymlinks(filepath.Dir(below[0]))
	if err != nil {
		return ""
	}
	return at
}

// otherVersion is in the label of the system's partition in the other slot. The kernel knows the label of when it
// started; udev, whose database this is, read it anew after an update.
func otherVersion(partition, udev string) string {
	other := map[string]string{"A": "5", "B": "3"}[slots[read(partition, "partition")]]
	siblings, err := filepath.Glob(filepath.Join(filepath.Dir(partition), "*", "partition"))
	if err != nil {
		return ""
	}
	for _, file := range siblings {
		at := filepath.Dir(file)
		if read(at, "partition") != other {
			continue
		}
		for line := range strings.Lines(read(udev, "b"+read(at, "dev"))) {
			if label, ok := strings.CutPrefix(strings.TrimSpace(line), "E:ID_PART_ENTRY_NAME=breakwater_"); ok {
				return label
			}
		}
	}
	return ""
}

// Port is a network port of the machine.
type Port struct {
	Name, MAC string
	Link      bool
	Speed     int // Mbit/s; 0: not known
	Addresses []netip.Prefix
}

// ReadPorts lists what has a device behind it: no loopback, no bridges. dir is /sys/class/net but in tests.
func ReadPorts(dir string) []Port {
	return readPorts(dir, func(at string) bool {
		_, err := os.Stat(filepath.Join(at, "device"))
		return err == nil
	})
}

// ReadMade lists the VLANs and bonds, which are made of ports. dir is as for ReadPorts.
func ReadMade(dir string) []Port {
	return readPorts(dir, func(at string) bool {
		kind := read(at, "uevent") // DEVTYPE, INTERFACE and IFINDEX, each on a line
		return strings.Contains(kind, "DEVTYPE=vlan\n") || strings.Contains(kind, "DEVTYPE=bond\n")
	})
}

func readPorts(dir string, which func(at string) bool) []Port {
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil
	}
	ports := make([]Port, 0, len(all))
	for _, at := range all {
		if !which(at) {
			continue
		}
		name := filepath.Base(at)
		ports = append(ports, Port{
			Name: name, MAC: cmp.Or(read(at, "bonding_slave/perm_hwaddr"), read(at, "address")), Link: read(at, "carrier") == "1",
			Speed: max(0, number(read(at, "speed"))), Addresses: addresses(name),
		})
	}
	return ports
}

// read is empty where there is nothing to read: carrier of a port that is off, speed of a virtual one.
func read(dir, file string) string {
	content, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// addresses are those that can be dialled first, IPv4 before IPv6 and global before link-local.
func addresses(name string) []netip.Prefix {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	all, err := i.Addrs()
	if err != nil {
		return nil
	}
	var list []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	rank := func(a netip.Addr) int {
		if a.IsLinkLocalUnicast() {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if d := rank(a.Addr()) - rank(b.Addr()); d != 0 {
			return d
		}
		return a.Addr().Compare(b.Addr())
	})
	return list
}
