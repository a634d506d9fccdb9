package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

// machine is a stand-in for the machine whose name tells the networks apart.
type machine struct {
	mu      sync.Mutex
	applied []string // the names, in order
	refuses string   // the name of a network that it does not take
	edge    func() uint64
	plans   []uint64 // what edge ran when a network was applied
}

func (m *machine) apply(_ context.Context, s settings.Settings) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := s.WithDefaults().Host.Name
	if m.applied = append(m.applied, name); name == m.refuses {
		return errors.New("lan0 cannot have this")
	}
	m.plans = append(m.plans, m.edge())
	return nil
}

func (m *machine) refuse(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses = name
}

// took are the names since the last time.
func (m *machine) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.applied
	m.applied = nil
	return list
}

// newAppliance is a box on a machine that is its own, with a revision 1 that names it "one".
func newAppliance(t *testing.T) (*box, *machine) {
	t.Helper()
	b := newBox(t)
	m := &machine{edge: func() uint64 {
		if p := b.edge.Plan(); p != nil {
			return p.Revision
		}
		return 0
	}}
	b.machine = &control.Machine{Apply: m.apply, Ports: func() []host.Port { return []host.Port{{Name: "lan0", MAC: "52:54:00:00:00:01"}} }}
	b.crash()
	if _, err := b.named("one", 0); err != nil {
		t.Fatal(err)
	}
	if got := m.took(); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("the machine took %q, want one", got)
	}
	return b, m
}

// named proposes a document that names the machine.
func (b *box) named(name string, confirm time.Duration, fields ...string) (control.Result, error) {
	document := fmt.Sprintf(`"host": { "name": %q%s }, "pools"`, name, strings.Join(append([]string{""}, fields...), ", "))
	return b.Propose(b.t.Context(), []byte(strings.Replace(string(documentWith("games")), `"pools"`, document, 1)), control.Meta{Author: "anna", Confirm: confirm})
}

func (b *box) mustName(name string, confirm time.Duration) {
	b.t.Helper()
	if _, err := b.named(name, confirm); err != nil {
		b.t.Fatal(err)
	}
}

func TestTheMachineIsChangedBeforeEdge(t *testing.T) {
	b, m := newAppliance(t)
	b.mustName("two", 0)
	if got := m.took(); !slices.Equal(got, []string{"two"}) || m.plans[len(m.plans)-1] != 1 {
		t.Errorf("the machine took %q while edge ran revisions %v; want two, at revision 1", got, m.plans)
	}
	if p := b.edge.Plan(); p.Revision != 2 {
		t.Errorf("edge runs revision %d, want 2", p.Revision)
	}
	b.mustPropose("other-pool", 0) // which leaves the name out
	b.mustPropose("third-pool", 0)
	if got := m.took(); !slices.Equal(got, []string{"breakwater"}) {
		t.Errorf("the machine took %q, want one change and nothing for the same network", got)
	}
}

func TestWhatTheMachineRefusesIsNotStored(t *testing.T) {
	b, m := newAppliance(t)
	m.refuse("two")
	for _, confirm := range []time.Duration{0, time.Minute} {
		_, err := b.named("two", confirm)
		if _, ok := errors.AsType[*control.NotApplied](err); !ok || !strings.Contains(err.Error(), "lan0 cannot have this") {
			t.Errorf("got %v, want NotApplied with the reason", err)
		}
		if got := m.took(); !slices.Equal(got, []string{"two", "one"}) {
			t.Errorf("the machine took %q, want the old one again", got)
		}
		if _, err := b.store.Candidate(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a candidate is left (%v)", err)
		}
	}
	b.assert(1, "games")
	if got := b.edge.Applied(); slices.Contains(got, 2) {
		t.Errorf("edge took %v, want nothing of revision 2", got)
	}
}

func TestTheMachineGoesBackWithEdge(t *testing.T) {
	b, m := newAppliance(t)
	b.edge.Refuse("no such interface")
	if _, err := b.named("two", 0); err == nil {
		t.Error("the change was acknowledged")
	}
	if got := m.took(); !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("the machine took %q, want two and one again", got)
	}
}

func TestTheNetworkAtTheDeadline(t *testing.T) {
	tests := []struct {
		name   string
		passes time.Duration
		crash  bool
		want   []string
	}{
		{"over", time.Minute, false, []string{"one"}},
		{"crash inside the window", 50 * time.Second, true, []string{"two"}},
		{"crash until after it", time.Hour, true, []string{"one"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, m := newAppliance(t)
			b.mustName("two", time.Minute)
			m.took()
			b.now = b.now.Add(test.passes)
			if test.crash {
				b.crash()
			}
			var got []string
			b.runUntil(func() bool {
				got = append(got, m.took()...)
				return len(got) > 0
			})
			if !slices.Equal(got, test.want) {
				t.Errorf("the machine took %q, want %q", got, test.want)
			}
		})
	}
}

func TestRevertBringsTheNetworkBack(t *testing.T) {
	b, m := newAppliance(t)
	b.mustName("two", time.Minute)
	m.took()
	if err := b.Revert(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if got := m.took(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("the machine took %q, want one", got)
	}
}

func TestANetworkThatDoesNotComeBackIsTriedAgain(t *testing.T) {
	b, m := newAppliance(t)
	b.mustName("two", time.Minute)
	m.refuse("one")
	if err := b.Revert(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if got := b.codes(); !slices.Contains(got, "network-refused") {
		t.Errorf("conditions %v, want network-refused", got)
	}
	b.assert(1, "games")
	m.refuse("")
	b.runUntil(func() bool { return !slices.Contains(b.codes(), "network-refused") })
	if got := m.took(); got[len(got)-1] != "one" {
		t.Errorf("the machine took %q, want one at last", got)
	}
}

func TestABoxWithoutSettingsHasTheNetworkOfNone(t *testing.T) {
	b := newBox(t)
	m := &machine{edge: func() uint64 { return 0 }}
	b.machine = &control.Machine{Apply: m.apply, Ports: func() []host.Port { return nil }}
	b.crash()
	var got []string
	b.runUntil(func() bool {
		got = append(got, m.took()...)
		return len(got) > 0
	})
	if !slices.Equal(got, []string{"breakwater"}) {
		t.Errorf("the machine took %q, want the network of no settings once", got)
	}
}

func TestPortsThatTheMachineDoesNotHave(t *testing.T) {
	b, m := newAppliance(t)
	_, err := b.named("two", 0, `"interfaces": [ { "name": "lan1", "mac": "52:54:00:00:00:09" }, { "name": "v5", "vlan": 5, "parent": "lan2" } ]`)
	const want = "the machine has no port lan1 (52:54:00:00:00:09), lan2; it has lan0 (52:54:00:00:00:01)"
	if _, ok := errors.AsType[*control.NotApplied](err); !ok || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want NotApplied with %q", err, want)
	}
	if got := m.took(); slices.Contains(got, "two") {
		t.Errorf("the machine took %q", got)
	}
	if _, err := b.named("two", 0, `"interfaces": [ { "name": "lan0" } ]`); err != nil {
		t.Fatal(err)
	}
	b.machine.Ports = func() []host.Port { return nil } // the card is broken
	b.crash()
	b.runUntil(func() bool { return slices.Contains(b.codes(), "port-missing") })
	if _, err := b.named("three", 0, `"interfaces": [ { "name": "lan0" } ]`); err != nil {
		t.Errorf("a card that broke is in the way of a new name: %v", err)
	}
}

// TestANetworkThatFailsIsInNobodysWay changes something else while the machine is not on its network.
func TestANetworkThatFailsIsInNobodysWay(t *testing.T) {
	b, m := newAppliance(t)
	m.refuse("one")
	b.crash()
	b.runUntil(func() bool { return slices.Contains(b.codes(), "network-refused") })
	document := strings.Replace(string(documentWith("other")), `"pools"`, `"host": { "name": "one" }, "pools"`, 1)
	if _, err := b.Propose(t.Context(), []byte(document), control.Meta{}); err != nil {
		t.Error(err)
	}
	b.assert(2, "other")
	m.refuse("")
	b.runUntil(func() bool { return len(b.codes()) == 0 })
}

func TestSettingsOfAMachineThatIsNotOurs(t *testing.T) {
	b := newBox(t)
	b.mustName("one", 0)
	b.runUntil(func() bool { return slices.Contains(b.codes(), "network-elsewhere") })
	b.mustPropose("two", 0)
	b.runUntil(func() bool { return len(b.codes()) == 0 })
}
