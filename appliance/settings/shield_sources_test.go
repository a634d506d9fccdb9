package settings

import (
	"fmt"
	"strings"
	"testing"
)

// TestSourceRules: what would turn away everybody, the operator or the origins is a problem that says so.
func TestSourceRules(t *testing.T) {
	const document = `{ "schema": 1,
  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10"] }, "management": { "networks": ["10.5.0.0/16", "2001:db8:5::/48"] },
  "dns": { "servers": ["192.0.2.53"] }, "host": { "interfaces": [ { "name": "wan0", "addresses": ["198.51.100.2/24"], "gateways": ["198.51.100.1"] } ] },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" } ] } ], "services": [
    { "name": "web", "protocols": ["tcp"], "ports": ["80"], "pool": "games", "upstreams": ["198.18.3.0/24"] } ], "shield": %s }`
	for _, test := range []struct{ name, shield, field, text string }{
		{"everything", `{ "deny": [ { "prefix": "203.0.114.0/24" }, { "prefix": "2001:db8:6::1" } ], "allow": [ { "prefix": "10.0.0.0/8" } ],
			"lists": [ { "name": "drop", "url": "http://lists.example.org/drop.txt" }, { "name": "mine" } ],
			"countries": { "allow": ["DE", "XK"] }, "networks": { "deny": [64496, 4294967294], "allow": [1] } }`, "", ""},
		{"everybody", `{ "deny": [ { "prefix": "0.0.0.0/0" } ] }`, "shield.deny[0].prefix", "too wide"},
		{"everybody in IPv6", `{ "deny": [ { "prefix": "2000::/3" } ] }`, "shield.deny[0].prefix", "too wide"},
		{"everybody is let in", `{ "allow": [ { "prefix": "0.0.0.0/0" } ] }`, "shield.allow[0].prefix", "too wide"},
		{"the management", `{ "deny": [ { "prefix": "10.5.7.0/24" } ] }`, "shield.deny[0].prefix", "a management network"},
		{"the management in IPv6", `{ "deny": [ { "prefix": "2001:db8::/32" } ] }`, "shield.deny[0].prefix", "a management network"},
		{"an origin", `{ "deny": [ { "prefix": "10.0.0.20" } ] }`, "shield.deny[0].prefix", "origin games-1"},
		{"an edge address", `{ "deny": [ { "prefix": "203.0.113.0/24" } ] }`, "shield.deny[0].prefix", "an edge address"},
		{"a resolver", `{ "deny": [ { "prefix": "192.0.2.53" } ] }`, "shield.deny[0].prefix", "a DNS server"},
		{"a gateway", `{ "deny": [ { "prefix": "198.51.100.0/30" } ] }`, "shield.deny[0].prefix", "a gateway"},
		{"a load balancer", `{ "deny": [ { "prefix": "198.18.3.9" } ] }`, "shield.deny[0].prefix", "a load balancer"},
		{"twice", `{ "deny": [ { "prefix": "192.0.2.1" }, { "prefix": "192.0.2.1" } ] }`, "shield.deny[1].prefix", "twice"},
		{"a long note", `{ "deny": [ { "prefix": "192.0.2.1", "note": "` + strings.Repeat("x", 201) + `" } ] }`, "shield.deny[0].note", "201 bytes"},
		{"a host within", `{ "deny": [ { "prefix": "192.0.2.1/24" } ] }`, "shield.deny[0].prefix", "inside a network"},
		{"an unknown country", `{ "countries": { "deny": ["ZZ"] } }`, "shield.countries.deny[0]", "ISO 3166"},
		{"a country in small letters", `{ "countries": { "allow": ["de"] } }`, "shield.countries.allow[0]", "ISO 3166"},
		{"a code across two", `{ "countries": { "allow": ["D "] } }`, "shield.countries.allow[0]", "ISO 3166"},
		{"a country in both", `{ "countries": { "allow": ["DE"], "deny": ["DE"] } }`, "shield.countries.deny[0]", "allow as well"},
		{"no AS number", `{ "networks": { "deny": [0] } }`, "shield.networks.deny[0]", "out of bounds"},
		{"the last AS number", `{ "networks": { "deny": [4294967295] } }`, "shield.networks.deny[0]", "out of bounds"},
		{"an AS in both", `{ "networks": { "deny": [5], "allow": [5] } }`, "shield.networks.deny[0]", "allow as well"},
		{"a list without a name", `{ "lists": [ { "url": "https://lists.example.org/" } ] }`, "shield.lists[0].name", "missing"},
		{"two lists of one name", `{ "lists": [ { "name": "a" }, { "name": "a" } ] }`, "shield.lists[1].name", "the name of"},
		{"another scheme", `{ "lists": [ { "name": "a", "url": "ftp://lists.example.org/" } ] }`, "shield.lists[0].url", "https://"},
		{"a password", `{ "lists": [ { "name": "a", "url": "https://u:p@lists.example.org/" } ] }`, "shield.lists[0].url", "password"},
		{"an unknown action", `{ "lists": [ { "name": "a", "action": "block" } ] }`, "shield.lists[0].action", "deny, allow"},
		{"too often", `{ "lists": [ { "name": "a", "url": "https://lists.example.org/", "refresh": "1s" } ] }`, "shield.lists[0].refresh", "out of bounds"},
		{"over before it is fetched", `{ "lists": [ { "name": "a", "url": "https://lists.example.org/", "refresh": "48h", "expiry": "24h" } ] }`, "shield.lists[0].expiry", "not longer"},
		{"a refresh of an upload", `{ "lists": [ { "name": "a", "refresh": "48h" } ] }`, "shield.lists[0].url", "left out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems := Read(fmt.Appendf(nil, document, test.shield))
			switch {
			case test.field == "" && len(problems) > 0:
				t.Errorf("got %v", problems)
			case test.field == "":
			case len(problems) != 1 || problems[0].Field != test.field || !strings.Contains(problems[0].Text, test.text):
				t.Errorf("got %v, want one at %s with %q", problems, test.field, test.text)
			}
		})
	}
}

// TestDangerousSources: without management networks nobody knows whether the operator is among those who are turned away.
func TestDangerousSources(t *testing.T) {
	with := func(management string, shield string) Settings {
		s, problems := Read(fmt.Appendf(nil, `{ "schema": 1, "edge": { "interfaces": [], "addresses": [] }, "management": %s, "pools": [], "services": [], "shield": %s }`, management, shield))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return s
	}
	const known = `{ "networks": ["10.5.0.0/16"] }`
	for _, test := range []struct {
		shield             string
		withKnown, without bool
	}{
		{`{}`, false, false},
		{`{ "deny": [ { "prefix": "192.0.2.1" } ] }`, false, true},
		{`{ "lists": [ { "name": "a" } ] }`, false, true},
		{`{ "countries": { "allow": ["AQ"] } }`, false, true},
		{`{ "networks": { "deny": [64496] } }`, false, true},
		{`{ "allow": [ { "prefix": "192.0.2.1" } ] }`, false, false},
	} {
		if got := Dangerous(with(known, `{}`), with(known, test.shield)); got != test.withKnown {
			t.Errorf("%s: with management networks %v", test.shield, got)
		}
		if got := Dangerous(with(`{}`, `{}`), with(`{}`, test.shield)); got != test.without {
			t.Errorf("%s: without management networks %v", test.shield, got)
		}
	}
}
