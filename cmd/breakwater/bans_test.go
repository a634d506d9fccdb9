package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
)

func TestBans(t *testing.T) {
	b := newBox(t)
	b.edge.Observe(status.Edge{}, status.Session{ID: 1, Client: netip.MustParseAddrPort("198.51.100.7:1000")}, status.Session{ID: 2, Client: netip.MustParseAddrPort("[2001:db8::7]:1000")})
	expect(t, 0, "Banned for 24h.", "", "ban", "198.51.100.7", "--for", "24h", "--reason", "che\x1bats")
	expect(t, 0, "Banned for 1h.", "", "ban", "2001:db8:1::/48")
	expect(t, 0, "Banned for ever.", "", "ban", "2001:db8:1::/48", "--for", "ever")
	out := expect(t, 0, "198.51.100.7", "", "bans")
	for _, want := range []string{"23h59m", "che ats", "2001:db8:1::/48", "for ever"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
	if left := b.edge.Sessions(); len(left) != 1 || left[0].ID != 2 {
		t.Errorf("the sessions %+v are left", left)
	}
	var list []control.Ban
	if err := json.Unmarshal([]byte(expect(t, 0, "", "", "bans", "--json")), &list); err != nil || len(list) != 2 || list[0].Reason != "che\x1bats" {
		t.Errorf("bans --json has %+v, %v", list, err)
	}
	expect(t, 0, "Let in again.", "", "unban", "2001:db8:1::/48")
	expect(t, 1, "", "", "unban", "2001:db8:1::/48")
	expect(t, 1, "", "", "ban", "0.0.0.0/0")
	for _, usage := range [][]string{{"ban"}, {"ban", "198.51.100.7", "--for", "soon"}, {"ban", "198.51.100.7", "--for", "-1h"}, {"unban"}} {
		if _, stderr, code := cli(t, "", usage...); code != 2 {
			t.Errorf("breakwater %v: exit %d, want 2: %s", usage, code, stderr)
		}
	}
}
