package settings

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
)

// Shield is the front filter: what is dropped before the kernel spends anything on it.
type Shield struct {
	Mode        string `json:"mode,omitempty"`        // on (default), monitor (counts what it would drop, and lets it pass), off
	Fragments   string `json:"fragments,omitempty"`   // parts of IP packets: limit (default, 5000 a second and core), pass, drop
	Bogons      bool   `json:"bogons,omitempty"`      // drop private and reserved source addresses too; not where clients come from a local network
	Sensitivity string `json:"sensitivity,omitempty"` // how little above what is usual becomes an incident: low, normal (default), high; what is dropped does not depend on it
	// Rules about source addresses, from the one of most weight to the one of least. What the box depends on is always let in.
	Allow     []SourceRule `json:"allow,omitempty"` // let in whatever the others say
	Deny      []SourceRule `json:"deny,omitempty"`
	Lists     []List       `json:"lists,omitempty"` // those with action allow first, then in their order
	Networks  Networks     `json:"networks,omitzero"`
	Countries Countries    `json:"countries,omitzero"`
}

// ServiceShield is what the filter asks of the packets of one service.
type ServiceShield struct {
	Reflectors  string       `json:"reflectors,omitempty"`  // datagrams from ports of servers that are made to answer to others: drop (default), pass
	SYNCookies  string       `json:"synCookies,omitempty"`  // answer first packets of connections without remembering them: auto (default, while there are too many), on, off
	SYNRate     int          `json:"synRate,omitempty"`     // so many a second are not yet too many
	PacketRules []PacketRule `json:"packetRules,omitempty"` // in order: the first that drops or passes a packet decides
}

// PacketRule matches the packets that are all it says. It looks at each by itself, also within sessions and flows.
type PacketRule struct {
	Name        string `json:"name"`
	Protocol    string `json:"protocol,omitempty"`   // tcp, udp; default: both
	MinLength   int    `json:"minLength,omitempty"`  // bytes of payload
	MaxLength   int    `json:"maxLength,omitempty"`  // default: no limit
	SourcePorts Ports  `json:"sourcePorts,omitzero"` // default: any
	MinTTL      int    `json:"minTtl,omitempty"`     // time to live, or hop limit
	MaxTTL      int    `json:"maxTtl,omitempty"`     // default 255
	Payload     string `json:"payload,omitempty"`    // what it begins with, at most 16 bytes in hex; ?? is any byte: "ffffffff 54 ??"
	Action      string `json:"action,omitempty"`     // drop (default), pass (without further checks), count
}

// The bounds of packet rules; those of package kernel are the same.
const (
	maxRules       = 16
	maxRulePayload = 16
	maxAllRules    = 2048
	maxPayload     = 65535
)

// defaultSYNRate is far above what a game server gets, tens a second, and little for a server behind: a backlog of 4096 lasts 8 s.
// Being armed too early costs next to nothing, as a cookie's client goes the user path and notices nothing.
const defaultSYNRate = 500

func (s Shield) withDefaults() Shield {
	s.Mode = cmp.Or(s.Mode, "on")
	s.Fragments = cmp.Or(s.Fragments, "limit")
	s.Sensitivity = cmp.Or(s.Sensitivity, "normal")
	return s.sourceDefaults()
}

func (s ServiceShield) withDefaults() ServiceShield {
	s.Reflectors = cmp.Or(s.Reflectors, "drop")
	s.SYNCookies = cmp.Or(s.SYNCookies, "auto")
	s.SYNRate = cmp.Or(s.SYNRate, defaultSYNRate)
	s.PacketRules = slices.Clone(s.PacketRules)
	for i := range s.PacketRules {
		r := &s.PacketRules[i]
		r.MaxLength = cmp.Or(r.MaxLength, maxPayload)
		r.MaxTTL = cmp.Or(r.MaxTTL, 255)
		r.Action = cmp.Or(r.Action, "drop")
	}
	return s
}

func (v *validator) shield(at path, s Shield) {
	v.oneOf(at.field("mode"), s.Mode, "on", "monitor", "off")
	v.oneOf(at.field("fragments"), s.Fragments, "limit", "pass", "drop")
	v.oneOf(at.field("sensitivity"), s.Sensitivity, "low", "normal", "high")
	v.sources(at, s)
	rules := 0
	for _, s := range v.s.Services {
		rules += len(s.Shield.PacketRules)
	}
	v.atMost("services", rules, maxAllRules, "packet rules in all")
}

func (v *validator) serviceShield(at path, s ServiceShield) {
	v.oneOf(at.field("reflectors"), s.Reflectors, "drop", "pass")
	v.oneOf(at.field("synCookies"), s.SYNCookies, "auto", "on", "off")
	v.between(at.field("synRate"), s.SYNRate, 1, 1_000_000, " a second")
	at = at.field("packetRules")
	seen := map[string]path{}
	for i, r := range cut(v, at, s.PacketRules, maxRules, "packet rules") {
		v.packetRule(at.index(i), r)
		v.unique(at.index(i).field("name"), r.Name, seen)
	}
}

func (v *validator) packetRule(at path, r PacketRule) {
	if wrong := nameProblem(r.Name, maxName); wrong != "" {
		v.add(at.field("name"), "%s", wrong)
	}
	if r.Protocol != "" {
		v.oneOf(at.field("protocol"), r.Protocol, "tcp", "udp")
	}
	v.oneOf(at.field("action"), r.Action, "drop", "pass", "count")
	v.between(at.field("minLength"), r.MinLength, 0, maxPayload, "")
	v.between(at.field("maxLength"), r.MaxLength, 0, maxPayload, "; left out there is no limit")
	v.between(at.field("minTtl"), r.MinTTL, 0, 255, "")
	v.between(at.field("maxTtl"), r.MaxTTL, 1, 255, "")
	if r.MinLength > r.MaxLength {
		v.add(at.field("minLength"), "is more than maxLength, so no packet is like that")
	}
	if r.MinTTL > r.MaxTTL {
		v.add(at.field("minTtl"), "is more than maxTtl, so no packet is like that")
	}
	if _, _, wrong := r.Bytes(); wrong != "" {
		v.add(at.field("payload"), "%s", wrong)
	}
	if r.Action == "drop" && r.everything() {
		v.add(at, "matches every packet, so no client could reach the service; say what it is about, or take the service away")
	}
}

// everything tells whether the rule leaves nothing out.
func (r PacketRule) everything() bool {
	return r.Protocol == "" && r.MinLength == 0 && r.MaxLength == maxPayload && (r.SourcePorts == Ports{} || r.SourcePorts == Ports{1, 65535}) &&
		r.MinTTL <= 1 && r.MaxTTL == 255 && strings.Trim(r.Payload, "? ") == ""
}

// Bytes are what the payload begins with, and which of them count: 0xff, or 0 for any byte. wrong is a sentence.
func (r PacketRule) Bytes() (bytes, mask []byte, wrong string) {
	text := strings.ReplaceAll(r.Payload, " ", "")
	if len(text)%2 != 0 || len(text) > 2*maxRulePayload {
		return nil, nil, quote(r.Payload) + " is not 1 to 16 bytes in hex; write it like \"ffffffff 54 ??\", two digits a byte, ?? for any"
	}
	for pair := range slices.Chunk([]byte(text), 2) {
		if string(pair) == "??" {
			bytes, mask = append(bytes, 0), append(mask, 0)
			continue
		}
		b, err := hex.DecodeString(string(pair))
		if err != nil {
			return nil, nil, quote(r.Payload) + " has " + quote(string(pair)) + ", which is no byte in hex; write it like \"ffffffff 54 ??\""
		}
		bytes, mask = append(bytes, b[0]), append(mask, 0xff)
	}
	return bytes, mask, ""
}
