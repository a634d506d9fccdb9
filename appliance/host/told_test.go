package host

import "testing"

func TestWhatAnInterfaceLacks(t *testing.T) {
	port, vlan, asks := Expected{Name: "lan0", Done: true}, Expected{Name: "v5", Made: true, Done: true}, Expected{Name: "v6", Made: true}
	for _, test := range []struct {
		name     string
		expected Expected
		state    linkState
		want     string
	}{
		{"ready", port, linkState{"configured", "carrier"}, ""},
		{"not yet", port, linkState{"configuring", "carrier"}, "configuring"},
		{"member of a bond", port, linkState{"configured", "enslaved"}, ""},
		{"no cable", port, linkState{"configuring", "no-carrier"}, ""},
		{"found a moment ago", port, linkState{"pending", "off"}, "pending"},
		{"failed", port, linkState{"failed", "carrier"}, "failed"},
		{"no such port", port, linkState{}, ""},
		{"VLAN", vlan, linkState{"configured", "carrier"}, ""},
		{"VLAN is not there", vlan, linkState{}, "not made"},
		{"waits for DHCP", asks, linkState{"configuring", "carrier"}, ""},
		{"is not there for DHCP", asks, linkState{}, "not made"},
	} {
		if got := test.state.lacks(test.expected); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
