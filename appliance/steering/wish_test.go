package steering

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

func TestCompile(t *testing.T) {
	tests := []struct {
		name   string
		config plan.Steering
		own    []netip.Addr
	}{
		{name: "both-families", config: plan.Steering{
			Interfaces: []string{"wan0", "wan1"},
			Addresses:  prefixes("2001:db8::10/128", "203.0.113.10/32", "198.51.100.7/24", "203.0.113.10/32", "2001:db8:5::/64"),
		}, own: []netip.Addr{netip.MustParseAddr("192.0.2.5")}},
		{name: "transparent", config: plan.Steering{
			Interfaces: []string{"wan0"}, Addresses: prefixes("203.0.113.10/32", "2001:db8::10/128"), Transparent: true,
		}},
		{name: "own-address", config: plan.Steering{
			Interfaces: []string{"wan0"}, Addresses: prefixes("203.0.113.10/32", "203.0.113.11/32"),
		}, own: []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.1")}},
		{name: "mapped-address", config: plan.Steering{
			Interfaces: []string{"wan0"}, Addresses: prefixes("::ffff:203.0.113.10/128"),
		}},
		{name: "nothing", config: plan.Steering{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := compile(tt.config, tt.own).String()
			golden := filepath.Join("testdata", tt.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the wish differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// String writes the wish as the commands that would make it, for golden tests.
func (w wish) String() string {
	var b strings.Builder
	for f := range families {
		w.families[f].write(&b, f)
	}
	for _, p := range w.anyIP {
		fmt.Fprintf(&b, "ip route add local %s dev lo table local proto %d\n", p, Protocol)
	}
	for _, a := range w.hosts {
		fmt.Fprintf(&b, "ip address add %s dev %s proto %d\n", a, w.link, Protocol)
	}
	for _, name := range w.loose {
		fmt.Fprintf(&b, "sysctl net.ipv4.conf.%s.rp_filter: not 1\n", name)
	}
	return b.String()
}

func (w familyWish) write(b *strings.Builder, f family) {
	if !w.wanted {
		return
	}
	for _, s := range w.sets(f) {
		fmt.Fprintf(b, "ipset create %s hash:net\n", s.name)
		for _, p := range s.members {
			fmt.Fprintf(b, "ipset add %s %s\n", s.name, p)
		}
	}
	for _, c := range w.chains(f, w.edge) {
		for _, r := range c.rules {
			fmt.Fprintf(b, "%s -t mangle -A %s %s\n", f.command(), c.name, r)
		}
	}
	for _, h := range hooks {
		fmt.Fprintf(b, "%s -t mangle -I %s 1 %s\n", f.command(), h.name, h.rules[0])
	}
	fmt.Fprintf(b, "ip route add local %s dev lo table %d proto %d\n", f.everything(), Table, Protocol)
	fmt.Fprintf(b, "ip rule add family %s priority %d fwmark %#x/%#x lookup %d proto %d\n",
		f.set("inet"), RulePriority, Mark, Mask, Table, Protocol)
}
