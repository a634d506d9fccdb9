// Package plan is the language between control and edge: one whole Plan says everything that the data plane
// should do. It holds types and their JSON only.

// A Plan is the pure result of compiling settings: every default is filled in, every name resolved to an index,
// every text parsed. Edge applies a Plan as a whole or not at all; there is no partial plan and no difference to send.
package plan

import (
	"net/netip"
	"time"
)

// Plan is the whole wish for the data plane.
type Plan struct {
	Revision  uint64           `json:"revision"` // the settings it was compiled from
	Steering  Steering         `json:"steering"`
	Routes    []Route          `json:"routes"` // in order of preference: the first that matches decides
	Services  []Service        `json:"services"`
	Pools     []Pool           `json:"pools"`
	Limits    Limits           `json:"limits"`
	Shield    Shield           `json:"shield"`
	Resolvers []netip.AddrPort `json:"resolvers"` // empty: those of the operating system
	// Forbidden are the addresses no origin may have, checked again at each resolve: loopback, link-local,
	// multicast, the edge addresses, the management networks. Edge adds the box's own addresses.
	Forbidden []netip.Prefix `json:"forbidden"`
}

// Steering is what is brought to the engines: all TCP and UDP that arrives on Interfaces for Addresses.
type Steering struct {
	Interfaces []string       `json:"interfaces"`
	Addresses  []netip.Prefix `json:"addresses"`
	// Transparent is true when some service keeps the client's address as packet source, so that the
	// origins' replies to foreign addresses must be caught too.
	Transparent bool `json:"transparent"`
}

// Protocol is the transport protocol of a route.
type Protocol string

// The protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Route maps edge addresses and ports to a service.
type Route struct {
	Protocol  Protocol       `json:"protocol"`
	FirstPort uint16         `json:"firstPort"`
	LastPort  uint16         `json:"lastPort"` // inclusive
	Addresses []netip.Prefix `json:"addresses"`
	Service   int            `json:"service"` // index into Plan.Services
}

// Service is how traffic of its routes is treated.
type Service struct {
	Name string `json:"name"`
	Pool int    `json:"pool"` // index into Plan.Pools
	Path Path   `json:"path"`

	TCPHeader   TCPHeader `json:"tcpHeader"`
	UDPHeader   UDPHeader `json:"udpHeader"`
	TLVs        TLVs      `json:"tlvs"`
	Transparent bool      `json:"transparent"` // origins see the client's address and port as packet source

	// Upstreams are the load balancers in front of this service. When there are any, a TCP connection must come
	// from one of them and begin with a PROXY header; every other is refused.
	Upstreams []netip.Prefix `json:"upstreams"`

	Timeouts Timeouts      `json:"timeouts"`
	Limits   ServiceLimits `json:"limits"`
	Shield   ServiceShield `json:"shield"`
}

// Path is the engine that carries a service. Both give the origin the same bytes. Auto takes the kernel path whenever
// nothing needs a look at the bytes. An empty path means auto: plans that older versions of control made have none.
type Path string

// The paths.
const (
	PathAuto   Path = "auto"
	PathKernel Path = "kernel"
	PathUser   Path = "user"
)

// TCPHeader is the PROXY header that a TCP session begins with on the origin side.
type TCPHeader string

// The TCP headers.
const (
	TCPNone TCPHeader = "none"
	TCPV1   TCPHeader = "v1"
	TCPV2   TCPHeader = "v2"
)

// UDPHeader is the PROXY header that datagrams carry to the origin.
type UDPHeader string

// The UDP headers.
const (
	UDPNone    UDPHeader = "none"
	UDPV2Each  UDPHeader = "v2-each"  // on every datagram (PROXY protocol specification of 2026-04-27)
	UDPV2First UDPHeader = "v2-first" // on the first datagram of a flow (Spectrum, Geyser)
	UDPSPP     UDPHeader = "spp"      // Simple Proxy Protocol, both directions
)

// TLVs are the optional fields of a PROXY v2 header.
type TLVs struct {
	UniqueID  bool `json:"uniqueId"`  // PP2_TYPE_UNIQUE_ID: the session id of our own event log
	Authority bool `json:"authority"` // PP2_TYPE_AUTHORITY: passed on when an upstream sent one
	CRC32C    bool `json:"crc32c"`    // PP2_TYPE_CRC32C over the whole header
}

// Timeouts end what does not go on. All but FirstByte are positive.
type Timeouts struct {
	Connect    time.Duration `json:"connect"`    // origin side, SYN to established
	FirstByte  time.Duration `json:"firstByte"`  // from the begin of a session to the client's first byte; 0: no limit
	Header     time.Duration `json:"header"`     // for the PROXY header of an upstream
	Idle       time.Duration `json:"idle"`       // no byte in either direction
	HalfClose  time.Duration `json:"halfClose"`  // one direction finished and no byte in the other
	WriteStall time.Duration `json:"writeStall"` // a side accepts no byte of what waits for it
	FlowIdle   time.Duration `json:"flowIdle"`   // UDP; see IdleFlow
}

// unprovenFlow is how long a flow may be idle whose client has proven nothing: it may be made up, and whoever made it up must not
// keep the place from those whose address it bears.
const unprovenFlow = 10 * time.Second

// IdleFlow is how long a flow may be idle. One is proven when its client spoke twice after an answer.
func (t Timeouts) IdleFlow(proven bool) time.Duration {
	if proven {
		return t.FlowIdle
	}
	return min(t.FlowIdle, unprovenFlow)
}

// ServiceLimits bound one service. Zero means no limit of its own.
type ServiceLimits struct {
	MaxSessions           int `json:"maxSessions"`
	MaxSessionsPerAddress int `json:"maxSessionsPerAddress"` // see ClientAddress
	MaxSessionsPerNetwork int `json:"maxSessionsPerNetwork"` // see ClientNetwork
	NewSessionsPerAddress int `json:"newSessionsPerAddress"` // a second
	MaxFlows              int `json:"maxFlows"`
	NewFlowsPerSec        int `json:"newFlowsPerSecond"`
	NewClientsPerSec      int `json:"newClientsPerSecond"` // sessions and flows; the shield's
	MaxAmplification      int `json:"maxAmplification"`    // bytes out for each byte in, on the wire, towards an unproven UDP source
}

// Limits bound the box. Edge lowers them to what its file descriptors allow. They are exact to one for each core,
// as the cores count without waiting for each other.
type Limits struct {
	MaxSessions       int `json:"maxSessions"`
	MaxFlows          int `json:"maxFlows"`
	MaxFlowsPerSource int `json:"maxFlowsPerSource"` // of one IPv4 /24 or IPv6 /56
	NewFlowsPerSec    int `json:"newFlowsPerSecond"`
	// Sources bound every source by itself. The shield keeps them.
	Sources SourceLimits `json:"sources"`
}

// SourceLimits bound one address (ClientAddress) or network (ClientNetwork), each a second. Zero means no limit.
type SourceLimits struct {
	PacketsPerAddress    int `json:"packetsPerAddress"`
	BytesPerAddress      int `json:"bytesPerAddress"`      // of frames
	NewClientsPerAddress int `json:"newClientsPerAddress"` // sessions and flows that begin
	PacketsPerNetwork    int `json:"packetsPerNetwork"`    // of no session or flow
	BytesPerNetwork      int `json:"bytesPerNetwork"`      // of frames of no session or flow
	NewClientsPerNetwork int `json:"newClientsPerNetwork"`
}

// Pool is an origin pool.
type Pool struct {
	Name    string   `json:"name"`
	Choice  Choice   `json:"choice"`
	Origins []Origin `json:"origins"`
	Health  Health   `json:"health"`
	// SourceAddresses are those of the box that sessions and flows come from, at most MaxSourceAddresses of IPv4 and as many of IPv6;
	// empty: the one that the route to an origin gives. Services that are transparent have no use for them.
	SourceAddresses []netip.Addr `json:"sourceAddresses,omitempty"`
}

// MaxSourceAddresses is how many source addresses of one IP version a pool may have.
const MaxSourceAddresses = 8

// Choice is how a pool chooses an origin for a new client.
type Choice string

// The choices.
const (
	SourceHash    Choice = "source-hash" // weighted rendezvous hashing of the client's address, equal for TCP and UDP
	RoundRobin    Choice = "round-robin"
	LeastSessions Choice = "least-sessions"
)

// Origin is one protected server.
type Origin struct {
	Name    string `json:"name"`
	Address string `json:"address"` // an IP address, or a DNS name when Record is set
	Record  Record `json:"record"`
	// FirstPort to LastPort are the origin's ports. Both 0: the port the client dialled. Equal: that one port.
	// Otherwise the client's port is moved by the offset between the route's first port and FirstPort.
	FirstPort   uint16 `json:"firstPort"`
	LastPort    uint16 `json:"lastPort"`
	Weight      int    `json:"weight"`      // at least 1
	State       State  `json:"state"`       // as the operator wants it
	MaxSessions int    `json:"maxSessions"` // sessions and flows; 0: no limit
}

// Record is the kind of DNS record an origin's name is looked up by.
type Record string

// The records.
const (
	RecordNone Record = ""    // Address is an IP address
	RecordAny  Record = "any" // A and AAAA
	RecordA    Record = "a"
	RecordAAAA Record = "aaaa"
	RecordSRV  Record = "srv" // target, port and weight come from the record
)

// State is what the operator wants of an origin.
type State string

// The states.
const (
	Active      State = "active"
	Drain       State = "drain"       // no new clients, existing sessions and flows go on
	Maintenance State = "maintenance" // no new clients, no health check
)

// Health is how the origins of a pool are checked.
type Health struct {
	Check    Check         `json:"check"`
	Port     uint16        `json:"port"`   // 0: the origin's own port; an origin that keeps the client's port is then judged by its traffic alone
	Header   TCPHeader     `json:"header"` // v2 checks announce themselves as LOCAL, v1 checks with a real line
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	Rise     int           `json:"rise"` // good checks in a row until up
	Fall     int           `json:"fall"` // bad checks, or failed connects of clients, in a row until down
}

// Check is the kind of a health check.
type Check string

// The checks.
const (
	CheckTCP  Check = "tcp"
	CheckNone Check = "none" // traffic alone tells
)
