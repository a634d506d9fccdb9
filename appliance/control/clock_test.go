package control

import (
	"errors"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/host"
)

// TestAClockThatNobodyKeeps: a start is no reason to warn, a quarter of an hour is, and only on the appliance.
func TestAClockThatNobodyKeeps(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var clock host.Clock
	var fails error
	c := &Control{now: func() time.Time { return now }, host: &host.Host{}, readClock: func() (host.Clock, error) { return clock, fails }}
	after := func(name string, wait time.Duration, want bool) {
		t.Helper()
		now = now.Add(wait)
		c.checkClock()
		raised := slices.ContainsFunc(c.conditions.List(), func(h health.Condition) bool { return h.Code == "clock-not-synchronised" })
		if raised != want {
			t.Errorf("%s: the condition is raised: %v, want %v", name, raised, want)
		}
	}
	after("at the start", 0, false)
	after("soon", 9*time.Minute, false)
	after("later", time.Minute, true)
	clock.Synchronised = true
	after("kept", time.Second, false)
	clock.Synchronised = false
	after("alone again", time.Second, false)
	fails = errors.New("not permitted")
	after("not known", time.Hour, false)
	fails = nil
	after("known again", time.Second, false)
	after("for long", time.Hour, true)
	c.host = nil
	after("the machine is somebody else's", time.Second, false)
}
