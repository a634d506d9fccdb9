package plan

import (
	"net/netip"
	"strings"
	"testing"
)

// TestCheckSources: a plan whose sources no engine could use is refused.
func TestCheckSources(t *testing.T) {
	many := func(first string, n int) (list []netip.Addr) {
		for a := netip.MustParseAddr(first); len(list) < n; a = a.Next() {
			list = append(list, a)
		}
		return list
	}
	for _, v := range []struct {
		name    string
		sources []netip.Addr
		want    string // empty: it is fine
	}{
		{"none", nil, ""},
		{"as many as there may be", append(many("10.0.0.1", MaxSourceAddresses), many("2001:db8::1", MaxSourceAddresses)...), ""},
		{"one more of IPv4", many("10.0.0.1", MaxSourceAddresses+1), "pool 0 (games) has 9 source addresses of IPv4 and 0 of IPv6, at most 8 of each are possible"},
		{"one more of IPv6", many("2001:db8::1", MaxSourceAddresses+1), "0 source addresses of IPv4 and 9 of IPv6"},
		{"one twice", []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.1")}, "has the source 10.0.0.1 twice"},
		{"no address", []netip.Addr{{}}, "is not the address of one machine"},
		{"mapped", many("::ffff:10.0.0.1", 1), "is not the address of one machine"},
		{"unspecified", many("0.0.0.0", 1), "is not the address of one machine"},
		{"multicast", many("ff02::1", 1), "is not the address of one machine"},
	} {
		t.Run(v.name, func(t *testing.T) {
			err := (&Plan{Pools: []Pool{{Name: "games", SourceAddresses: v.sources}}}).Check()
			switch {
			case v.want == "" && err != nil:
				t.Error(err)
			case v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want)):
				t.Errorf("got %v, want %q", err, v.want)
			}
		})
	}
}
