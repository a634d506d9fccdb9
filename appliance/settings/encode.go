package settings

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Encode writes the canonical form of s: two spaces of indent, fields in the order of the types, a newline at the
// end. Equal settings are equal bytes, so a document can be compared and signed as text.
func Encode(s Settings) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s.normal()); err != nil {
		// Settings holds text, numbers and values whose MarshalText returns no error.
		panic("encode settings: " + err.Error())
	}
	return out.Bytes()
}

// normal is s with one spelling for an empty list: [] where the document always shows the list, left out elsewhere.
// Decode returns this form, so that what was decoded compares equal to what was encoded.
func (s Settings) normal() Settings {
	s.Edge.Interfaces = shown(s.Edge.Interfaces)
	s.Edge.Addresses = shown(s.Edge.Addresses)
	s.Management.Interfaces = optional(s.Management.Interfaces)
	s.Management.Networks = optional(s.Management.Networks)
	s.Management.Names = lowered(optional(s.Management.Names))
	s.Host = s.Host.normal()
	s.DNS.Servers = optional(s.DNS.Servers)
	s.Alerts.Webhooks = optional(s.Alerts.Webhooks)
	s.Alerts.Email.To = optional(s.Alerts.Email.To)
	s.Shield = s.Shield.sourceNormal()
	s.Pools = shown(slices.Clone(s.Pools))
	for i := range s.Pools {
		s.Pools[i].Origins = shown(s.Pools[i].Origins)
	}
	s.Services = shown(slices.Clone(s.Services))
	for i := range s.Services {
		service := &s.Services[i]
		service.Protocols = shown(service.Protocols)
		service.Addresses = optional(service.Addresses)
		service.Ports = shown(service.Ports)
		service.HeaderTLVs = optional(service.HeaderTLVs)
		service.Upstreams = optional(service.Upstreams)
		service.Shield.PacketRules = optional(service.Shield.PacketRules)
	}
	return s
}

func (h Host) normal() Host {
	h.TimeServers = optional(h.TimeServers)
	h.Interfaces = optional(slices.Clone(h.Interfaces))
	for i := range h.Interfaces {
		f := &h.Interfaces[i]
		f.Members, f.Addresses = optional(f.Members), optional(f.Addresses)
		f.Gateways, f.Routes = optional(f.Gateways), optional(f.Routes)
	}
	return h
}

// lowered writes names in lower case: DNS does not tell the cases apart (RFC 4343), but what compares bytes does.
func lowered(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	return names
}

func shown[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func optional[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}
