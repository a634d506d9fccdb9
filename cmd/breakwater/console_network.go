package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/host"
	"breakwater/appliance/settings"
)

// setAddress gives a port of the machine, or a VLAN on it, an address.
func (m *menu) setAddress(ctx context.Context) error {
	now, revision, err := m.current(ctx)
	if err != nil {
		return err
	}
	ports := m.listPorts(now)
	if len(ports) == 0 {
		return errors.New("this machine has no network port")
	}
	at, err := m.pick(ctx, "Port", names(ports))
	if err != nil {
		return err
	}
	it, err := m.askVLAN(ctx, now.Host.Interfaces, ports[at])
	if err != nil {
		return err
	}
	servers, err := m.askAddress(ctx, &it, now.DNS.Servers)
	if err != nil {
		return err
	}
	now.DNS.Servers = servers
	now.Host.Interfaces = withInterface(now.Host.Interfaces, it)
	return m.applySettings(ctx, revision, now)
}

// place is where an address can be, as it is in the settings and as the machine shows it.
type place struct {
	settings.Interface
	seen string
}

func names(places []place) []string {
	list := make([]string, len(places))
	for i, p := range places {
		list[i] = p.Name
	}
	return list
}

// listPorts shows the ports of the machine and, behind them, what settings make of them: bonds, VLANs.
func (m *menu) listPorts(s settings.Settings) []place {
	var places []place
	for _, p := range m.seen.ports {
		places = append(places, place{ofPort(s.Host.Interfaces, p), p.MAC + "  " + linkText(p) + addressText(p)})
	}
	for _, i := range s.Host.Interfaces {
		if i.Bond != "" {
			places = append(places, place{i, "bond of " + strings.Join(i.Members, ", ")})
		}
		if i.VLAN != 0 {
			places = append(places, place{i, fmt.Sprintf("VLAN %d on %s", i.VLAN, i.Parent)})
		}
	}
	for i, p := range places {
		m.say("%3d  %s  %s", i+1, fmt.Sprintf("%-10s", p.Name), p.seen)
	}
	m.say("")
	return places
}

func addressText(p host.Port) string {
	var b strings.Builder
	for _, a := range p.Addresses {
		b.WriteString("  " + a.String())
	}
	return b.String()
}

// ofPort is what settings say of a port: by its MAC, or by its name.
func ofPort(list []settings.Interface, p host.Port) settings.Interface {
	var mac settings.MAC
	_ = mac.UnmarshalText([]byte(p.MAC)) // a port without one is known by its name
	for _, i := range list {
		plain := i.VLAN == 0 && i.Bond == ""
		if plain && (i.MAC == mac && mac != settings.MAC{} || i.MAC == settings.MAC{} && i.Name == p.Name) {
			return i
		}
	}
	return settings.Interface{Name: p.Name}
}

// askVLAN returns the interface that gets the address: the place itself, or a VLAN on it.
func (m *menu) askVLAN(ctx context.Context, list []settings.Interface, on place) (it settings.Interface, err error) {
	if on.VLAN != 0 {
		return on.Interface, nil
	}
	id := 0
	err = m.read(ctx, "Number of a VLAN, or none", func(line string) error {
		if line == "none" {
			return nil
		}
		id, err = strconv.Atoi(line)
		if err != nil || id < 1 || id > 4094 {
			return errors.New("a VLAN has a number from 1 to 4094")
		}
		return nil
	})
	if err != nil || id == 0 {
		return on.Interface, err
	}
	name := fmt.Sprintf("vlan%d", id)
	for _, i := range list {
		if i.VLAN == id && i.Parent == on.Name {
			return i, nil
		}
		if i.Name == name {
			name = fmt.Sprintf("vlan%d-%d", id, len(list)+1) // the same VLAN on another port
		}
	}
	return settings.Interface{Name: name, VLAN: id, Parent: on.Name}, nil
}

// askAddress fills in how it gets its addresses, and returns the DNS servers to use from then on.
func (m *menu) askAddress(ctx context.Context, it *settings.Interface, servers []settings.Server) ([]settings.Server, error) {
	it.DHCP, it.Addresses, it.Gateways = "", nil, nil
	err := m.read(ctx, "Addresses with the length of their network, such as 192.0.2.10/24, or dhcp", func(line string) (err error) {
		it.Addresses = nil
		if line != "dhcp" {
			it.Addresses, err = readWords[settings.Address](line)
		}
		return err
	})
	if err != nil || len(it.Addresses) == 0 {
		return servers, err
	}
	err = m.read(ctx, "Gateway, or none", func(line string) (err error) {
		it.Gateways, err = readWords[settings.Addr](line)
		return err
	})
	if err != nil {
		return servers, err
	}
	m.say("DNS servers now: %s", cmp.Or(serverText(servers), "none"))
	err = m.read(ctx, "DNS servers, or none, or keep", func(line string) (err error) {
		if line != "keep" {
			servers, err = readWords[settings.Server](line)
		}
		return err
	})
	return servers, err
}

// readWords reads the values of a line; none is no value.
func readWords[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](line string) ([]T, error) {
	if line == "none" {
		return nil, nil
	}
	var list []T
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == ',' }) {
		var v T
		if err := P(&v).UnmarshalText([]byte(word)); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func serverText(servers []settings.Server) string {
	var list []string
	for _, s := range servers {
		list = append(list, netip.AddrPort(s).Addr().String())
	}
	return strings.Join(list, ", ")
}

// withInterface puts an interface in the place of the one of its name, or behind them all. A port about which nothing
// is said any more asks for addresses by DHCP without being listed.
func withInterface(list []settings.Interface, it settings.Interface) []settings.Interface {
	list = slices.Clone(list)
	at := slices.IndexFunc(list, func(i settings.Interface) bool { return i.Name == it.Name })
	plain := it.VLAN == 0 && it.Bond == "" && len(it.Addresses) == 0 && len(it.Routes) == 0 && it.MTU == 0 && it.MAC == settings.MAC{}
	switch {
	case plain && at >= 0:
		return slices.Delete(list, at, at+1)
	case plain:
		return list
	case at >= 0:
		list[at] = it
		return list
	}
	return append(list, it)
}

// setManagement chooses the ports at which the box itself answers.
func (m *menu) setManagement(ctx context.Context) error {
	now, revision, err := m.current(ctx)
	if err != nil {
		return err
	}
	ports := m.listPorts(now)
	m.say("The page is reached at: %s", cmp.Or(strings.Join(now.Management.Interfaces, ", "), "all but the ports of the edge"))
	err = m.read(ctx, "Numbers of the ports where it is reached, or all", func(line string) (err error) {
		now.Management.Interfaces, err = readPlaces(line, names(ports))
		return err
	})
	if err != nil {
		return err
	}
	if err := m.askNetworks(ctx, &now.Management); err != nil {
		return err
	}
	return m.applySettings(ctx, revision, now)
}

// readPlaces reads several numbers or names; all is the empty list.
func readPlaces(line string, names []string) ([]string, error) {
	if line == "all" {
		return nil, nil
	}
	var list []string
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == ',' }) {
		i, err := placeOf(word, names)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, names[i]) {
			list = append(list, names[i])
		}
	}
	return list, nil
}

// askNetworks offers to let every address in again: networks that leave out who is here are why the page is not reached.
func (m *menu) askNetworks(ctx context.Context, management *settings.Management) error {
	if len(management.Networks) == 0 {
		return nil
	}
	var list []string
	for _, n := range management.Networks {
		list = append(list, n.String())
	}
	m.say("It is reached from these networks only: %s", strings.Join(list, ", "))
	return m.read(ctx, "Type any to let every address in, or keep", func(line string) error {
		switch line {
		case "any":
			management.Networks = nil
		case "keep":
		default:
			return errors.New("type any or keep")
		}
		return nil
	})
}
