package plan

import "net/netip"

// Shield is the front filter: a program that looks at every packet for an edge address before the kernel spends anything.
type Shield struct {
	Mode      ShieldMode `json:"mode"`
	Fragments Fragments  `json:"fragments"`
	Bogons    bool       `json:"bogons"` // drop source addresses that nobody on the internet has (RFC 6890)
	// Allow and Deny are the operator's rules about addresses. Allow wins, and the longest prefix of each. Protected wins over
	// both, and over every list: the networks that may manage the box.
	Allow     []netip.Prefix `json:"allow"`
	Deny      []netip.Prefix `json:"deny"`
	Protected []netip.Prefix `json:"protected"`
}

// ShieldMode is what the filter does with what it would drop. An empty mode means on: plans that older versions of control
// made have none.
type ShieldMode string

// The modes.
const (
	ShieldOn      ShieldMode = "on"
	ShieldMonitor ShieldMode = "monitor" // counts what it would drop, and lets it pass
	ShieldOff     ShieldMode = "off"     // no filter
)

// Fragments is what happens to parts of IP packets. Empty means limit.
type Fragments string

// What can happen to them.
const (
	FragmentsLimit Fragments = "limit"
	FragmentsPass  Fragments = "pass"
	FragmentsDrop  Fragments = "drop"
)

// ServiceShield is what the filter asks of the packets of one service.
type ServiceShield struct {
	Reflectors  bool         `json:"reflectors"` // drop datagrams from ports of servers that can be made to answer to others
	PacketRules []PacketRule `json:"packetRules"`
	SYNCookies  SYNCookies   `json:"synCookies"`
	SYNRate     int          `json:"synRate"` // more first packets of connections a second are too many; 0: 500
}

// PacketRule matches the packets that are all it says. The first of a service that drops or passes one decides.
type PacketRule struct {
	Name      string     `json:"name"`
	Protocol  Protocol   `json:"protocol"`  // empty: both
	MinLength int        `json:"minLength"` // bytes of payload
	MaxLength int        `json:"maxLength"`
	FirstPort uint16     `json:"firstPort"` // of the source
	LastPort  uint16     `json:"lastPort"`
	MinTTL    int        `json:"minTtl"`
	MaxTTL    int        `json:"maxTtl"`
	Bytes     []byte     `json:"bytes"` // that the payload begins with, at most 16
	Mask      []byte     `json:"mask"`  // of the same length: which bits count
	Action    RuleAction `json:"action"`
}

// RuleAction is what a packet rule does with a packet.
type RuleAction string

// The actions.
const (
	RuleDrop  RuleAction = "drop"
	RulePass  RuleAction = "pass"  // without the checks that follow
	RuleCount RuleAction = "count" // nothing
)
