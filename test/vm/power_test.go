//go:build vm

package vm

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control"
)

// TestPowerCut: the power goes at one step after the other, of the first start and of an update. The box always starts,
// with the settings that it had, and what was cut short can be done again. What a machine has handed to its disk is
// kept, as a disk does that answers when it has written; what a disk loses that does not is not tested. In the end
// its owner goes back to the version before, and forward again.
func TestPowerCut(t *testing.T) {
	next := built(t, next)
	disk := filepath.Join(t.TempDir(), "disk.raw")
	copyDisk(t, imageIn(t, "../../build/image"), disk)
	p := &power{machine: bootWith(t, freePort(t), []string{"DISK=" + disk}), disk: disk}

	before := allocated(t, disk)
	if !t.Run("first start", func(t *testing.T) {
		p.cut(t, "/var is made", func() bool { return allocated(t, disk) > before+1<<20 && len(partitions(t, disk)) < 6 })
		p.cut(t, "the disk has its table", func() bool { return len(partitions(t, disk)) == 6 })
		p.cut(t, "control makes its store", func() bool { return strings.Contains(p.screen(), "Breakwater ") })
		waitFor(t, p.machine, bootWait, ready(p.machine, "A", true))
		checkSystem(t, p.report(t))
	}) {
		return
	}
	origin, _ := serveOnce(t)
	o := newOwner(t, p.machine, origin)
	first := o.update(t)
	body := read(t, next)
	back := func(t *testing.T, state control.UpdateState) {
		t.Helper()
		u := o.wait(t, bootWait, func(u control.Update) bool { return u.Version != "" })
		if u.Version != first.Version || u.Slot != "A" || u.State != state {
			t.Errorf("it came back with %+v, want %s", u, state)
		}
		o.wantSettings(t)
		if left := p.report(t)["unpacked"]; left != "" {
			t.Errorf("left of the update that was cut short: %q", left)
		}
	}
	_ = t.Run("while an update is received", func(t *testing.T) {
		in, out := io.Pipe()
		ended := make(chan error)
		go func() { ended <- o.call(http.MethodPut, "/api/v1/update", in, nil) }()
		if _, err := out.Write(body[:len(body)/2]); err != nil {
			t.Fatal(err)
		}
		p.reset(t)
		_ = out.CloseWithError(errors.New("cut off")) // it returns nil always
		if err := <-ended; err == nil {
			t.Fatal("half an update was taken")
		}
		back(t, control.UpdateNone)
		o.put(t, bytes.NewReader(body), http.StatusOK, "")
	}) && t.Run("while it is unpacked", func(t *testing.T) {
		o.post(t, "/api/v1/update/install")
		time.Sleep(2 * time.Second)
		p.cut(t, "unpacked", func() bool { return !written(t, disk, 4) })
		back(t, control.UpdateReceived)
	}) && t.Run("while the hashes are written", func(t *testing.T) {
		o.post(t, "/api/v1/update/install")
		p.cut(t, "written", func() bool { return written(t, disk, 4) })
		back(t, control.UpdateReceived)
	}) && t.Run("while the system is written", func(t *testing.T) {
		o.post(t, "/api/v1/update/install")
		p.cut(t, "written", func() bool { return written(t, disk, 5) })
		back(t, control.UpdateReceived)
	}) && t.Run("while the slot gets its name", func(t *testing.T) {
		o.post(t, "/api/v1/update/install")
		p.cut(t, "named", func() bool {
			return slices.ContainsFunc(partitions(t, disk)[3:5], func(p partition) bool { return p.name != "_empty" })
		})
		back(t, control.UpdateReceived)
	}) && t.Run("as soon as it is installed", func(t *testing.T) {
		o.post(t, "/api/v1/update/install")
		o.wait(t, installWait, func(u control.Update) bool { return u.State == control.UpdateInstalled })
		p.reset(t)
		p.cut(t, "the first start of the new version", func() bool { return strings.Contains(p.screen(), "Breakwater "+versionOf(next)+", slot B\n") })
		u := o.wait(t, bootWait, func(u control.Update) bool { return u.Version != "" })
		if u.Slot != "B" || u.Other != first.Version {
			t.Errorf("it came back with %+v, want the new version", u)
		}
		r := waitForReport(t, p.machine, func(r map[string]string) bool { return strings.Contains(r["entries"], "breakwater_"+u.Version+".efi") })
		checkSystem(t, r)
		o.wantSettings(t)
	}) && t.Run("and back", func(t *testing.T) { startOther(t, p.machine) })
}

// power is the switch of a machine, and its disk.
type power struct {
	*machine
	disk string
}

// cut waits for a moment, and resets the machine in it.
func (p *power) cut(t *testing.T, when string, now func() bool) {
	t.Helper()
	began, patience := time.Now(), p.patience()
	for !now() {
		if patience.ends(bootWait) {
			t.Fatalf("%s: not within %s; the screen:\n%s", when, bootWait, p.screen())
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.reset(t)
	t.Logf("%s: cut after %.1f s", when, time.Since(began).Seconds())
}

// allocated is how much of a sparse file there is, in bytes.
func allocated(t *testing.T, file string) int64 {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(file, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * 512
}

// versionOf is the version in the name of an update file.
func versionOf(file string) string {
	name := strings.TrimPrefix(filepath.Base(file), "breakwater_")
	return strings.TrimSuffix(name, filepath.Ext(name))
}
