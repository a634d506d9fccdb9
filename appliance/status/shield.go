package status

import "breakwater/appliance/plan"

// Shield is what the front filter sees: the XDP program in front of both engines.
type Shield struct {
	Mode        plan.ShieldMode    `json:"mode"` // as in force
	Attachments []ShieldAttachment `json:"attachments"`
	Vectors     []VectorCounter    `json:"vectors"` // those that are not zero
	Rules       []RuleCounter      `json:"rules"`   // the packet rules of the plan
	Would       []ReasonCounter    `json:"would"`   // packets that mode monitor let pass, by why it would have dropped them
	Cookies     Cookies            `json:"cookies"`
	Sources     ShieldSources      `json:"sources"`
	Addresses   []SourceCounter    `json:"addresses"` // the rules about addresses: own ones, lists, AS numbers, countries
	Lists       string             `json:"lists"`     // fingerprint of the table of lists in force; empty: none
}

// ShieldSources is what the filter keeps of the sources of packets. All but Known count since it was loaded.
type ShieldSources struct {
	Known   int    `json:"known"`   // addresses whose clients were here in the last day: they come first
	Kept    uint64 `json:"kept"`    // addresses and networks whose rates were kept one by one
	Shared  uint64 `json:"shared"`  // new clients of addresses that came too fast for that: they shared the rate of their network, or one for all
	Evicted uint64 `json:"evicted"` // of those that were kept, who made room for others
}

// RuleCounter counts the packets that a packet rule has matched, since the filter was loaded.
type RuleCounter struct {
	Service string          `json:"service"`
	Rule    string          `json:"rule"`
	Action  plan.RuleAction `json:"action"`
	Packets uint64          `json:"packets"`
}

// ShieldAttachment is the filter at one edge interface.
type ShieldAttachment struct {
	Interface string `json:"interface"`
	Mode      string `json:"mode"` // native, generic; none: see Why
	Why       string `json:"why"`  // it is not native, in words; empty: it is
}

// Cookies are the SYN cookies: answers to first packets of connections that the filter writes itself, without remembering them.
type Cookies struct {
	Sent     uint64 `json:"sent"`
	Accepted uint64 `json:"accepted"` // came back, and became sessions of the user path
	Refused  uint64 `json:"refused"`  // wrong ones; the reason bad-cookie
}

// Vector is a kind of traffic that attacks are made of.
type Vector string

// The vectors. Packets of sessions and flows that are under way are none of them.
const (
	VectorSYN        Vector = "syn"        // TCP: the first packet of a connection
	VectorACK        Vector = "ack"        // TCP without a session, neither SYN nor RST nor FIN
	VectorRST        Vector = "rst"        // TCP without a session
	VectorFIN        Vector = "fin"        // TCP without a session
	VectorFlags      Vector = "flags"      // TCP flags that no program sends: XMAS, null, SYN with FIN or RST
	VectorUDP        Vector = "udp"        // datagrams of no flow
	VectorReflection Vector = "reflection" // datagrams from ports of servers that can be made to answer to others
	VectorQuery      Vector = "query"      // datagrams of no flow that ask a game server for its state
	VectorFragment   Vector = "fragment"   // parts of IP packets
	VectorICMP       Vector = "icmp"
	VectorOther      Vector = "other"      // other protocols, malformed packets
	VectorConnection Vector = "connection" // sessions that were opened; counted by the engines
)

// VectorCounter counts what of a vector came for one service, since the filter was loaded. Dropped and Would are parts of
// Packets.
type VectorCounter struct {
	Service string `json:"service"` // empty: for no service, or it cannot be told
	Vector  Vector `json:"vector"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`   // of the frames
	Dropped uint64 `json:"dropped"` // packets
	Would   uint64 `json:"would"`   // packets that mode monitor let pass
	Armed   bool   `json:"armed"`   // a defence that rests in peace time is active: SYN cookies, looking for sessions
}
