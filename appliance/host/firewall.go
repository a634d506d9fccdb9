package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"breakwater/appliance/settings"
)

// Firewall is what settings say of the table inet breakwater-host (image/extra/usr/share/breakwater/firewall.nft), as
// input for nft(8): the chains "inside", which leads on what arrives where the box itself answers, and "page", who may
// come to the page. It is one transaction, so there is no moment without.
func Firewall(s settings.Settings, ports []Port) string {
	s = s.WithDefaults()
	var b strings.Builder
	b.WriteString("flush chain inet breakwater-host inside\nflush chain inet breakwater-host page\n")
	fmt.Fprintf(&b, "add rule inet breakwater-host inside %sgoto box\n", inside(s, ports))
	if s.Management.ACME != (settings.ACME{}) || len(s.Management.Networks) == 0 {
		// A certificate authority comes from anywhere, at times that control knows. It turns others away by itself.
		b.WriteString("add rule inet breakwater-host page tcp dport 443 accept\n")
		return b.String()
	}
	for _, family := range []struct {
		word string
		is4  bool
	}{{"ip", true}, {"ip6", false}} {
		if list := networks(s.Management.Networks, family.is4); len(list) > 0 {
			fmt.Fprintf(&b, "add rule inet breakwater-host page %s saddr { %s } tcp dport 443 accept\n", family.word, strings.Join(list, ", "))
		}
	}
	return b.String()
}

// inside is the match for interfaces on which the box itself answers.
func inside(s settings.Settings, ports []Port) string {
	list, not := answering(s, ports)
	if len(list) == 0 {
		return ""
	}
	for i, name := range list {
		list[i] = fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("iifname %s{ %s } ", map[bool]string{true: "!= "}[not], strings.Join(list, ", "))
}

// answering are the interfaces on which the box itself answers: those named, or all but the edge's where there are
// others, or all. With not the list is of the others.
func answering(s settings.Settings, ports []Port) (list []string, not bool) {
	switch {
	case len(s.Management.Interfaces) > 0:
		list = s.Management.Interfaces
	case len(s.Edge.Interfaces) > 0 && hasOthers(s, ports):
		list, not = s.Edge.Interfaces, true
	}
	names := make([]string, len(list))
	for i, name := range list {
		names[i] = portName(s, ports, name)
	}
	slices.Sort(names)
	return slices.Compact(names), not
}

// Answering are those of the ports on which the box itself answers.
func Answering(s settings.Settings, ports []Port) []Port {
	list, not := answering(s, ports)
	if len(list) == 0 {
		return ports
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p Port) bool { return slices.Contains(list, p.Name) == not })
}

// hasOthers tells whether there is an interface besides those of the edge and what they are made of.
func hasOthers(s settings.Settings, ports []Port) bool {
	used := map[string]bool{}
	for _, name := range s.Edge.Interfaces {
		used[portName(s, ports, name)] = true
	}
	for _, i := range s.Host.Interfaces {
		for _, m := range i.Members {
			used[portName(s, ports, m)] = true
		}
	}
	for _, i := range interfaces(s) {
		if i.virtual() && !used[i.Name] {
			return true
		}
	}
	return slices.ContainsFunc(ports, func(p Port) bool { return !used[p.Name] })
}

// networks are those of one family without those inside another: nft refuses elements that overlap.
func networks(list []settings.Prefix, is4 bool) []string {
	var all []string
	for i, p := range list {
		covered := slices.ContainsFunc(list, func(o settings.Prefix) bool { return o.Bits() < p.Bits() && o.Contains(p.Addr()) })
		first := slices.IndexFunc(list, func(o settings.Prefix) bool { return o == p })
		if p.Addr().Is4() == is4 && !covered && first == i {
			all = append(all, nftPrefix(p.Prefix))
		}
	}
	return all
}

// nftPrefix writes a prefix of everything as nft takes it in a set.
func nftPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
