package host

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"breakwater/appliance/settings"
)

// Where what the settings say of the machine is put, for the programs that do it. All of it is in /run: a start of the
// machine begins with nothing of it, and breakwater-network.service makes it before systemd-networkd looks.
const (
	networkDir  = "run/systemd/network"
	resolvedDir = "run/systemd/resolved.conf.d"
	// resolvedFile must not have the name of a file of the image, in whose place it would be (resolved.conf(5)).
	resolvedFile = resolvedDir + "/breakwater-servers.conf"
	timeDir      = "run/breakwater-time"
)

// made begins the names of our files in networkDir. They come before the image's 80-first-boot.network, and the first
// that matches an interface counts (systemd.network(5)).
const made = "50-breakwater-"

const banner = "# Made from the settings, and made anew with each change of them.\n"

// Files are the files that settings make, by their paths below the root. Settings without a host make those of the name
// servers and time servers only: ports that are not listed are for 80-first-boot.network.
func Files(s settings.Settings) map[string]string {
	s = s.WithDefaults()
	files := map[string]string{
		timeDir + "/breakwater.sources": timeSources(s.Host.TimeServers),
	}
	if len(s.DNS.Servers) > 0 {
		files[resolvedFile] = resolvers(s.DNS.Servers)
	}
	for _, i := range interfaces(s) {
		name := networkDir + "/" + made + i.Name
		files[name+".network"] = i.network()
		if i.virtual() {
			files[name+".netdev"] = i.netdev()
		}
		if i.MAC != (settings.MAC{}) {
			files[name+".link"] = i.link()
		}
	}
	return files
}

// iface is an interface with what others say of it.
type iface struct {
	settings.Interface
	host  string   // the name of the machine
	bond  string   // that it is a member of
	vlans []string // on it
	edge  bool
}

// interfaces are those that are listed, and those that VLANs and bonds are made of, by their names.
func interfaces(s settings.Settings) []iface {
	all := map[string]*iface{}
	get := func(name string) *iface {
		if all[name] == nil {
			all[name] = &iface{Interface: settings.Interface{Name: name, DHCP: "both"}, host: s.Host.Name, edge: slices.Contains(s.Edge.Interfaces, name)}
		}
		return all[name]
	}
	for _, i := range s.Host.Interfaces {
		get(i.Name).Interface = i
	}
	for _, i := range s.Host.Interfaces {
		if i.VLAN != 0 {
			parent := get(i.Parent)
			parent.vlans = append(parent.vlans, i.Name)
		}
		for _, m := range i.Members {
			member := get(m)
			member.bond, member.DHCP = i.Name, "none"
		}
	}
	list := make([]iface, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list
}

func (i iface) virtual() bool { return i.VLAN != 0 || i.Bond != "" }

// ini writes files of the kind that systemd.syntax(7) describes.
type ini struct{ strings.Builder }

func (f *ini) section(name string) { fmt.Fprintf(&f.Builder, "\n[%s]\n", name) }

func (f *ini) set(key string, value any) { fmt.Fprintf(&f.Builder, "%s=%v\n", key, value) }

// match picks the interface. A port with a MAC is known by the address that it was made with: as a member of a bond it
// bears another.
func (f *ini) match(i iface) {
	f.WriteString(banner)
	f.section("Match")
	if i.MAC != (settings.MAC{}) {
		f.set("PermanentMACAddress", i.mac())
		return
	}
	f.set("Name", i.Name)
}

func (i iface) mac() string {
	text, _ := i.MAC.MarshalText() // it returns no error
	return string(text)
}

// link gives the port the name that it has in the settings when the machine starts, into whatever slot the card was
// moved, and however a newer version of the image would call it (systemd.link(5)).
func (i iface) link() string {
	var f ini
	f.match(i)
	f.section("Link")
	f.set("Name", i.Name)
	return f.String()
}

// netdev makes a VLAN or a bond (systemd.netdev(5)).
func (i iface) netdev() string {
	var f ini
	f.WriteString(banner)
	f.section("NetDev")
	f.set("Name", i.Name)
	if i.VLAN != 0 {
		f.set("Kind", "vlan")
		f.section("VLAN")
		f.set("Id", i.VLAN)
		return f.String()
	}
	f.set("Kind", "bond")
	f.section("Bond")
	f.set("Mode", i.Bond)
	f.set("MIIMonitorSec", "100ms") // without it a member whose cable is out stays in use
	if i.Bond != "active-backup" {
		f.set("TransmitHashPolicy", "layer3+4") // one origin's sessions use all members
	}
	return f.String()
}

// network configures the interface (systemd.network(5)).
func (i iface) network() string {
	var f ini
	f.match(i)
	f.section("Link")
	f.set("RequiredForOnline", "no")
	if i.MTU != 0 {
		f.set("MTUBytes", i.MTU)
	}
	f.section("Network")
	asks4, asks6 := i.DHCP == "ipv4" || i.DHCP == "both", i.DHCP == "ipv6" || i.DHCP == "both"
	f.set("DHCP", map[string]string{"none": "no", "ipv4": "ipv4", "ipv6": "ipv6", "both": "yes"}[i.DHCP])
	f.set("IPv6AcceptRA", yes(asks6))
	f.set("LinkLocalAddressing", i.linkLocal(asks4))
	f.set("MulticastDNS", "no")
	f.set("LLMNR", "no")
	if i.DHCP == "none" && i.bond == "" {
		// What depends on nobody's answer does not come and go with the cable.
		f.set("ConfigureWithoutCarrier", "yes")
		if i.edge {
			// Edge's addresses are here, and systemd-networkd must not take them for leftovers. With leases this would
			// keep them beyond their time; there edge puts its addresses back, as it does whenever they are gone.
			f.set("KeepConfiguration", "yes")
		}
	}
	if i.bond != "" {
		f.set("Bond", i.bond)
	}
	for _, v := range i.vlans {
		f.set("VLAN", v)
	}
	for _, a := range i.Addresses {
		f.set("Address", a)
	}
	for _, g := range i.Gateways {
		i.route(&f, "", g, 0)
	}
	for _, r := range i.Routes {
		i.route(&f, r.To.String(), r.Via, r.Metric)
	}
	if asks4 {
		f.section("DHCPv4")
		f.set("ClientIdentifier", "mac")
		f.set("Hostname", i.host)
		f.set("UseHostname", "no")
	}
	if asks6 {
		f.section("DHCPv6")
		f.set("UseHostname", "no")
	}
	return f.String()
}

// linkLocal addresses are what IPv6 needs on every link, and for IPv4 what is left where no DHCP server answers.
func (i iface) linkLocal(asks4 bool) string {
	switch {
	case i.bond != "":
		return "no"
	case asks4:
		return "yes"
	}
	return "ipv6"
}

func (i iface) route(f *ini, to string, via settings.Addr, metric int) {
	f.section("Route")
	if to != "" {
		f.set("Destination", to)
	}
	f.set("Gateway", via)
	if i.onLink(via.Addr) {
		f.set("GatewayOnLink", "yes")
	}
	if metric != 0 {
		f.set("Metric", metric)
	}
}

// onLink tells whether the kernel must be told that router is a neighbour: no address of the interface says so.
func (i iface) onLink(router netip.Addr) bool {
	return !router.IsLinkLocalUnicast() && !slices.ContainsFunc(i.Addresses, func(a settings.Address) bool { return a.Contains(router) })
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// resolvers are asked for every name, before those that DHCP told of (resolved.conf(5)).
func resolvers(servers []settings.Server) string {
	var f ini
	f.WriteString(banner)
	f.section("Resolve")
	for _, s := range servers {
		text, _ := s.MarshalText() // it returns no error
		f.set("DNS", string(text))
	}
	f.set("Domains", "~.")
	return f.String()
}

// timeSources are those of chrony (chrony.conf(5), sourcedir). A name may stand for many servers, of which four are used.
func timeSources(servers []string) string {
	var b strings.Builder
	b.WriteString(banner)
	for _, s := range servers {
		kind := "pool"
		if _, err := netip.ParseAddr(s); err == nil {
			kind = "server"
		}
		fmt.Fprintf(&b, "%s %s iburst\n", kind, s)
	}
	return b.String()
}

// netdevName is the interface that a file of Files makes, if it makes one.
func netdevName(file string) (string, bool) {
	name, isOurs := strings.CutPrefix(filepath.Base(file), made)
	name, isNetdev := strings.CutSuffix(name, ".netdev")
	return name, isOurs && isNetdev
}

// Missing are the ports that settings name and the machine does not have, as "wan0" or "wan0 (52:54:00:12:34:56)".
func Missing(s settings.Settings, ports []Port) []string {
	var missing []string
	for _, i := range interfaces(s.WithDefaults()) {
		is := slices.ContainsFunc(ports, func(p Port) bool {
			if i.MAC != (settings.MAC{}) {
				return strings.EqualFold(p.MAC, i.mac())
			}
			return p.Name == i.Name
		})
		if is || i.virtual() {
			continue
		}
		name := i.Name
		if i.MAC != (settings.MAC{}) {
			name += " (" + i.mac() + ")"
		}
		missing = append(missing, name)
	}
	return missing
}

// portName is what the kernel calls an interface of the settings.
func portName(s settings.Settings, ports []Port, name string) string {
	for _, i := range s.Host.Interfaces {
		if i.Name != name || i.MAC == (settings.MAC{}) {
			continue
		}
		mac, _ := i.MAC.MarshalText() // it returns no error
		for _, p := range ports {
			if strings.EqualFold(p.MAC, string(mac)) {
				return cmp.Or(p.Name, name)
			}
		}
	}
	return name
}
