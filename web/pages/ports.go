package pages

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// portRow is a network port of the machine, or an interface made of others: as it is seen, beside what is set.
type portRow struct {
	Name    string
	Set     bool   // it is in the settings
	Kind    string // port, vlan or bond
	Seen    status.Interface
	Missing bool   // it is not seen
	Member  bool   // of a bond, which has the addresses
	Here    bool   // the browser came in by it
	Wanted  string // what is set, in words
}

// kindOf is what an interface of the settings is: port, vlan or bond.
func kindOf(i settings.Interface) string {
	switch {
	case i.Bond != "" || len(i.Members) > 0:
		return "bond"
	case i.VLAN != 0 || i.Parent != "":
		return "vlan"
	}
	return "port"
}

// portRows are all that is seen, each with its settings, and behind it what is set and not seen. here is the address of
// the box that the browser reached.
func (p *Pages) portRows(set []settings.Interface, edge *status.Edge, here netip.Addr) []portRow {
	left := slices.Clone(set)
	var rows []portRow
	for _, seen := range ports(edge) {
		bond := bondOf(set, seen.Name)
		row := portRow{Name: seen.Name, Kind: "port", Seen: seen, Member: bond != "", Wanted: p.text.say("ports.unset"),
			Here: slices.ContainsFunc(seen.Addresses, func(a netip.Prefix) bool { return a.Addr() == here })}
		if at := settingsFor(left, seen, row.Member); at >= 0 {
			row.Set, row.Name, row.Kind, row.Wanted = true, left[at].Name, kindOf(left[at]), p.wantedText(left[at])
			left = slices.Delete(left, at, at+1)
		}
		if row.Member {
			row.Wanted = p.text.say("ports.member", bond)
		}
		rows = append(rows, row)
	}
	for _, i := range left {
		seen := status.Interface{Name: i.Name, MAC: macText(i.MAC)}
		rows = append(rows, portRow{Name: i.Name, Set: true, Kind: kindOf(i), Seen: seen, Missing: true, Wanted: p.wantedText(i)})
	}
	return rows
}

// ports are the interfaces that are seen, but for the loopback; none while the data plane does not answer.
func ports(edge *status.Edge) []status.Interface {
	if edge == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(edge.Interfaces), func(i status.Interface) bool { return i.Name == "lo" })
}

// settingsFor is the place of the settings for an interface that is seen, or -1. Several bear the address of one port: the
// VLANs on it, and the members of a bond, so that these go by their names.
func settingsFor(set []settings.Interface, seen status.Interface, member bool) int {
	at := slices.IndexFunc(set, func(i settings.Interface) bool {
		return i.Name == seen.Name && (member || i.MAC == settings.MAC{} || macText(i.MAC) == seen.MAC)
	})
	if at >= 0 || member {
		return at
	}
	return slices.IndexFunc(set, func(i settings.Interface) bool { return i.MAC != settings.MAC{} && macText(i.MAC) == seen.MAC })
}

// bondOf is the bond that a port is a member of; empty: none.
func bondOf(set []settings.Interface, name string) string {
	for _, i := range set {
		if slices.Contains(i.Members, name) {
			return i.Name
		}
	}
	return ""
}

func macText(m settings.MAC) string {
	text, _ := m.MarshalText() // it returns no error
	return string(text)
}

// wantedText is what the settings say of an interface, in words.
func (p *Pages) wantedText(i settings.Interface) string {
	say := p.text.say
	var parts []string
	switch kindOf(i) {
	case "vlan":
		parts = append(parts, say("ports.vlan", i.VLAN, i.Parent))
	case "bond":
		parts = append(parts, say("ports.bond", i.Bond, strings.Join(i.Members, ", ")))
	}
	if dhcp := dhcpOf(i); dhcp != "none" {
		parts = append(parts, say("ports.dhcp."+dhcp))
	}
	if len(i.Addresses) > 0 {
		parts = append(parts, joined(i.Addresses))
	}
	if len(i.Gateways) > 0 {
		parts = append(parts, say("ports.gateways", joined(i.Gateways)))
	}
	if len(i.Routes) > 0 {
		parts = append(parts, p.text.count("ports.routes", len(i.Routes)))
	}
	if i.MTU != 0 {
		parts = append(parts, say("ports.mtu", i.MTU))
	}
	if len(parts) == 0 {
		return say("ports.noaddress")
	}
	return strings.Join(parts, " · ")
}

// dhcpOf is the DHCP of an interface with its default: both without addresses, none with.
func dhcpOf(i settings.Interface) string {
	if len(i.Addresses) > 0 {
		return cmp.Or(i.DHCP, "none")
	}
	return cmp.Or(i.DHCP, "both")
}

// localAddr is the address of the box that the browser reached; the zero address over the unix socket.
func localAddr(c echo.Context) netip.Addr {
	local, ok := c.Request().Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	reached, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return netip.Addr{}
	}
	return reached.Addr().Unmap().WithZone("")
}
