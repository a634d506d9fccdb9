package origin

import (
	"fmt"
	"net/netip"
	"testing"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

// TestAddresses: an origin counts in whatever state, and after it left the plan for as long as somebody is with it.
func TestAddresses(t *testing.T) {
	set := New(quiet(), new(health.Set))
	apply := func(list ...plan.Origin) {
		t.Helper()
		if err := set.Apply(planOf(plan.RoundRobin, list...), nil); err != nil {
			t.Fatal(err)
		}
	}
	all := origins(1, 1, 1)
	apply(all...)
	left, _ := set.Pool("games").Pick(netip.MustParseAddr("192.0.2.9"), 1, 1)
	if left.Origin == nil {
		t.Fatal("no origin takes the client")
	}
	all[1].State, all[2].State = plan.Drain, plan.Maintenance
	apply(all...)
	want(t, "in every state", fmt.Sprint(set.Addresses()), "[10.0.0.1 10.0.0.2 10.0.0.3]")
	apply(all[1:]...)
	if left.Addr.Addr().String() != "10.0.0.1" {
		t.Fatalf("the client is at %s", left.Addr)
	}
	want(t, "with a session", fmt.Sprint(set.Addresses()), "[10.0.0.1 10.0.0.2 10.0.0.3]")
	left.Origin.Release()
	want(t, "without one", fmt.Sprint(set.Addresses()), "[10.0.0.2 10.0.0.3]")
	if err := set.Apply(&plan.Plan{}, nil); err != nil {
		t.Fatal(err)
	}
	want(t, "without a plan", fmt.Sprint(set.Addresses()), "[]")
}
