package edge

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"breakwater/appliance/origin"
	"breakwater/appliance/proxy"
)

// TestBrokenPlanFileIsACondition: edge must come up with whatever the file of the last plan says, or it never does.
func TestBrokenPlanFileIsACondition(t *testing.T) {
	for _, test := range []struct{ name, file string }{
		{"empty", ""},
		{"no JSON", "{"},
		{"a service without a pool", `{"services":[{"name":"games","pool":3}]}`},
		{"a route without a service", `{"routes":[{"protocol":"tcp","firstPort":1,"lastPort":2,"service":7}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			e := &Edge{options: Options{State: t.TempDir(), Log: log}}
			e.pools = origin.New(log, &e.conditions)
			var err error
			if e.engine, err = proxy.New(proxy.Options{Pools: e.pools, Workers: 1}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(e.options.State, PlanFile), []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			e.restore()
			if got := e.conditions.List(); len(got) != 1 || got[0].Code != "plan-not-restored" {
				t.Errorf("conditions %+v", got)
			}
		})
	}
}
