package plan_test

import (
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
)

func TestCover(t *testing.T) {
	prefixes := func(list ...string) (all []netip.Prefix) {
		for _, text := range list {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	tests := []struct {
		name string
		list []netip.Prefix
		want string
	}{
		{"one", prefixes("203.0.113.10/32"), "203.0.113.10/32"},
		{"neighbours", prefixes("203.0.113.10/32", "203.0.113.11/32"), "203.0.113.10/31"},
		{"one in the other", prefixes("203.0.113.10/32", "203.0.112.0/23"), "203.0.112.0/23"},
		{"the larger first", prefixes("203.0.112.0/23", "203.0.113.10/32"), "203.0.112.0/23"},
		{"nothing in common", prefixes("203.0.113.10/32", "10.0.0.1/32"), "0.0.0.0/0"},
		{"IPv6", prefixes("2001:db8::10/128", "2001:db8:5::/64"), "2001:db8::/45"},
		{"IPv6 with nothing in common", prefixes("2001:db8::10/128", "fd00::1/128"), "::/0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := plan.Cover(tt.list); got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
