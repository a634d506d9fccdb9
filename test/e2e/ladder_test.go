//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"breakwater/appliance/crash"
	"breakwater/appliance/health"
	"breakwater/appliance/settings"
)

// crashThrice kills a process as often as condemns what it works with, each time when revision is in force again.
func crashThrice(t *testing.T, name string, revision uint64) {
	t.Helper()
	for range crash.Limit {
		eventually(t, func() error { return edgeRuns(t, revision) })
		end(t, name, syscall.SIGKILL)
	}
}

// proved tells whether edge has written down that what it runs has proved itself.
func proved() error {
	text, err := os.ReadFile(filepath.Join(edgeState, "crashes.json"))
	if err != nil {
		return err
	}
	var ledger struct {
		Work   crash.Work
		Proved string
	}
	if err := json.Unmarshal(text, &ledger); err != nil {
		return err
	}
	if ledger.Work.Print == "" || ledger.Proved != ledger.Work.Print {
		return fmt.Errorf("revision %d has not proved itself", ledger.Work.Revision)
	}
	return nil
}

// edgeRuns tells whether edge is on a revision, whatever control wants.
func edgeRuns(t *testing.T, revision uint64) error {
	s, err := tryStatus(t)
	switch {
	case err != nil:
		return err
	case s.Edge == nil:
		return fmt.Errorf("edge does not answer")
	case s.Edge.Revision != revision:
		return fmt.Errorf("edge runs revision %d, want %d", s.Edge.Revision, revision)
	}
	return nil
}

// tells waits for a condition that says every text.
func tells(t *testing.T, code string, texts ...string) {
	t.Helper()
	eventually(t, func() error {
		s, err := tryStatus(t)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(s.Conditions, func(c health.Condition) bool { return c.Code == code })
		if i < 0 {
			return fmt.Errorf("there is no condition %s in %+v", code, s.Conditions)
		}
		for _, text := range texts {
			if !strings.Contains(s.Conditions[i].Detail, text) {
				return fmt.Errorf("%s says %q, want %q in it", code, s.Conditions[i].Detail, text)
			}
		}
		return nil
	})
}

func tellsNothing(t *testing.T, codes ...string) {
	t.Helper()
	eventually(t, func() error {
		s, err := tryStatus(t)
		if err == nil && slices.ContainsFunc(s.Conditions, func(c health.Condition) bool { return slices.Contains(codes, c.Code) }) {
			err = fmt.Errorf("got %+v, want none of %v", s.Conditions, codes)
		}
		return err
	})
}

// TestLadder: settings with which edge crashes three times within a minute give way to the last good ones, and those to
// nothing, which is still a box that can be managed. To edge a kill is a crash.
func TestLadder(t *testing.T) {
	v4, v6 := pool("games", families[0].origin), pool("games6", families[1].origin)
	onPort := func(port string) settings.Settings {
		first, second := service("games", port), service("games6", port)
		second.Pool = "games6"
		first.Addresses, second.Addresses = networks(families[0].edge.String()), networks(families[1].edge.String())
		return document([]settings.Pool{v4, v6}, first, second)
	}
	served := func(port uint16) {
		t.Helper()
		for _, f := range families {
			eventually(t, func() error { return servedBy(f.at(port), "games-1") })
		}
	}
	refused := func(port uint16) {
		t.Helper()
		for _, f := range families {
			if err := servedBy(f.at(port), "games-1"); err == nil {
				t.Errorf("%s: port %d is served", f.name, port)
			}
		}
	}
	apply(t, onPort("1800"))
	good := boxStatus(t).Revision
	within(t, 2*crash.Window, proved)
	apply(t, onPort("1801"))
	bad := boxStatus(t).Revision
	served(1801)

	crashThrice(t, "edge", bad)
	eventually(t, func() error { return edgeRuns(t, good) })
	served(1800)
	refused(1801)
	crashed := fmt.Sprintf("Revision %d crashed the data plane 3 times within 60 seconds", bad)
	tells(t, "plan-condemned", crashed, fmt.Sprintf("Revision %d is in force instead", good))
	tells(t, "plan-refused", crashed[1:])

	crashThrice(t, "edge", good)
	eventually(t, func() error { return edgeRuns(t, 0) })
	tells(t, "plan-condemned", crashed, "Nothing is proxied")
	refused(1800)
	refused(1801)
	if rules := inside(t, "bw-edge", "iptables", "-t", "mangle", "-S"); !strings.Contains(rules, "TPROXY") {
		t.Errorf("steering is gone, so packets reach the box itself:\n%s", rules)
	}

	apply(t, onPort("1802"))
	served(1802)
	tellsNothing(t, "plan-condemned", "plan-refused")
	out := breakwater(t, nil, "rollback", fmt.Sprint(good))
	if out.code == 0 || !strings.Contains(out.stderr, fmt.Sprintf("revision %d crashed the data plane", good)) {
		t.Errorf("roll back to what was condemned: got %d %q", out.code, out.stderr)
	}
	served(1802)
}

// TestLadderOfControl: control that crashes three times within a minute does without the settings. Players are served on,
// and other settings heal it.
func TestLadderOfControl(t *testing.T) {
	f := families[0]
	apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1810")))
	revision := boxStatus(t).Revision
	for range crash.Limit {
		inForce(t)
		end(t, "control", syscall.SIGKILL)
	}
	tells(t, "settings-condemned", fmt.Sprintf("Revision %d crashed control 3 times within 60 seconds", revision))
	if err := servedBy(f.at(1810), "games-1"); err != nil {
		t.Error(err)
	}
	apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1811")))
	inForce(t)
	if err := servedBy(f.at(1811), "games-1"); err != nil {
		t.Error(err)
	}
	tellsNothing(t, "settings-condemned")
}
