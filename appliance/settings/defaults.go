package settings

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// unlimited is the default of the box's own limits: the file descriptors of one process (LimitNOFILE of the unit).
// Edge lowers it to what it finds.
const unlimited = 1 << 20

// LetsEncrypt is where certificates come from when ACME names no directory.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// What the machine is called, and who tells it the time: the pool that Debian has from pool.ntp.org, whose numbered names
// are for vendors, 2 the one with IPv6.
const (
	machineName = "breakwater"
	timePool    = "2.debian.pool.ntp.org"
)

// WithDefaults returns s with every default spelled out. s itself is not changed.
func (s Settings) WithDefaults() Settings {
	s = s.normal()
	s.Limits = Limits{
		MaxSessions:       cmp.Or(s.Limits.MaxSessions, unlimited),
		MaxFlows:          cmp.Or(s.Limits.MaxFlows, unlimited),
		MaxFlowsPerSource: cmp.Or(s.Limits.MaxFlowsPerSource, 1024),
		NewFlowsPerSecond: cmp.Or(s.Limits.NewFlowsPerSecond, 20000),
		// What a source may do while there is room is for the operator to know: a download takes all there is, and a load test
		// opens sessions as fast as it can. Under pressure the shield is fair by itself.
		NewClientsPerAddress: s.Limits.NewClientsPerAddress,
		NewClientsPerNetwork: s.Limits.NewClientsPerNetwork,
		PacketsPerAddress:    s.Limits.PacketsPerAddress,
		BytesPerAddress:      s.Limits.BytesPerAddress,
		PacketsPerNetwork:    s.Limits.PacketsPerNetwork,
		BytesPerNetwork:      s.Limits.BytesPerNetwork,
	}
	s.Shield = s.Shield.withDefaults()
	s.Alerts = s.Alerts.withDefaults()
	if s.Management.ACME != (ACME{}) {
		s.Management.ACME.Directory = cmp.Or(s.Management.ACME.Directory, LetsEncrypt)
	}
	s.Host = s.Host.withDefaults()
	for i := range s.Services {
		s.Services[i] = s.Services[i].withDefaults(s.Edge.Addresses)
	}
	headers := agreedHeaders(s.Services)
	for i := range s.Pools {
		s.Pools[i] = s.Pools[i].withDefaults(headers[s.Pools[i].Name])
	}
	return s
}

func (h Host) withDefaults() Host {
	h.Name = cmp.Or(h.Name, machineName)
	if len(h.TimeServers) == 0 {
		h.TimeServers = []string{timePool}
	}
	member := map[string]bool{} // of a bond
	for _, f := range h.Interfaces {
		for _, name := range f.Members {
			member[name] = true
		}
	}
	for i, f := range h.Interfaces { // normal has made this list our own
		asks := "both"
		if len(f.Addresses) > 0 || member[f.Name] {
			asks = "none"
		}
		h.Interfaces[i].DHCP = cmp.Or(f.DHCP, asks)
	}
	return h
}

func (s Service) withDefaults(edge []Prefix) Service {
	if len(s.Addresses) == 0 {
		s.Addresses = slices.Clip(edge) // shared: thousands of services times thousands of addresses are too many to copy
	}
	s.Path = cmp.Or(s.Path, "auto")
	s.TCPHeader = cmp.Or(s.TCPHeader, "none")
	s.UDPHeader = cmp.Or(s.UDPHeader, "none")
	s.Timeouts = Timeouts{
		Connect:    cmp.Or(s.Timeouts.Connect, Duration(5*time.Second)),
		FirstByte:  s.Timeouts.FirstByte,
		Header:     cmp.Or(s.Timeouts.Header, Duration(5*time.Second)),
		Idle:       cmp.Or(s.Timeouts.Idle, Duration(2*time.Hour)),
		HalfClose:  cmp.Or(s.Timeouts.HalfClose, Duration(time.Minute)),
		WriteStall: cmp.Or(s.Timeouts.WriteStall, Duration(30*time.Second)),
		FlowIdle:   cmp.Or(s.Timeouts.FlowIdle, Duration(2*time.Minute)),
	}
	// Three bytes for one is what QUIC allows towards an address that has proven nothing (RFC 9000 section 8.1).
	s.Limits.MaxAmplification = cmp.Or(s.Limits.MaxAmplification, 3)
	s.Shield = s.Shield.withDefaults()
	return s
}

// agreedHeaders gives each pool the TCP header of the services that use it, and none when they differ: a health
// check must begin as sessions do, or the origin refuses it.
func agreedHeaders(services []Service) map[string]string {
	headers := map[string]string{}
	for _, s := range services {
		if !slices.Contains(s.Protocols, "tcp") || !slices.Contains(tcpHeaders, s.TCPHeader) {
			continue
		}
		if other, seen := headers[s.Pool]; seen && other != s.TCPHeader {
			headers[s.Pool] = "none"
			continue
		}
		headers[s.Pool] = s.TCPHeader
	}
	return headers
}

func (p Pool) withDefaults(header string) Pool {
	p.Choice = cmp.Or(p.Choice, "source-hash")
	interval := cmp.Or(p.Health.Interval, Duration(5*time.Second))
	p.Health = Health{
		Check:    cmp.Or(p.Health.Check, "tcp"),
		Port:     p.Health.Port,
		Header:   cmp.Or(p.Health.Header, header, "none"),
		Interval: interval,
		Timeout:  cmp.Or(p.Health.Timeout, min(Duration(2*time.Second), interval)),
		Rise:     cmp.Or(p.Health.Rise, 2),
		Fall:     cmp.Or(p.Health.Fall, 3),
	}
	p.Origins = slices.Clone(p.Origins)
	for i, o := range p.Origins {
		o.Name = cmp.Or(o.Name, p.Name+"-"+strconv.Itoa(i+1))
		o.Weight = cmp.Or(o.Weight, 1)
		o.State = cmp.Or(o.State, "active")
		if _, err := netip.ParseAddr(o.Address); err != nil {
			o.Record = cmp.Or(o.Record, "any")
		}
		p.Origins[i] = o
	}
	return p
}
