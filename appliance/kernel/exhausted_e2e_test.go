//go:build e2e

package kernel

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
)

// TestExhaustedIsTold: that there is no source port left is a condition, and over a minute after the last client without one.
func TestExhaustedIsTold(t *testing.T) {
	r := newRig(t, vectorPlan())
	if want := []uint32{leftFull, leftHalfOpen}; !slices.EqualFunc(exhausted, want, func(e struct {
		cause         uint32
		code          string
		title, detail string
	}, cause uint32) bool {
		return e.cause == cause
	}) {
		t.Errorf("the causes are not %v", want)
	}
	raised := func() bool {
		return slices.ContainsFunc(r.conditions.List(), func(c health.Condition) bool {
			return c.Code == "kernel-path-ports" && c.Subject == "sameIPv4/origin-0 10.1.0.2" &&
				strings.Contains(c.Detail, fmt.Sprintf("1 packets in the last seconds found no free one of the %d ports", r.path.ports))
		})
	}
	tell := func(at time.Time) {
		t.Helper()
		if err := r.path.tellExhausted(at); err != nil {
			t.Fatal(err)
		}
	}
	f, now := families[0], time.Now()
	r.ports(t, 2000, 1999)
	tell(now)
	if raised() {
		t.Error("it is told before it happened")
	}
	r.leaves(t, f.opening(protocolTCP, 40000, portPlain).frame(), arrival{}, leftPort)
	tell(now.Add(time.Second))
	if !raised() {
		t.Error("a client found no source port, and nobody is told")
	}
	tell(now.Add(50 * time.Second))
	if !raised() {
		t.Error("it is over already")
	}
	tell(now.Add(62 * time.Second))
	if raised() {
		t.Error("it is not over after a minute")
	}
}
