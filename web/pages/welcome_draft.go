package pages

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/caller"
)

// fillStep writes what is set now into the fields of a step.
func (p *Pages) fillStep(c echo.Context, values url.Values, now settings.Settings, step int) {
	switch step {
	case stepNetwork:
		values.Set("networks", prefixText(now.Management.Networks))
		values.Set("servers", serverText(now.DNS.Servers))
	case stepEdge:
		fillEdge(values, now.Edge, p.seenInterfaces(c), caller.Of(c.Request().Context()).Peer.Addr)
	case stepGame:
		values.Set("preset", "everything")
	}
}

// fillEdge ticks what is set. On a new box with one interface that is not the browser's, that one is suggested.
func fillEdge(values url.Values, edge settings.Edge, seen []status.Interface, peer netip.Addr) {
	interfaces, addresses := slices.Clone(edge.Interfaces), slices.Clone(edge.Addresses)
	if len(interfaces) == 0 && len(addresses) == 0 {
		interfaces, addresses = suggestEdge(seen, peer)
	}
	for _, name := range interfaces {
		if slices.ContainsFunc(seen, func(i status.Interface) bool { return i.Name == name }) {
			values.Add("interfaces", name)
		} else {
			values.Set("otherInterfaces", strings.TrimSpace(values.Get("otherInterfaces")+" "+name))
		}
	}
	var others []settings.Prefix
	for _, a := range addresses {
		if a.IsSingleIP() && onSome(seen, a.Addr()) {
			values.Add("address", a.Addr().String())
		} else {
			others = append(others, a)
		}
	}
	values.Set("addresses", prefixText(others))
}

// suggestEdge is the only interface where clients can arrive, if there is only one.
func suggestEdge(seen []status.Interface, peer netip.Addr) (names []string, addresses []settings.Prefix) {
	for _, i := range seen {
		if !i.Up || len(usable(i)) == 0 || slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return a.Contains(peer) }) {
			continue
		}
		names = append(names, i.Name)
		for _, a := range usable(i) {
			addresses = append(addresses, settings.Prefix{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
	}
	if len(names) != 1 {
		return nil, nil
	}
	return names, addresses
}

// usable are the addresses of an interface that clients can dial.
func usable(i status.Interface) []netip.Addr {
	var list []netip.Addr
	for _, p := range i.Addresses {
		if a := p.Addr(); !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			list = append(list, a.WithZone(""))
		}
	}
	return list
}

func onSome(seen []status.Interface, a netip.Addr) bool {
	return slices.ContainsFunc(seen, func(i status.Interface) bool { return slices.Contains(usable(i), a) })
}

// edgeInterface is one interface to tick, with its addresses.
type edgeInterface struct {
	status.Interface
	Chosen    bool
	Addresses []chosenAddress
}

type chosenAddress struct {
	Address string
	Chosen  bool
}

func edgeInterfaces(seen []status.Interface, f form) []edgeInterface {
	var list []edgeInterface
	for _, i := range seen {
		if i.Name == "lo" {
			continue
		}
		row := edgeInterface{Interface: i, Chosen: f.Checked("interfaces", i.Name)}
		for _, a := range usable(i) {
			row.Addresses = append(row.Addresses, chosenAddress{a.String(), f.Checked("address", a.String())})
		}
		list = append(list, row)
	}
	return list
}

// presetOf is the preset of this name, and the one for everything when there is none.
func presetOf(id string) settings.Preset {
	list := settings.Presets()
	if i := slices.IndexFunc(list, func(p settings.Preset) bool { return p.ID == id }); i >= 0 {
		return list[i]
	}
	return list[len(list)-1]
}

// fillFromPreset writes ports and headers of a preset into the fields, once: what is changed afterwards stays.
func fillFromPreset(values url.Values, preset settings.Preset) {
	if values.Get("filled") == preset.ID {
		return
	}
	values.Set("filled", preset.ID)
	values.Set("preset", preset.ID)
	values.Set("ports", joined(preset.Ports))
	values.Set("tcpHeader", preset.TCPHeader)
	values.Set("udpHeader", preset.UDPHeader)
	values.Del("transparent")
	values.Del("testPort")
}

// draft is draftOf, and with networks that leave out the browser at addr, which must be meant. Those that are in force
// already cut off nobody.
func (p *Pages) draft(values url.Values, now settings.Settings, addr netip.Addr) (settings.Settings, []settings.Problem) {
	draft, problems := draftOf(values, now)
	networks := draft.Management.Networks
	if outside(addr, networks) && !slices.Equal(networks, now.Management.Networks) && values.Get("outside") != "on" {
		problems = append(problems, settings.Problem{Field: "networks", Text: p.text.say("network.outside.problem", addr)})
	}
	return draft, problems
}

// draftOf is the settings as they would be with all answers, and what is wrong with the answers, by field.
func draftOf(values url.Values, s settings.Settings) (settings.Settings, []settings.Problem) {
	t := typed{values: values}
	ticked := typed{values: url.Values{"address": {strings.Join(values["address"], " ")}}}
	s.Schema = settings.Schema
	s.Management.Networks = list[settings.Prefix](&t, "networks")
	s.Edge.Interfaces = slices.Concat(t.boxes("interfaces"), t.words("otherInterfaces"))
	addresses := list[settings.Prefix](&ticked, "address")
	s.Edge.Addresses = slices.Concat(addresses, list[settings.Prefix](&t, "addresses"))
	fixed := withFixed(&t, &s)
	pool, service := -1, -1
	if t.text("origin") != "" {
		pool, service = addService(&t, &s)
	}
	problems := s.Validate()
	for i := range problems {
		problems[i].Field = answerField(problems[i].Field, pool, service, len(addresses), fixed)
	}
	return s, slices.Concat(ticked.problems, t.with(problems))
}

// addService puts the service of the wizard into s, with its pool, and returns their places. A service that has its name
// already becomes what the wizard says, and of its pool the first origin.
func addService(t *typed, s *settings.Settings) (pool, service int) {
	preset := presetOf(t.text("preset"))
	port := one[settings.Ports](t, "port")

	s.Pools = slices.Clone(s.Pools)
	pool = slices.IndexFunc(s.Pools, func(p settings.Pool) bool { return p.Name == preset.ID })
	if pool < 0 {
		pool = len(s.Pools)
		s.Pools = append(s.Pools, settings.Pool{Name: preset.ID, Origins: []settings.Origin{{}}})
	}
	s.Pools[pool].Origins = slices.Clone(s.Pools[pool].Origins)
	s.Pools[pool].Origins[0].Address, s.Pools[pool].Origins[0].Port = t.text("origin"), port
	s.Pools[pool].Health = healthFor(preset, port)

	s.Services = slices.Clone(s.Services)
	service = slices.IndexFunc(s.Services, func(v settings.Service) bool { return v.Name == preset.ID })
	if service < 0 {
		service = len(s.Services)
		s.Services = append(s.Services, settings.Service{Name: preset.ID})
	}
	v := &s.Services[service]
	v.Protocols, v.Pool, v.Ports = preset.Protocols, preset.ID, t.ports("ports")
	v.TCPHeader, v.UDPHeader = header(preset, "tcp", t.text("tcpHeader")), header(preset, "udp", t.text("udpHeader"))
	v.Transparent = t.on("transparent")
	return pool, service
}

// header is the PROXY header of a protocol that the preset has; the others have none to choose.
func header(preset settings.Preset, protocol, chosen string) string {
	if !slices.Contains(preset.Protocols, protocol) {
		return ""
	}
	return cmp.Or(chosen, "none")
}

// healthFor looks at the port where the origin really listens.
func healthFor(preset settings.Preset, port settings.Ports) settings.Health {
	h := preset.Health
	if h.Check == "tcp" && port.Count() == 1 {
		h.Port = int(port.First)
	}
	return h
}

// answerField is the field of the wizard where a value of the document was typed.
func answerField(field string, pool, service, ticked, fixed int) string {
	places := []struct{ at, name string }{
		{"management.networks", "networks"},
		{fmt.Sprintf("host.interfaces[%d].addresses", fixed), "fixed"},
		{fmt.Sprintf("host.interfaces[%d].gateways", fixed), "gateway"},
		{"dns.servers", "servers"},
		{"edge.interfaces", "interfaces"},
		{"edge.addresses", "addresses"},
		{fmt.Sprintf("pools[%d].origins[0].address", pool), "origin"},
		{fmt.Sprintf("pools[%d].origins[0].port", pool), "port"},
		{fmt.Sprintf("services[%d].ports", service), "ports"},
		{fmt.Sprintf("services[%d].tcpHeader", service), "tcpHeader"},
		{fmt.Sprintf("services[%d].udpHeader", service), "udpHeader"},
		{fmt.Sprintf("services[%d].transparent", service), "transparent"},
	}
	for i := range ticked {
		places = slices.Insert(places, 0, struct{ at, name string }{fmt.Sprintf("edge.addresses[%d]", i), "address"})
	}
	for _, place := range places {
		if field == place.at || strings.HasPrefix(field, place.at+"[") {
			return place.name
		}
	}
	return field
}
