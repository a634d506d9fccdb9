package control_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
)

func (b *box) ban(prefix string, duration time.Duration, protect ...netip.Addr) error {
	b.t.Helper()
	var until time.Time
	if duration != 0 {
		until = b.now.Add(duration)
	}
	return b.Ban(b.t.Context(), netip.MustParsePrefix(prefix), until, "cheats", "anna", protect...)
}

func (b *box) mustBan(prefix string, duration time.Duration) {
	b.t.Helper()
	if err := b.ban(prefix, duration); err != nil {
		b.t.Fatalf("ban %s: %v", prefix, err)
	}
}

// wantBans compares what control lists and what edge has.
func (b *box) wantBans(prefixes ...string) {
	b.t.Helper()
	list, err := b.Bans()
	if err != nil {
		b.t.Fatal(err)
	}
	var got, edge []string
	for _, ban := range list {
		got = append(got, ban.Prefix.String())
	}
	for _, ban := range b.edge.Bans() {
		edge = append(edge, ban.Prefix.String())
	}
	if !slices.Equal(got, prefixes) || !slices.Equal(edge, prefixes) {
		b.t.Errorf("control has the bans %v, edge %v, want %v", got, edge, prefixes)
	}
}

func TestBanAndUnban(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	session := func(id status.ID, client string) status.Session {
		return status.Session{ID: id, Client: netip.MustParseAddrPort(client)}
	}
	b.edge.Observe(status.Edge{}, session(1, "198.51.100.7:1000"), session(2, "198.51.100.8:1000"))
	b.mustBan("198.51.100.7/32", time.Hour)
	b.mustBan("::ffff:192.0.2.9/120", 0)
	b.wantBans("192.0.2.0/24", "198.51.100.7/32")
	if left := b.edge.Sessions(); len(left) != 1 || left[0].ID != 2 {
		t.Errorf("the sessions %+v are left", left)
	}
	list, _ := b.Bans()
	if got := list[1]; got.Reason != "cheats" || got.Author != "anna" || !got.Since.Equal(b.now) || !got.Until.Equal(b.now.Add(time.Hour)) || !list[0].Until.IsZero() {
		t.Errorf("got %+v", list)
	}
	b.mustBan("198.51.100.7/32", 24*time.Hour)
	b.wantBans("192.0.2.0/24", "198.51.100.7/32")
	if err := b.Unban(t.Context(), netip.MustParsePrefix("192.0.2.0/25")); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("a prefix that is not banned: got %v, want ErrNotFound", err)
	}
	if err := b.Unban(t.Context(), netip.MustParsePrefix("192.0.2.77/24")); err != nil {
		t.Error(err)
	}
	b.wantBans("198.51.100.7/32")
}

func TestBansOutliveBothProcesses(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustBan("198.51.100.0/24", 0)
	b.crash()
	b.edge.Stop()
	b.edge.Restart()
	b.runUntil(func() bool { return len(b.edge.Bans()) == 1 })
	b.wantBans("198.51.100.0/24")
	if got := b.codes(); len(got) > 0 {
		t.Errorf("conditions %v", got)
	}
}

func TestABanWithoutEdgeIsInForceLater(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.edge.Stop()
	b.mustBan("198.51.100.0/24", 0)
	b.edge.Restart()
	b.runUntil(func() bool { return len(b.edge.Bans()) == 1 })
}

func TestABanIsOver(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	b.mustBan("198.51.100.0/24", time.Hour)
	b.mustBan("192.0.2.0/24", 0)
	b.now = b.now.Add(time.Hour)
	if list, _ := b.Bans(); len(list) != 1 {
		t.Errorf("%+v are listed, want the one that is not over", list)
	}
	b.runUntil(func() bool { return len(b.edge.Bans()) == 1 })
	b.crash()
	b.wantBans("192.0.2.0/24")
	if left, _ := b.store.Bans(); len(left) != 1 {
		t.Errorf("the store has %+v", left)
	}
}

func TestBansThatHurtAreRefused(t *testing.T) {
	b := newBox(t)
	_, err := b.Propose(t.Context(), []byte(`{ "schema": 1,
	  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10", "2001:db8:1::/64"] },
	  "management": { "networks": ["10.5.0.0/16"] }, "dns": { "servers": ["9.9.9.9"] },
	  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" }, { "address": "games.test" } ] } ],
	  "services": [ { "name": "web", "protocols": ["tcp"], "ports": ["443"], "pool": "games", "upstreams": ["192.0.2.0/24"] } ] }`), control.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	b.edge.Observe(status.Edge{
		Pools: []status.Pool{{Name: "games", Origins: []status.Origin{
			{Name: "games-1", Address: "10.0.0.20"}, {Name: "games-2", Address: "10.0.1.21:25565"}, {Name: "games-2"}, {Name: "games-2", Address: "2001:db8:2::21"}}}},
		Interfaces: []status.Interface{{Name: "wan0", Addresses: []netip.Prefix{netip.MustParsePrefix("172.16.3.4/16"), netip.MustParsePrefix("fe80::1/64")}}},
		Gateways:   []netip.Addr{netip.MustParseAddr("172.16.0.1")},
	})
	operator := netip.MustParseAddr("::ffff:100.64.1.2")
	for _, test := range []struct {
		prefix   string
		duration time.Duration
		want     string // part of why; empty: taken
	}{
		{"10.0.0.20/32", 0, "origin games-1"},
		{"10.0.1.0/24", 0, "10.0.1.21, origin games-2"},
		{"2001:db8:2::/48", 0, "origin games-2"},
		{"10.5.7.0/24", 0, "10.5.0.0/16, a management network"},
		{"10.0.0.0/8", 0, "10.0.0.0/8 holds"},
		{"9.9.9.9/32", 0, "a DNS server"},
		{"203.0.113.0/24", 0, "an edge address"},
		{"2001:db8:1:0:1::/80", 0, "an edge address"},
		{"192.0.2.200/32", 0, "a load balancer in front of service web"},
		{"172.16.3.0/24", 0, "an address of this box"},
		{"172.16.0.0/24", 0, "a gateway"},
		{"fe80::/64", 0, "an address of this box"},
		{"100.64.0.0/16", 0, "100.64.1.2, the address that you come from"},
		{"::ffff:100.64.1.2/128", 0, "the address that you come from"},
		{"64.0.0.0/7", 0, "too wide"},
		{"0.0.0.0/0", 0, "too wide"},
		{"::/0", 0, "too wide"},
		{"2a00::/15", 0, "too wide"},
		{"198.51.100.0/24", -time.Second, "over already"},
		{"198.51.100.0/24", time.Hour, ""},
		{"172.16.9.0/24", 0, ""},
		{"20.0.0.0/8", 0, ""},
		{"2a00::/16", 0, ""},
	} {
		err := b.ban(test.prefix, test.duration, operator)
		refused, ok := errors.AsType[*control.BanRefused](err)
		if test.want == "" && err != nil || test.want != "" && (!ok || !strings.Contains(refused.Why, test.want)) {
			t.Errorf("%s: got %v, want %q", test.prefix, err, test.want)
		}
	}
	if err := b.Ban(t.Context(), netip.Prefix{}, time.Time{}, "", ""); err == nil {
		t.Error("no prefix was banned")
	}
	b.wantBans("20.0.0.0/8", "172.16.9.0/24", "198.51.100.0/24", "2a00::/16")
}

func TestBanIsNotStoredTwice(t *testing.T) {
	b := newBox(t)
	for i := range 3 {
		b.mustBan("198.51.100.7/32", time.Duration(i+1)*time.Hour)
	}
	b.crash()
	if list, _ := b.Bans(); len(list) != 1 || !list[0].Until.Equal(b.now.Add(3*time.Hour)) {
		t.Errorf("got %+v", list)
	}
}
