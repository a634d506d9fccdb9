//go:build vm

package vm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// diskWait is for writing 1 GiB and reading it back, in software emulation.
const diskWait = 15 * time.Minute

// TestInstall: the image on a stick installs itself to an internal disk, which is then a box of its own, with the stick
// in the machine or without it.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	stick, internal, small := filepath.Join(dir, "stick.raw"), filepath.Join(dir, "internal.raw"), filepath.Join(dir, "small.raw")
	copyDisk(t, imageIn(t, "../../build/image"), stick)
	newDisk(t, internal, 8<<30)
	newDisk(t, small, 2<<30)
	asStick := []string{"DISK=" + stick, "STICK=1"}
	const nvme = "nvme,drive=internal,serial=BW-INTERNAL-7F3C"
	disk := func(file, id string) []string {
		return []string{"-drive", "if=none,id=" + id + ",format=raw,file=" + file}
	}

	installed := t.Run("stick", func(t *testing.T) {
		arguments := append(disk(internal, "internal"), "-device", nvme)
		arguments = append(append(arguments, disk(small, "small")...), "-device", "virtio-blk-pci,drive=small,serial=BW-SMALL-0001")
		m := bootWith(t, freePort(t), asStick, arguments...)
		waitFor(t, m, bootWait, func() (string, bool) {
			s, good := ready(m, "A", true)()
			return s, good && strings.Contains(s, "This box runs from a USB stick.") && strings.Contains(s, "Enter  menu")
		})
		checkDisks(t, m.report(t), "/dev/sda6", "sda2 sda3")
		install(t, m)
	})
	if !installed {
		t.FailNow()
	}
	t.Run("internal disk alone", func(t *testing.T) {
		m := bootWith(t, freePort(t), []string{"DISK=" + internal})
		screen := waitFor(t, m, bootWait, ready(m, "A", true))
		newBrowser(t, m).claim(t, setupCode.FindStringSubmatch(screen)[1])
		r := m.report(t)
		checkSystem(t, r)
		checkDisks(t, r, "/dev/vda6", "vda2 vda3")
	})
	t.Run("internal disk beside the stick", func(t *testing.T) {
		m := bootWith(t, freePort(t), []string{"DISK=" + internal},
			append(disk(stick, "stick"), "-device", "qemu-xhci", "-device", "usb-storage,drive=stick,removable=on,bootindex=2")...)
		waitFor(t, m, bootWait, ready(m, "A", false))
		checkDisks(t, m.report(t), "/dev/vda6", "vda2 vda3")
	})
	// The internal disk is there before the stick is. (No commas in these names: QEMU would take them for its own.)
	t.Run("stick beside the internal disk", func(t *testing.T) {
		m := bootWith(t, freePort(t), asStick, append(disk(internal, "internal"), "-device", nvme+",bootindex=2")...)
		waitFor(t, m, bootWait, ready(m, "A", true))
		checkDisks(t, m.report(t), "/dev/sda6", "sda2 sda3")
	})
}

var setupCode = regexp.MustCompile(`(?m)^Setup code +(\S+)$`)

// ready is a box that runs from a slot and has no owner, or one.
func ready(m *machine, slot string, unclaimed bool) func() (string, bool) {
	return func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, ", slot "+slot+"\n") && setupCode.MatchString(s) == unclaimed
	}
}

// checkDisks: /var and the system are on the disk that was started from.
func checkDisks(t *testing.T, report map[string]string, variable, system string) {
	t.Helper()
	if !strings.Contains(report["var"], variable+" ") {
		t.Errorf("/var: %q, want it on %s", report["var"], variable)
	}
	if got := strings.Join(strings.Fields(report["below"]), " "); got != system {
		t.Errorf("the system is on %q, want %q", got, system)
	}
}

// install goes through the dialogue: first it gives a wrong proof, then the right one.
func install(t *testing.T, m *machine) {
	const choose, prove = "Number of the disk: ", "Type the last 4 characters of its serial number to overwrite it: "
	k := m.keyboard(t)
	k.menu(t, "10")
	text := k.wait(t, choose)
	for _, want := range []string{"  1  nvme0n1   QEMU NVMe Ctrl BW-INTERNAL-7F3C, 8.6 GB, nvme\n", " empty\n", "; not possible: the box runs from it\n", "; not possible: it is smaller than 4 GB\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the list of disks lacks %q:\n%s", want, text)
		}
	}
	k.answers(t, choose, "1", prove, "yes")
	k.wait(t, "Nothing was done.")
	k.back(t)
	k.menu(t, "10")
	k.answers(t, choose, "1", prove, "7f3c")
	began := time.Now()
	text = waitFor(t, m, diskWait, func() (string, bool) {
		text := k.shown(t)
		return text, strings.Contains(text, "Enter goes back to the screen: ")
	})
	t.Logf("installed in %.0f s:\n%s", time.Since(began).Seconds(), text)
	if !strings.Contains(text, "Installed to QEMU NVMe Ctrl BW-INTERNAL-7F3C. Power off, remove the stick, start again.") {
		t.Fatalf("not installed; the log of the box:\n%s", m.report(t)["log"])
	}
	k.back(t)
	k.menu(t, "10")
	text = k.wait(t, choose)
	if want := "QEMU NVMe Ctrl BW-INTERNAL-7F3C, 8.6 GB, nvme\n               holds a Breakwater\n"; !strings.Contains(text, want) {
		t.Errorf("the list of disks lacks %q:\n%s", want, text)
	}
}

func newDisk(t *testing.T, file string, size int64) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
}
