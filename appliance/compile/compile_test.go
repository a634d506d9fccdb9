package compile

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestGolden compiles each document of testdata and compares the plan, written as text, with the file beside it.
func TestGolden(t *testing.T) {
	documents, err := filepath.Glob("testdata/*.json")
	if err != nil || len(documents) == 0 {
		t.Fatalf("got no documents (%v)", err)
	}
	for _, document := range documents {
		t.Run(filepath.Base(document), func(t *testing.T) {
			got := describe(Compile(7, read(t, document)))
			golden := strings.TrimSuffix(document, ".json") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func read(t testing.TB, document string) settings.Settings {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	s, problems := settings.Read(data)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", document, problems)
	}
	return s
}

// describe writes a plan so that a reviewer sees from the lines of a diff what changes for a client.
func describe(p plan.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d\n", p.Revision)
	fmt.Fprintf(&b, "steer %v to %v, transparent %t\n", p.Steering.Interfaces, p.Steering.Addresses, p.Steering.Transparent)
	fmt.Fprintf(&b, "limits %+v\n", p.Limits)
	fmt.Fprintf(&b, "shield %+v\n", p.Shield)
	fmt.Fprintf(&b, "resolvers %v\n", p.Resolvers)
	for _, f := range p.Forbidden {
		fmt.Fprintf(&b, "forbidden %v\n", f)
	}
	for _, r := range p.Routes {
		fmt.Fprintf(&b, "route %s %d-%d of %v -> %s\n", r.Protocol, r.FirstPort, r.LastPort, r.Addresses, p.Services[r.Service].Name)
	}
	for _, s := range p.Services {
		fmt.Fprintf(&b, "service %s -> %s, path %s\n", s.Name, p.Pools[s.Pool].Name, s.Path)
		fmt.Fprintf(&b, "  tcp %s, udp %s, tlvs %+v, transparent %t, upstreams %v\n", s.TCPHeader, s.UDPHeader, s.TLVs, s.Transparent, s.Upstreams)
		fmt.Fprintf(&b, "  timeouts %+v\n  limits %+v\n  shield %+v\n", s.Timeouts, s.Limits, s.Shield)
	}
	for _, pool := range p.Pools {
		fmt.Fprintf(&b, "pool %s, %s\n  health %+v\n", pool.Name, pool.Choice, pool.Health)
		if len(pool.SourceAddresses) > 0 {
			fmt.Fprintf(&b, "  source addresses %s\n", pool.SourceAddresses)
		}
		for _, o := range pool.Origins {
			fmt.Fprintf(&b, "  origin %+v\n", o)
		}
	}
	return b.String()
}

// A plan reaches edge as JSON; lists are never null there, and it reads back as the same plan.
func TestPlanSurvivesJSON(t *testing.T) {
	for _, document := range []string{"testdata/fresh.json", "testdata/smallest.json", "testdata/every-field.json"} {
		want := Compile(7, read(t, document))
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "null") {
			t.Errorf("%s: null in %s", document, data)
		}
		var got plan.Plan
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", document, got, err, want)
		}
		if got.Fingerprint() != want.Fingerprint() {
			t.Errorf("%s: the fingerprint changes with JSON", document)
		}
	}
}

func TestFingerprint(t *testing.T) {
	s := read(t, "testdata/every-field.json")
	first, second := Compile(7, s), Compile(8, s.WithDefaults())
	if first.Fingerprint() != second.Fingerprint() {
		t.Error("the same settings, with defaults and another revision, have another fingerprint")
	}
	if n := len(first.Fingerprint()); n != 64 {
		t.Errorf("got %d digits, want 64", n)
	}
	s.Services[0].Timeouts.Idle++
	if changed := Compile(7, s); changed.Fingerprint() == first.Fingerprint() {
		t.Error("other settings have the same fingerprint")
	}
}

func TestHealthHeader(t *testing.T) {
	tests := []struct {
		name    string
		headers []string // of the services on the pool, TCP each; "udp": a service without TCP
		given   string
		want    plan.TCPHeader
	}{
		{"no service", nil, "", "none"},
		{"one", []string{"v2"}, "", "v2"},
		{"left out means none", []string{""}, "", "none"},
		{"all agree", []string{"v1", "v1"}, "", "v1"},
		{"they differ", []string{"v1", "v2", "v2"}, "", "none"},
		{"one without", []string{"v2", ""}, "", "none"},
		{"udp does not count", []string{"udp", "v2"}, "", "v2"},
		{"only udp", []string{"udp"}, "", "none"},
		{"given", []string{"v2"}, "v1", "v1"},
		{"given as none", []string{"v2"}, "none", "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := settings.Settings{Pools: []settings.Pool{{Name: "games", Health: settings.Health{Header: tt.given}}}}
			for _, header := range tt.headers {
				service := settings.Service{Protocols: []string{"tcp"}, Pool: "games", TCPHeader: header}
				if header == "udp" {
					service.Protocols, service.TCPHeader = []string{"udp"}, ""
				}
				s.Services = append(s.Services, service)
			}
			if got := Compile(1, s).Pools[0].Health.Header; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
