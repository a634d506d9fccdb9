package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	const service = `{ "name": "web", "protocols": ["tcp"], "ports": ["80", "443"], "pool": "games" }`
	tests := []struct {
		name, old, new string
		want           []Change
	}{
		{"nothing", `"schema": 1`, `"schema": 1`, nil},
		{"spelling only", `203.0.113.10/32`, `203.0.113.10`, nil},
		{"list of values", `"1-65535"`, `"80", "1000-2000"`, []Change{{"services[everything].ports", "1-65535", "80, 1000-2000"}}},
		{"addresses", `, "2001:db8::10/128"`, ``, []Change{{"edge.addresses", "203.0.113.10/32, 2001:db8::10/128", "203.0.113.10/32"}}},
		{"word", `"tcpHeader": "v2"`, `"tcpHeader": "v1"`, []Change{{"services[everything].tcpHeader", "v2", "v1"}}},
		{"left out", `"tcpHeader": "v2", `, ``, []Change{{"services[everything].tcpHeader", "v2", ""}}},
		{"switched on", `"tcpHeader": "v2"`, `"tcpHeader": "v2", "transparent": true`, []Change{{"services[everything].transparent", "", "true"}}},
		{"path chosen", `"tcpHeader": "v2"`, `"path": "kernel", "tcpHeader": "v2"`, []Change{{"services[everything].path", "", "kernel"}}},
		{"path spelled out", `"tcpHeader": "v2"`, `"path": "auto", "tcpHeader": "v2"`, []Change{{"services[everything].path", "", "auto"}}},
		{"within", `"tcpHeader": "v2"`, `"tcpHeader": "v2", "timeouts": { "idle": "60m" }`, []Change{{"services[everything].timeouts.idle", "", "1h"}}},
		{"servers", `"schema": 1`, `"schema": 1, "dns": { "servers": ["192.0.2.53:53"] }`, []Change{{"dns.servers", "", "192.0.2.53"}}},
		{"page opened under a name", `"schema": 1`, `"schema": 1, "management": { "names": ["Box.Example.ORG"], "acme": { "email": "a@example.org" } }`,
			[]Change{{"management.names", "", "box.example.org"}, {"management.acme.email", "", "a@example.org"}}},
		{"service added", `"services": [`, `"services": [ ` + service + `, `, []Change{{"services[web]", "", "name web, protocols tcp, ports 80, 443, pool games"}}},
		{"service renamed", `"name": "everything"`, `"name": "all"`, []Change{
			{"services[everything]", "name everything, protocols tcp, udp, ports 1-65535, pool games, tcpHeader v2, udpHeader none", ""},
			{"services[all]", "", "name all, protocols tcp, udp, ports 1-65535, pool games, tcpHeader v2, udpHeader none"}}},
		{"pool added", `"pools": [`, `"pools": [ { "name": "web", "origins": [ { "address": "10.0.0.1" }, { "name": "b", "address": "10.0.0.2", "port": "80" } ] }, `,
			[]Change{{"pools[web]", "", "name web, origins (address 10.0.0.1), (name b, address 10.0.0.2, port 80)"}}},
		{"origin added in front", `{ "address": "10.0.0.20" }`, `{ "address": "10.0.0.19", "weight": 2 }, { "address": "10.0.0.20" }`,
			[]Change{{"pools[games].origins[10.0.0.19]", "", "address 10.0.0.19, weight 2"}}},
		{"origin of the same address", `{ "address": "10.0.0.20" }`, `{ "address": "10.0.0.20" }, { "address": "10.0.0.20", "port": "80" }`,
			[]Change{{"pools[games].origins[10.0.0.20 #2]", "", "address 10.0.0.20, port 80"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, new := decoded(t, with(t, tt.old, tt.old)), decoded(t, with(t, tt.old, tt.new))
			if diff := cmp.Diff(tt.want, Diff(old, new)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if got := Diff(new, old); len(got) != len(tt.want) {
				t.Errorf("backwards: got %v", got)
			}
		})
	}
}

func decoded(t *testing.T, data []byte) Settings {
	t.Helper()
	s, problems := Decode(data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func TestDiffOrderOfServices(t *testing.T) {
	old := Settings{Services: []Service{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}}
	new := Settings{Services: []Service{{Name: "c"}, {Name: "e"}, {Name: "a", Pool: "games"}, {Name: "b"}}}
	want := []Change{
		{"services[a].pool", "", "games"},
		{"services[d]", "name d", ""},
		{"services[e]", "", "name e"},
		{"services", "a, b, c", "c, a, b"},
	}
	if diff := cmp.Diff(want, Diff(old, new)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
