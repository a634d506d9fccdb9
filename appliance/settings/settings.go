// Package settings is the one document that an operator edits.
//
//	s, problems := settings.Read(data)
//	for _, p := range problems {
//		fmt.Println(p) // services[2].ports[0]: "0-70000" goes beyond the ports there are, 1 to 65535
//	}
//
// A document is JSON, at most MaxSize bytes, with a schema number. Decode refuses unknown fields and migrates older
// schemas, Validate returns every problem with its field, Read does both, Encode writes a canonical form that Decode
// reads back to the same value. Fields left out have the meaning their comment gives; WithDefaults spells them out.
package settings

// Schema is the version of the document that this program writes.
const Schema = 1

// MaxSize bounds a document, in bytes.
const MaxSize = 1 << 20

// Settings is the whole document.
type Settings struct {
	Schema     int        `json:"schema"`
	Edge       Edge       `json:"edge"`
	Management Management `json:"management,omitzero"`
	Host       Host       `json:"host,omitzero"`
	Updates    Updates    `json:"updates,omitzero"`
	DNS        DNS        `json:"dns,omitzero"`
	Limits     Limits     `json:"limits,omitzero"`
	Shield     Shield     `json:"shield,omitzero"`
	Alerts     Alerts     `json:"alerts,omitzero"`
	Pools      []Pool     `json:"pools"`
	Services   []Service  `json:"services"`
}

// Edge is where clients arrive.
type Edge struct {
	Interfaces []string `json:"interfaces"`
	Addresses  []Prefix `json:"addresses"`
}

// Management is who may reach the web page and the API, and how. Origins may never be there.
type Management struct {
	Interfaces []string `json:"interfaces,omitempty"` // on the appliance, where the box itself answers; default: all but those of the edge, or all where there are no others
	Networks   []Prefix `json:"networks,omitempty"`   // default: any
	Names      []string `json:"names,omitempty"`      // DNS names under which the page is opened, besides the box's own and its addresses; kept in lower case
	ACME       ACME     `json:"acme,omitzero"`
}

// ACME gets certificates for the names of the management from a certificate authority (RFC 8555). Left out: none.
type ACME struct {
	Email     string `json:"email,omitempty"`     // whom the authority may write to
	Directory string `json:"directory,omitempty"` // the URL where the authority's protocol begins; default Let's Encrypt
}

// Host is the machine, where it is all Breakwater's: the appliance. Elsewhere it has no meaning.
type Host struct {
	Name        string      `json:"name,omitempty"`        // default breakwater
	Interfaces  []Interface `json:"interfaces,omitempty"`  // those that are not listed ask for addresses by DHCP
	TimeServers []string    `json:"timeServers,omitempty"` // names or addresses, NTP; default: Debian's pool
}

// Interface is a network port of the machine, or an interface made of others: a VLAN on one, a bond of several.
type Interface struct {
	Name      string    `json:"name"`                // of a port, as the box shows it; of a VLAN or bond, as you like
	MAC       MAC       `json:"mac,omitzero"`        // of a port: these settings are for the port with this address, whatever its name
	VLAN      int       `json:"vlan,omitempty"`      // a VLAN with this ID, 1 to 4094, on the interface named parent
	Parent    string    `json:"parent,omitempty"`    // of a VLAN
	Bond      string    `json:"bond,omitempty"`      // a bond of members: active-backup, 802.3ad (LACP), balance-xor
	Members   []string  `json:"members,omitempty"`   // of a bond: ports, which have no addresses of their own
	DHCP      string    `json:"dhcp,omitempty"`      // none, ipv4, ipv6 (with router advertisements), both; default: both without addresses, none with
	Addresses []Address `json:"addresses,omitempty"` // with the length of their network: 192.0.2.10/24
	Gateways  []Addr    `json:"gateways,omitempty"`  // of the default routes, at most one for each of IPv4 and IPv6
	Routes    []Route   `json:"routes,omitempty"`
	MTU       int       `json:"mtu,omitempty"` // bytes, 1280 to 9216; default: the port's own
}

// Route is a route to a network by a router.
type Route struct {
	To     Prefix `json:"to"`
	Via    Addr   `json:"via"`
	Metric int    `json:"metric,omitempty"` // default: the kernel's
}

// Updates is where new versions of the appliance come from, besides the page.
type Updates struct {
	URL string `json:"url,omitempty"` // of the newest update file, https or http: it is signed
}

// DNS is who resolves the names of origins and, on the appliance, of everything else. Empty: the resolvers of the
// operating system, which on the appliance are those that DHCP tells.
type DNS struct {
	Servers []Server `json:"servers,omitempty"`
}

// Limits bound the box. Zero: the default. Edge lowers them to what its file descriptors allow.
type Limits struct {
	MaxSessions       int `json:"maxSessions,omitempty"`       // default 1048576
	MaxFlows          int `json:"maxFlows,omitempty"`          // default 1048576
	MaxFlowsPerSource int `json:"maxFlowsPerSource,omitempty"` // of one IPv4 /24 or IPv6 /56; default 1024
	NewFlowsPerSecond int `json:"newFlowsPerSecond,omitempty"` // default 20000
	// Those of one source, an address (of IPv6 its /64) or a network (IPv4 /24, IPv6 /48). The shield keeps them, in front of
	// both engines; without it they have no effect. Default, and -1: no limit. While a budget of new flows or clients is used up
	// by half, 200 new clients a second are the most of an address and 2000 of a network.
	PacketsPerAddress    int `json:"packetsPerAddress,omitempty"`    // a second
	BytesPerAddress      int `json:"bytesPerAddress,omitempty"`      // of frames, a second
	NewClientsPerAddress int `json:"newClientsPerAddress,omitempty"` // sessions and flows that begin, a second
	PacketsPerNetwork    int `json:"packetsPerNetwork,omitempty"`    // of no session or flow, a second
	BytesPerNetwork      int `json:"bytesPerNetwork,omitempty"`      // of frames of no session or flow, a second
	NewClientsPerNetwork int `json:"newClientsPerNetwork,omitempty"` // sessions and flows that begin, a second
}

// Pool is an origin pool.
type Pool struct {
	Name            string   `json:"name"`
	Choice          string   `json:"choice,omitempty"` // source-hash (default), round-robin, least-sessions
	Health          Health   `json:"health,omitzero"`
	SourceAddresses []Addr   `json:"sourceAddresses,omitempty"` // addresses of the box that its sessions and flows come from, each with all source ports; default: the one that the route gives
	Origins         []Origin `json:"origins"`
}

// Origin is one protected server.
type Origin struct {
	Name        string `json:"name,omitempty"`        // default: the pool's name, a hyphen and its place, from 1
	Address     string `json:"address"`               // an IP address or a DNS name
	Record      string `json:"record,omitempty"`      // for a DNS name: any (default), a, aaaa, srv
	Port        Ports  `json:"port,omitzero"`         // default: the port that the client dialled; a range is offset-mapped
	Weight      int    `json:"weight,omitempty"`      // 1 to 256, default 1
	State       string `json:"state,omitempty"`       // active (default), drain, maintenance
	MaxSessions int    `json:"maxSessions,omitempty"` // default: no limit
}

// Health is how a pool's origins are checked.
type Health struct {
	Check    string   `json:"check,omitempty"`   // tcp (default), none
	Port     int      `json:"port,omitempty"`    // default: the origin's own port
	Header   string   `json:"header,omitempty"`  // none, v1, v2; default: the TCP header of the services that use the pool, when they agree
	Interval Duration `json:"interval,omitzero"` // default 5s
	Timeout  Duration `json:"timeout,omitzero"`  // default 2s, or the interval when that is shorter
	Rise     int      `json:"rise,omitempty"`    // default 2
	Fall     int      `json:"fall,omitempty"`    // default 3
}

// Service is the operator's entry: edge addresses, protocols and ports to an origin pool, and how the client's real
// address is passed on. Services may overlap: the narrower port range wins, then the earlier service.
type Service struct {
	Name        string        `json:"name"`
	Protocols   []string      `json:"protocols"`           // tcp, udp
	Addresses   []Prefix      `json:"addresses,omitempty"` // within the edge addresses; default: all of them
	Ports       []Ports       `json:"ports"`
	Pool        string        `json:"pool"`
	Path        string        `json:"path,omitempty"`        // auto (default), kernel (needs neither headerTlvs nor upstreams), user
	TCPHeader   string        `json:"tcpHeader,omitempty"`   // none (default), v1, v2
	UDPHeader   string        `json:"udpHeader,omitempty"`   // none (default), v2-each, v2-first, spp
	HeaderTLVs  []string      `json:"headerTlvs,omitempty"`  // unique-id, authority, crc32c
	Transparent bool          `json:"transparent,omitempty"` // the origin sees the client's address as packet source; replies must be routed through the box
	Upstreams   []Prefix      `json:"upstreams,omitempty"`   // load balancers in front that send a PROXY header; all others are refused
	Timeouts    Timeouts      `json:"timeouts,omitzero"`
	Limits      ServiceLimits `json:"limits,omitzero"`
	Shield      ServiceShield `json:"shield,omitzero"`
}

// Timeouts end what does not go on. Zero: the default.
type Timeouts struct {
	Connect    Duration `json:"connect,omitzero"`    // default 5s
	FirstByte  Duration `json:"firstByte,omitzero"`  // default: none; for protocols in which the client speaks first
	Header     Duration `json:"header,omitzero"`     // default 5s
	Idle       Duration `json:"idle,omitzero"`       // default 2h
	HalfClose  Duration `json:"halfClose,omitzero"`  // default 60s
	WriteStall Duration `json:"writeStall,omitzero"` // default 30s
	FlowIdle   Duration `json:"flowIdle,omitzero"`   // default 120s; 10s at most until the client has spoken twice after an answer
}

// ServiceLimits bound one service. Zero: no limit of its own, unless a default is named.
type ServiceLimits struct {
	MaxSessions           int `json:"maxSessions,omitempty"`
	MaxSessionsPerAddress int `json:"maxSessionsPerAddress,omitempty"` // of IPv6, of a /64
	MaxSessionsPerNetwork int `json:"maxSessionsPerNetwork,omitempty"` // of an IPv4 /24 or IPv6 /48
	NewSessionsPerAddress int `json:"newSessionsPerAddress,omitempty"` // a second; five seconds' worth may come at once
	MaxFlows              int `json:"maxFlows,omitempty"`
	NewFlowsPerSecond     int `json:"newFlowsPerSecond,omitempty"`
	NewClientsPerSecond   int `json:"newClientsPerSecond,omitempty"` // sessions and flows; what is beyond the shield drops, those who were here before last
	MaxAmplification      int `json:"maxAmplification,omitempty"`    // bytes to an unproven UDP source for each byte from it, on the wire; default 3, at most 100; -1: no limit
}
