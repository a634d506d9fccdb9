//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/settings"
)

const start = `{ "schema": 1, "edge": { "interfaces": ["wan0"], "addresses": ["198.18.1.10/32", "2001:db8:1::10/128"] }, `

// TestBadInputChangesNothing: whatever is wrong is said, all of it at once and with its field, and nothing else happens.
func TestBadInputChangesNothing(t *testing.T) {
	apply(t, document([]settings.Pool{pool("games", families[0].origin)}, service("games", "1500")))
	before := boxStatus(t)
	exported := breakwater(t, nil, "export").stdout
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, document string
		args           []string
		code           int
		says           []string
	}{
		{"everything at once", `{ "schema": 1, "colour": "red",
			"edge": { "interfaces": ["wan0"], "addresses": ["198.18.1.10/32", "198.18.1.0/24"] },
			"pools": [ { "name": "games", "origins": [ { "address": "198.18.1.10" } ] } ],
			"services": [ { "name": "all", "protocols": ["tcp"], "ports": ["0-70000"], "pool": "gmaes" } ] }`,
			[]string{"apply", "-"}, 1,
			[]string{"colour", "edge.addresses[1]", "pools[0].origins[0].address", "services[0].ports[0]", "0-70000", "services[0].pool", "gmaes"}},
		{"the same for validate", start + `"pools": [], "services": [ { "name": "all", "protocols": ["tpc"], "ports": ["70000"], "pool": "x" } ] }`,
			[]string{"validate", "-"}, 1, []string{"services[0].protocols[0]", "services[0].ports[0]", "services[0].pool"}},
		{"an origin that is an edge address", start + `"pools": [ { "name": "p", "origins": [ { "address": "2001:db8:1::10" } ] } ], "services": [] }`,
			[]string{"apply", "-"}, 1, []string{"pools[0].origins[0].address", "circle"}},
		{"an origin that is the box itself", start + `"pools": [ { "name": "p", "origins": [ { "address": "198.18.2.1" } ] } ],
			"services": [ { "name": "all", "protocols": ["tcp"], "ports": ["1"], "pool": "p" } ] }`,
			[]string{"apply", "-"}, 1, []string{"198.18.2.1", "loop"}},
		{"an edge interface that is not there", strings.Replace(start, "wan0", "wan9", 1) + `"pools": [], "services": [] }`,
			[]string{"apply", "-"}, 1, []string{"wan9"}},
		{"not JSON", "schema = 1", []string{"apply", "-"}, 1, []string{"JSON"}},
		{"a newer schema", `{ "schema": 2 }`, []string{"apply", "-"}, 1, []string{"schema"}},
		{"too large", strings.Repeat(" ", 1<<20) + "{}", []string{"apply", "-"}, 1, []string{"1048576"}},
		{"no such file", "", []string{"apply", "/no/such/file.json"}, 1, []string{"/no/such/file.json", "no such file"}},
		{"a directory", "", []string{"apply", dir}, 1, []string{"directory"}},
		{"an empty file", "", []string{"apply", empty}, 1, []string{"empty"}},
		{"a confirmation too soon", exported, []string{"apply", "-", "--confirm", "1ms"}, 1, []string{"5s"}},
		{"a revision that never was", "", []string{"rollback", "999999"}, 1, []string{"999999"}},
		{"nothing to confirm", "", []string{"confirm"}, 1, []string{"waits"}},
		{"an unknown command", "", []string{"aply", "-"}, 2, []string{"aply"}},
		{"an unknown flag", "", []string{"apply", "-", "--now"}, 2, []string{"--now"}},
		{"no file", "", []string{"apply"}, 2, []string{"file"}},
		{"no session", "", []string{"kill", "0000000000000001"}, 1, []string{"no such session"}},
		{"not a session", "", []string{"kill", "all"}, 1, []string{"16 hex digits"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := breakwater(t, []byte(tt.document), tt.args...)
			if out.code != tt.code {
				t.Errorf("got the exit status %d, want %d", out.code, tt.code)
			}
			said := out.stdout + out.stderr
			for _, want := range tt.says {
				if !strings.Contains(said, want) {
					t.Errorf("got %q, want %q in it", said, want)
				}
			}
			if strings.Contains(said, "panic") || strings.Contains(said, "goroutine") {
				t.Errorf("got %q, want a sentence", said)
			}
			after := boxStatus(t)
			if after.Revision != before.Revision || !after.InForce || after.Pending != nil || after.Edge.Plan != before.Edge.Plan {
				t.Errorf("got revision %d, in force: %t, want %d in force as before", after.Revision, after.InForce, before.Revision)
			}
			if got := breakwater(t, nil, "export").stdout; got != exported {
				t.Errorf("got the settings %s, want %s", got, exported)
			}
		})
	}
	eachFamily(t, func(t *testing.T, f family) {
		if _, err := askTCP(connect(t, f.at(1500)), "hello"); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedPlanIsOneSentence: what edge cannot do is told in one line, and the old plan goes on for everybody.
func TestRefusedPlanIsOneSentence(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := document([]settings.Pool{pool("games", f.origin)}, service("games", "1501"))
		apply(t, s)
		h := hold(t, f, 1501, 20, 20)
		revisions := breakwater(t, nil, "revisions").stdout
		s.Edge.Interfaces = []string{"wan9"}
		out := breakwater(t, settings.Encode(s), "apply", "-")
		if out.code != 1 || strings.Count(out.stderr, "\n") != 1 || !strings.Contains(out.stderr, "wan9") {
			t.Errorf("got the exit status %d and %q, want 1 and one line about wan9", out.code, out.stderr)
		}
		if got := breakwater(t, nil, "revisions").stdout; got != revisions {
			t.Errorf("got the revisions %s, want %s", got, revisions)
		}
		inForce(t)
		h.verify(t)
		if err := servedBy(f.at(1501), "games-1"); err != nil {
			t.Error(err)
		}
	})
}
