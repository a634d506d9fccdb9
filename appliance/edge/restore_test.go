package edge

import (
	"os"
	"path/filepath"
	"testing"
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
			e := newEdge(t, t.TempDir())
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
