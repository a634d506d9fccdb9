//go:build e2e

package edge

import (
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/steering"
)

// TestRefusedFirstPlanLeavesNothing: steering is the last to be asked. What it refuses, here because an interface has not come yet, must not
// be carried by the engines, which were asked before.
func TestRefusedFirstPlanLeavesNothing(t *testing.T) {
	e := newEdge(t, t.TempDir())
	runtime.LockOSThread() // it is never unlocked: the thread ends with its namespace
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		t.Fatal(err)
	}
	if e.steering, err = steering.New(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	edge := []netip.Prefix{netip.MustParsePrefix("198.18.1.10/32")}
	p := plan.Plan{
		Revision: 1, Steering: plan.Steering{Interfaces: []string{"gone0"}, Addresses: edge},
		Routes:   []plan.Route{{Protocol: plan.TCP, FirstPort: 1, LastPort: 65535, Addresses: edge}},
		Services: []plan.Service{{Name: "games"}},
		Pools: []plan.Pool{{Name: "games", Health: plan.Health{Check: plan.CheckNone}, Origins: []plan.Origin{
			{Name: "one", Address: "198.18.2.2", Weight: 1, State: plan.Active},
		}}},
	}
	if err := e.Apply(&p); err == nil || !strings.Contains(err.Error(), "gone0") {
		t.Fatalf("a plan for an interface that is not there: %v", err)
	}
	var seen status.Edge
	e.engine.Status(&seen)
	if len(seen.Services) != 0 || e.inForce() {
		t.Errorf("the refused plan has services %+v", seen.Services)
	}
}
