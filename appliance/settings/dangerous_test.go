package settings

import "testing"

func TestDangerous(t *testing.T) {
	document := func(edge, rest string) Settings {
		t.Helper()
		s, err := Decode([]byte(`{ "schema": 1, "edge": ` + edge + `, "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" } ] } ]` + rest + ` }`))
		if len(err) > 0 {
			t.Fatal(err)
		}
		return s
	}
	const edge = `{ "interfaces": ["wan0"], "addresses": ["203.0.113.10"] }`
	const management = `, "management": { "networks": ["10.5.0.0/16"] }, "services": []`
	old := document(edge, management)
	for _, test := range []struct {
		name string
		new  Settings
		want bool
	}{
		{"the same", document(edge, management), false},
		{"another spelling", document(`{ "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] }`, management), false},
		{"a service more", document(edge, `, "management": { "networks": ["10.5.0.0/16"] }, "services": [ { "name": "web", "protocols": ["tcp"], "ports": ["80"], "pool": "games", "addresses": ["203.0.113.10"] } ]`), false},
		{"limits", document(edge, management+`, "limits": { "maxSessions": 5 }`), false},
		{"another interface", document(`{ "interfaces": ["wan1"], "addresses": ["203.0.113.10"] }`, management), true},
		{"an address more", document(`{ "interfaces": ["wan0"], "addresses": ["203.0.113.10", "203.0.113.11"] }`, management), true},
		{"an address less", document(`{ "interfaces": ["wan0"], "addresses": [] }`, management), true},
		{"another management network", document(edge, `, "management": { "networks": ["10.6.0.0/16"] }, "services": []`), true},
		{"no management network", document(edge, `, "services": []`), true},
		{"a management interface", document(edge, `, "management": { "networks": ["10.5.0.0/16"], "interfaces": ["lan0"] }, "services": []`), true},
		{"an address of the machine", document(edge, management+`, "host": { "interfaces": [ { "name": "lan0", "addresses": ["10.5.0.2/16"] } ] }`), true},
		{"the name of the machine", document(edge, management+`, "host": { "name": "box" }`), true},
		{"time servers", document(edge, management+`, "host": { "timeServers": ["192.0.2.123"] }`), false},
		{"where updates come from", document(edge, management+`, "updates": { "url": "https://updates.example.org/" }`), false},
		{"nothing at all", Settings{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Dangerous(old, test.new); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got := Dangerous(test.new, old); got != test.want {
				t.Errorf("backwards: got %v, want %v", got, test.want)
			}
		})
	}
}
