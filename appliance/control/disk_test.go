package control

import (
	"errors"
	"testing"

	"breakwater/appliance/health"
)

// TestADiskThatFillsUp: first a warning, then worse, and neither once there is room.
func TestADiskThatFillsUp(t *testing.T) {
	var free int64
	var fails error
	c := &Control{diskFree: func() (int64, error) { return free, fails }}
	with := func(name string, now int64, err error, want health.Severity) {
		t.Helper()
		free, fails = now, err
		c.checkDisk()
		var got health.Severity
		for _, h := range c.conditions.List() {
			if h.Code == "disk-full" {
				got = h.Severity
			}
		}
		if got != want {
			t.Errorf("%s: the condition is %q, want %q", name, got, want)
		}
	}
	with("room", 1<<30, nil, "")
	with("little", 63<<20, nil, health.Warning)
	with("none", 0, nil, health.Critical)
	with("not known", 0, errors.New("no such device"), "")
	with("none again", 1<<20, nil, health.Critical)
	with("room again", 64<<20, nil, "")
}
