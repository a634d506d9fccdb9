//go:build e2e

package steering

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/plan"
)

func TestApplyTwiceThenClear(t *testing.T) {
	s := box(t)
	found := snapshot(t)
	if n := writes(s, func() { apply(t, s, full()) }); len(n) == 0 {
		t.Fatal("the first Apply wrote nothing")
	}
	applied := snapshot(t)
	if n := writes(s, func() { apply(t, s, full()) }); len(n) > 0 {
		t.Errorf("the second Apply wrote %q", n)
	}
	other, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if n := writes(other, func() { apply(t, other, full()) }); len(n) > 0 {
		t.Errorf("the Apply of another process wrote %q", n)
	}
	if diff := cmp.Diff(applied, snapshot(t)); diff != "" {
		t.Errorf("the second Apply changed (-first +second):\n%s", diff)
	}
	if err := Clear(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(found, snapshot(t)); diff != "" {
		t.Errorf("Clear left (-found +left):\n%s", diff)
	}
}

// The text we write is the text iptables prints. If this fails with a new iptables, everything still works, but
// Check asks iptables about each rule every time.
func TestRulesPrintAsWritten(t *testing.T) {
	s := box(t)
	apply(t, s, full())
	for f := range families {
		have, err := s.listChains(f)
		if err != nil {
			t.Fatal(err)
		}
		w := compile(full(), []netip.Addr{netip.MustParseAddr("198.18.1.1")}).families[f]
		for _, c := range append(w.chains(f, w.edge), hooks...) {
			if diff := cmp.Diff(c.rules, have[c.name]); diff != "" {
				t.Errorf("%s %s (-written +printed):\n%s", f.command(), c.name, diff)
			}
		}
	}
}

func TestChangesEndAsFreshApply(t *testing.T) {
	plans := []plan.Steering{
		full(),
		{Interfaces: []string{"wan1"}, Addresses: prefixes("198.18.1.10/32", "198.18.1.11/32", "2001:db8:1::10/128")},
		{Interfaces: []string{"wan1", "wan0"}, Addresses: prefixes("2001:db8:50::/64"), Transparent: true},
		{Interfaces: []string{"lan0"}, Addresses: prefixes("198.18.1.10/32")},
		{},
	}
	s := box(t)
	var fresh []string
	for _, p := range plans {
		apply(t, s, p)
		fresh = append(fresh, snapshot(t))
		if err := s.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range plans {
		for j := range plans {
			apply(t, s, plans[i])
			apply(t, s, plans[j])
			if diff := cmp.Diff(sorted(fresh[j]), sorted(snapshot(t))); diff != "" {
				t.Errorf("plan %d after plan %d (-fresh +changed):\n%s", j, i, diff)
			}
		}
	}
}

// At no moment does the box have an edge address that the rules take for none.
func TestRulesCoverEveryAddressMeanwhile(t *testing.T) {
	s := box(t)
	few := plan.Steering{Interfaces: []string{"wan0"}, Addresses: prefixes("198.18.1.10/32", "2001:db8:1::10/128")}
	seen := 0
	for _, p := range []plan.Steering{few, full(), few, {Interfaces: []string{"wan0"}, Addresses: prefixes("198.18.2.10/32", "2001:db8:2::10/128")}, {}} {
		s.write = func(st step) error {
			err := st.run()
			o, observed := s.observe()
			for f := range families {
				for _, within := range covers(t, o.families[f].chains[chainSteer]) {
					for _, a := range present(o, f) {
						seen++
						if !within.Overlaps(a) || within.Bits() > a.Bits() {
							t.Errorf("after %q the box has %s, which is not in %s", st.text, a, within)
						}
					}
				}
			}
			return errors.Join(err, observed)
		}
		apply(t, s, p)
	}
	s.write = func(st step) error { return st.run() }
	if seen == 0 {
		t.Error("no rule was compared with an address")
	}
}

func TestKilledBetweenTwoSteps(t *testing.T) {
	s := box(t)
	found := snapshot(t)
	steps := len(writes(s, func() { apply(t, s, full()) }))
	want := snapshot(t)
	killed := errors.New("killed")
	for n := 0; n < steps; n += 7 {
		if err := s.Clear(); err != nil {
			t.Fatal(err)
		}
		dying, err := New(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		left := n
		dying.write = func(st step) error { // also stops the way back, as a kill does
			if left--; left < 0 {
				return killed
			}
			return st.run()
		}
		if err := dying.Apply(full()); !errors.Is(err, killed) {
			t.Fatalf("after %d steps: got %v, want %v", n, err, killed)
		}
		if n%2 == 0 {
			if err := Clear(); err != nil {
				t.Fatalf("clear after %d steps: %v", n, err)
			}
			if diff := cmp.Diff(found, snapshot(t)); diff != "" {
				t.Fatalf("clear after %d steps left (-found +left):\n%s", n, diff)
			}
			continue
		}
		apply(t, s, full())
		if diff := cmp.Diff(sorted(want), sorted(snapshot(t))); diff != "" {
			t.Fatalf("apply after %d steps (-want +got):\n%s", n, diff)
		}
	}
}

func TestErrorHalfwayGoesBack(t *testing.T) {
	s := box(t)
	former := plan.Steering{Interfaces: []string{"wan0"}, Addresses: prefixes("198.18.1.10/32")}
	for _, first := range []plan.Steering{{}, former} {
		apply(t, s, first)
		before := snapshot(t)
		for _, n := range []int{1, 9, 30} {
			left := n
			broken := errors.New("broken")
			s.write = func(st step) error {
				if left--; left == 0 {
					return broken
				}
				return st.run()
			}
			if err := s.Apply(full()); !errors.Is(err, broken) {
				t.Errorf("step %d: got %v, want %v", n, err, broken)
			}
			if diff := cmp.Diff(sorted(before), sorted(snapshot(t))); diff != "" {
				t.Errorf("after an error at step %d (-before +after):\n%s", n, diff)
			}
		}
		s.write = func(st step) error { return st.run() }
	}
}

func TestCheckRepairsDrift(t *testing.T) {
	tests := []struct{ name, damage, repaired string }{
		{"nothing", "true", ""},
		{"hook", "iptables -t mangle -D PREROUTING -j BREAKWATER-STEER", "iptables chain PREROUTING"},
		{"hook twice", "iptables -t mangle -A PREROUTING -j BREAKWATER-STEER", "remove from the iptables chain PREROUTING"},
		{"hook v6", "ip6tables -t mangle -D PREROUTING -j BREAKWATER-STEER", "ip6tables chain PREROUTING"},
		{"all rules", "iptables -t mangle -F", "BREAKWATER-TPROXY"},
		{"chain empty", "ip6tables -t mangle -F BREAKWATER-ICMP", "BREAKWATER-ICMP"},
		{"one rule", "iptables -t mangle -D BREAKWATER-TPROXY -j DROP", "BREAKWATER-TPROXY: -j DROP"},
		{"rule added", "iptables -t mangle -I BREAKWATER-STEER 1 -j ACCEPT", "remove from the iptables chain BREAKWATER-STEER"},
		{"rule order", "iptables -t mangle -D BREAKWATER-TPROXY -j DROP; iptables -t mangle -I BREAKWATER-TPROXY 1 -j DROP", "BREAKWATER-TPROXY: -j DROP"},
		{"whole table", "iptables -t mangle -F; iptables -t mangle -X", "make the iptables chain BREAKWATER-STEER"},
		{"set member", "ipset del BREAKWATER-EDGE4 198.18.1.10", "198.18.1.10/32"},
		{"set surplus", "ipset add BREAKWATER-EDGE6 2001:db8:1::1", "remove 2001:db8:1::1/128"},
		{"rule v4", "ip rule del priority 183", "IPv4 rule"},
		{"rule v6", "ip -6 rule del priority 183", "IPv6 rule"},
		{"table v4", "ip route flush table 183", "IPv4 local"},
		{"table v6", "ip -6 route flush table 183", "IPv6 local"},
		{"address v4", "ip addr del 198.18.1.10/32 dev wan0", "address 198.18.1.10"},
		{"address v6", "ip addr del 2001:db8:1::10/128 dev wan0", "address 2001:db8:1::10"},
		{"anyip v4", "ip route del local 198.18.50.0/24 dev lo table local", "198.18.50.0/24"},
		{"anyip v6", "ip route del local 2001:db8:50::/64 dev lo table local", "2001:db8:50::/64"},
		{"link down", "ip link set wan0 down; ip link set wan0 up; ip route add default via 198.18.1.254; ip addr replace 2001:db8:1::1/64 dev wan0 nodad; ip route replace default via 2001:db8:1::fe", "address 2001:db8:1::10"},
		{"rp_filter", "echo 1 > /proc/sys/net/ipv4/conf/wan0/rp_filter", "rp_filter of wan0"},
	}
	s := box(t)
	apply(t, s, full())
	want := snapshot(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sh(t, tt.damage)
			repaired, err := s.Check()
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(repaired, "\n")
			if !strings.Contains(text, tt.repaired) || (tt.repaired == "") != (text == "") {
				t.Errorf("got %q, want something about %q", text, tt.repaired)
			}
			if diff := cmp.Diff(sorted(want), sorted(snapshot(t))); diff != "" {
				t.Errorf("after the repair (-want +got):\n%s", diff)
			}
			if again, err := s.Check(); err != nil || len(again) > 0 {
				t.Errorf("the next Check: got %q and %v, want nothing", again, err)
			}
		})
	}
}

// An interface that goes away is reported, and keeps nothing else from being repaired.
func TestCheckWithoutAnInterface(t *testing.T) {
	s := box(t)
	sh(t, "ip link add wan9 type veth peer name far-wan9; ip link set wan9 up")
	apply(t, s, plan.Steering{Interfaces: []string{"wan9", "wan0"}, Addresses: prefixes("198.18.1.10/32")})
	sh(t, "ip link del wan9; iptables -t mangle -D PREROUTING -j BREAKWATER-STEER")
	repaired, err := s.Check()
	if err == nil || !strings.Contains(err.Error(), `"wan9" does not exist`) {
		t.Errorf("got error %v, want one about wan9", err)
	}
	if len(repaired) != 1 || !strings.Contains(repaired[0], "PREROUTING") {
		t.Errorf("got %q, want the hook in PREROUTING repaired", repaired)
	}
	sh(t, "ip link add wan9 type veth peer name far-wan9; ip link set wan9 up")
	defer sh(t, "ip link del wan9")
	if repaired, err := s.Check(); err != nil || len(repaired) != 1 {
		t.Errorf("wan9 is back: got %q and %v, want its address repaired", repaired, err)
	}
}

func TestApplyRefusesBeforeItChanges(t *testing.T) {
	s := box(t)
	before := snapshot(t)
	tests := []struct {
		name, setup, undo string
		config            plan.Steering
		want              string
	}{
		{name: "no such interface", config: plan.Steering{Interfaces: []string{"wan9"}, Addresses: prefixes("198.18.1.10/32")},
			want: `the edge interface "wan9" does not exist`},
		{name: "no interface", config: plan.Steering{Addresses: prefixes("198.18.1.10/32")}, want: "no edge interface"},
		{name: "gateway", config: plan.Steering{Interfaces: []string{"wan0"}, Addresses: prefixes("198.18.1.128/25")},
			want: "198.18.1.254, a gateway of this box"},
		{name: "everything", config: plan.Steering{Interfaces: []string{"wan0"}, Addresses: prefixes("0.0.0.0/0")}, want: "every address"},
		{name: "source check", config: full(), want: "src_valid_mark",
			setup: "echo 1 >/proc/sys/net/ipv4/conf/all/src_valid_mark", undo: "echo 0 >/proc/sys/net/ipv4/conf/all/src_valid_mark"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sh(t, tt.setup)
			defer sh(t, tt.undo)
			if err := s.Apply(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
			if diff := cmp.Diff(before, snapshot(t)); diff != "" {
				t.Errorf("the refused Apply changed (-before +after):\n%s", diff)
			}
		})
	}
}

// An edge address must never be the source of the box's own connections.
func TestEdgeAddressIsNoSource(t *testing.T) {
	s := box(t)
	apply(t, s, plan.Steering{Interfaces: []string{"lan0"}, Addresses: prefixes("198.18.2.10/32", "2001:db8:2::10/128")})
	sh(t, "ip route add 198.18.99.0/24 dev lan0; ip -6 route add 2001:db8:99::/64 dev lan0")
	for destination, edge := range map[string]string{"198.18.99.1": "198.18.2.10", "2001:db8:99::1": "2001:db8:2::10"} {
		if out := sh(t, "ip route get "+destination); strings.Contains(out, "src "+edge+" ") {
			t.Errorf("the box would use the edge address as source: %s", out)
		}
	}
}

func TestManyAddresses(t *testing.T) {
	s := box(t)
	c := plan.Steering{Interfaces: []string{"wan0"}}
	a := netip.MustParseAddr("198.18.64.0")
	for range 1000 {
		a = a.Next()
		c.Addresses = append(c.Addresses, netip.PrefixFrom(a, 32))
	}
	begin := time.Now()
	apply(t, s, c)
	took := time.Since(begin)
	t.Logf("1,000 addresses: applied in %v", took)
	begin = time.Now()
	if again, err := s.Check(); err != nil || len(again) > 0 {
		t.Errorf("Check: got %d steps and %v, want none", len(again), err)
	}
	t.Logf("1,000 addresses: checked in %v", time.Since(begin))
	if took > 10*time.Second {
		t.Errorf("applied in %v, want less than 10 s", took)
	}
}
