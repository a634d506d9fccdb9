//go:build vm

package vm

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFullDisk: somebody fills /var to the last byte. The box says so on its console and its page, keeps the settings,
// refuses what it cannot store in a sentence, and starts again.
func TestFullDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "small.raw")
	copyDisk(t, imageIn(t, "../../build/image"), disk)
	if err := os.Truncate(disk, 4<<30); err != nil { // the smallest that there may be
		t.Fatal(err)
	}
	m := bootWith(t, freePort(t), []string{"DISK=" + disk}, "-smbios", credential(t, "extra-unit", "fill.service"),
		"-smbios", credential(t, "extra-unit", "fill.path"))
	origin, _ := serveOnce(t)
	o := newOwner(t, m, origin) // with the first revision it begins

	check := func(t *testing.T) {
		t.Helper()
		screen := waitFor(t, m, bootWait, func() (string, bool) {
			s := m.screen()
			return s, strings.Contains(s, "READY  Revision 1 is in force.") && strings.Contains(s, "critical: The disk is full")
		})
		t.Logf("the console:\n%s", screen)
		o.wantSettings(t)
		if got := o.condition(t, "disk-full"); !strings.Contains(got, "The settings in force stay.") {
			t.Errorf("the condition is %q", got)
		}
	}
	t.Run("full", check)
	t.Run("a change", func(t *testing.T) {
		o.refused(t, "/api/v1/settings", strings.NewReader(fmt.Sprintf(documentOne, playerPort(t, m.screen()), origin+1)))
	})
	t.Run("an update", func(t *testing.T) {
		file, err := os.Open(updateIn(t, "../../build/image"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		o.refused(t, "/api/v1/update", io.LimitReader(file, 1<<20))
	})
	t.Run("reset button", func(t *testing.T) {
		m.reset(t)
		check(t)
	})
}

// refused sends what there is no room for.
func (o *owner) refused(t *testing.T, path string, body io.Reader) {
	t.Helper()
	err := o.call(http.MethodPut, path, body, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "507 no-space: ") {
		t.Errorf("%s: got %v, want 507 no-space", path, err)
	}
	t.Log(err)
}
