//go:build vm

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// updateWait is for writing the slot and up to four starts.
const updateWait = 20 * time.Minute

// next is the version that boxes are brought to; later than every other.
const next = "99990101.000000"

// TestUpdate: a new version goes into slot B, is found healthy and stays; one that is not is given up after three tries.
func TestUpdate(t *testing.T) {
	disk := updateDisk(t)
	t.Run("unhealthy", func(t *testing.T) {
		m := updatedBox(t, disk, "-smbios", credential(t, "unit-dropin", "breakwater-healthy.service"))
		screen := waitFor(t, m, updateWait, func() (string, bool) {
			s := m.screen()
			return s, strings.Contains(s, "Version "+next+" is newer and not started: ") && strings.Contains(s, "READY  Revision 1 is in force.")
		})
		if strings.HasPrefix(screen, "Breakwater "+next) || !strings.Contains(screen, ", slot A\n") {
			t.Errorf("the version before does not run:\n%s", screen)
		}
		r := m.report(t)
		if want := "breakwater_" + next + "+0-3.efi"; !strings.Contains(r["entries"], want) {
			t.Errorf("entries: %q, want %s among them", r["entries"], want)
		}
		const reason = "breakwater: this version is not healthy: the web page does not answer: "
		if got := strings.Count(r["trials"], reason); got != 3 {
			t.Errorf("told %d times, want 3: %s\n%s", got, reason, r["trials"])
		}
	})
	t.Run("healthy", func(t *testing.T) {
		m := updatedBox(t, disk)
		waitFor(t, m, updateWait, func() (string, bool) {
			s := m.screen()
			return s, strings.Contains(s, "Breakwater "+next+", slot B\n") && strings.Contains(s, "READY  Revision 1 is in force.")
		})
		r := waitForReport(t, m, func(r map[string]string) bool { return strings.Contains(r["entries"], "breakwater_"+next+".efi") })
		t.Logf("entries:\n%s\ntrials:\n%s", r["entries"], r["trials"])
		checkSystem(t, r)
		t.Run("and back", func(t *testing.T) { startOther(t, m) })
	})
}

// updatedBox is a box with settings and an owner, whose update has begun.
func updatedBox(t *testing.T, disk string, arguments ...string) *machine {
	began := time.Now()
	m := boot(t, freePort(t), "", append(arguments, "-smbios", credential(t, "extra-unit", "update.path"), "-smbios", credential(t, "extra-unit", "update.service"),
		"-drive", "if=none,id=update,format=raw,readonly=on,file="+disk, "-device", "virtio-blk-pci,drive=update")...)
	t.Cleanup(func() { t.Logf("%.0f s in all", time.Since(began).Seconds()) })
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && code.MatchString(s)
	})
	b := newBrowser(t, m)
	b.claim(t, code.FindStringSubmatch(screen)[1])
	b.apply(t, fmt.Sprintf(document, playerPort(t, screen), serveTCP(t), serveUDP(t)))
	return m
}

// updateDisk is a file system with the files of the next version, which is built for it.
func updateDisk(t *testing.T) string {
	dir := t.TempDir()
	run := func(name string, arguments ...string) {
		command := exec.Command(name, arguments...)
		command.Env = append(os.Environ(), "VERSION="+next, "OUTPUT="+filepath.Join(dir, "image"))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	disk := filepath.Join(dir, "update.ext4")
	began := time.Now()
	run("../../image/build")
	run("mkfs.ext4", "-q", "-L", "update", "-d", filepath.Join(dir, "image", "update"), disk, "512M")
	t.Logf("the next version: %.0f s", time.Since(began).Seconds())
	return disk
}

// waitForReport waits for one that is good: what is reported may come after what the console shows.
func waitForReport(t *testing.T, m *machine, good func(map[string]string) bool) map[string]string {
	var r map[string]string
	waitFor(t, m, reportWait, func() (string, bool) {
		r = m.report(t)
		return fmt.Sprint(r), good(r)
	})
	return r
}
