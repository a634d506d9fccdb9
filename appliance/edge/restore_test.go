package edge

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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
			if again := e.restore(); !again {
				t.Error("it is not tried again")
			}
			if got := e.conditions.List(); len(got) != 1 || got[0].Code != "plan-not-restored" {
				t.Errorf("conditions %+v", got)
			}
		})
	}
}

// TestRestoringEndsWithAPlanOfControl: what is restored late must not take the place of what control sent meanwhile.
func TestRestoringEndsWithAPlanOfControl(t *testing.T) {
	e := newEdge(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(e.options.State, PlanFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !e.restore() {
		t.Fatal("it is not tried again")
	}
	ended := make(chan error, 1)
	go func() { ended <- e.restoreUntilDone(t.Context()) }()
	p := planOf(7)
	e.mu.Lock()
	e.current = &p // as control's comes
	e.mu.Unlock()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * restoreFirst):
		t.Fatal("it goes on")
	}
	if err := e.keep(PlanFile, planOf(6)); err != nil {
		t.Fatal(err)
	}
	if e.restore() || e.current.Revision != 7 {
		t.Errorf("revision %d is in force, want that of control", e.current.Revision)
	}
}
