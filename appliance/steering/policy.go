package steering

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"breakwater/appliance/plan"
)

// policySteps returns what opens and what closes of one family: the table in which everything is local, and the
// rule that sends marked packets there. The table first: a rule to an empty table does nothing.
func policySteps(f family, o observed, wanted bool) (add, remove []step) {
	kept := false
	for _, r := range o.ours {
		if r.Table != Table || routeFamily(r) != f {
			continue
		}
		if wanted && destination(r, f) == f.everything() && r.LinkIndex == o.links["lo"] {
			kept = true
			continue
		}
		remove = append(remove, step{fmt.Sprintf("remove the route to %s from table %d", destination(r, f), Table),
			func() error { return netlink.RouteDel(&r) }})
	}
	if wanted && !kept {
		route := localRoute(f.everything(), o.links["lo"], Table)
		add = append(add, step{fmt.Sprintf("make everything of %s local in table %d", f.set("IPv"), Table),
			func() error { return netlink.RouteAdd(route) }})
	}
	addRule, removeRule := lookupSteps(f, o.families[f].rules, wanted)
	return append(add, addRule...), append(removeRule, remove...)
}

func lookupSteps(f family, have []netlink.Rule, wanted bool) (add, remove []step) {
	kept := false
	for _, r := range have {
		if wanted && !kept && isOurRule(r) {
			kept = true
			continue
		}
		remove = append(remove, step{fmt.Sprintf("remove the %s rule %d", f.set("IPv"), r.Priority),
			func() error { return netlink.RuleDel(&r) }})
	}
	if wanted && !kept {
		add = append(add, step{fmt.Sprintf("add the %s rule %d: mark %#x to table %d", f.set("IPv"), RulePriority, Mark, Table),
			func() error { return netlink.RuleAdd(rule(f)) }})
	}
	return add, remove
}

// rule is `ip rule add priority RulePriority fwmark Mark/Mask lookup Table proto Protocol`.
func rule(f family) *netlink.Rule {
	mask := Mask
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Protocol = f.number(), RulePriority, Table, Protocol
	r.Mark, r.Mask = Mark, &mask
	return r
}

func isOurRule(r netlink.Rule) bool {
	return r.Priority == RulePriority && r.Table == Table && r.Mark == Mark && r.Mask != nil && *r.Mask == Mask &&
		!r.Invert && r.Src == nil && r.Dst == nil && r.IifName == "" && r.OifName == ""
}

// looseSteps turns strict source checks into loose ones. See the package comment.
func looseSteps(interfaces []string) []step {
	var steps []step
	for _, name := range interfaces {
		if max(sysctl("all", "rp_filter"), sysctl(name, "rp_filter")) == "1" {
			steps = append(steps, step{"make rp_filter of " + name + " loose",
				func() error { return os.WriteFile(sysctlPath(name, "rp_filter"), []byte("2"), 0o644) }})
		}
	}
	return steps
}

// acceptSourceCheck refuses a box on which every steered IPv4 packet would be taken for a forged one.
func acceptSourceCheck(c plan.Steering) error {
	if !slices.ContainsFunc(c.Addresses, func(p netip.Prefix) bool { return p.Addr().Unmap().Is4() }) {
		return nil
	}
	for _, name := range append([]string{"all"}, c.Interfaces...) {
		if sysctl(name, "src_valid_mark") == "1" {
			return fmt.Errorf("net.ipv4.conf.%s.src_valid_mark is 1 (WireGuard's wg-quick does that), with which Linux "+
				"drops every steered packet: set it to 0", name)
		}
	}
	return nil
}

func sysctlPath(link, name string) string {
	return filepath.Join("/proc/sys/net/ipv4/conf", link, name)
}

// sysctl is one digit. What cannot be read is off: an interface that went away, or a kernel without the setting.
func sysctl(link, name string) string {
	b, err := os.ReadFile(sysctlPath(link, name))
	if err != nil {
		return "0"
	}
	return strings.TrimSpace(string(b))
}
