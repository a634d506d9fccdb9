// Package status is what edge observes and reports upward: counters, conditions, origins, sessions, events.
// It holds types and their JSON only, and shares none of them with settings or plan: what is wanted and what is
// seen are different things.
package status

import (
	"net/netip"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

// Edge is the state of the data plane at one moment.
type Edge struct {
	Version    string             `json:"version"`
	Started    time.Time          `json:"started"`
	Revision   uint64             `json:"revision"` // of the plan in force; 0: none yet
	Plan       string             `json:"plan"`     // fingerprint of the plan in force, hex; empty: none yet
	Bans       string             `json:"bans"`     // fingerprint of the bans in force; empty: none
	Conditions []health.Condition `json:"conditions"`
	Services   []Service          `json:"services"`
	Pools      []Pool             `json:"pools"`
	Reasons    []ReasonCounter    `json:"reasons"` // those that are not zero
	Steering   Steering           `json:"steering"`
	Limits     plan.Limits        `json:"limits"` // as in force, lowered to what the file descriptors allow
	Events     EventCounters      `json:"events"`
	Interfaces []Interface        `json:"interfaces"`
	Shield     Shield             `json:"shield"`
	Gateways   []netip.Addr       `json:"gateways"` // the routers that the box's routes lead to
}

// Service counts one service since edge started.
type Service struct {
	Name            string `json:"name"`
	Sessions        int64  `json:"sessions"` // open now
	Flows           int64  `json:"flows"`    // alive now
	SessionsOpened  uint64 `json:"sessionsOpened"`
	FlowsOpened     uint64 `json:"flowsOpened"`
	BytesToOrigin   uint64 `json:"bytesToOrigin"` // payload, without PROXY headers
	BytesToClient   uint64 `json:"bytesToClient"`
	DatagramsToOrig uint64 `json:"datagramsToOrigin"`
	DatagramsToCli  uint64 `json:"datagramsToClient"`
}

// ReasonCounter counts the closes and drops of one reason.
type ReasonCounter struct {
	Reason   Reason        `json:"reason"`
	Code     int           `json:"code"`
	Protocol plan.Protocol `json:"protocol"`
	Count    uint64        `json:"count"`
}

// Pool is the state of an origin pool.
type Pool struct {
	Name            string       `json:"name"`
	Panic           bool         `json:"panic"`           // every origin is down, so all are used
	SourceAddresses []netip.Addr `json:"sourceAddresses"` // those of the plan that the box has; empty: what the route gives
	Origins         []Origin     `json:"origins"`
}

// Origin is the state of one address of an origin. An origin with a DNS name has one entry an address.
type Origin struct {
	Name     string     `json:"name"`
	Address  string     `json:"address"` // IP address, with the port when it is fixed; empty: not resolved yet
	State    plan.State `json:"state"`   // as wanted
	Up       bool       `json:"up"`
	Why      string     `json:"why"`   // what the last check or connect said, in words
	Since    time.Time  `json:"since"` // of the last change of Up
	Sessions int64      `json:"sessions"`
	Chosen   uint64     `json:"chosen"`   // how often it was chosen
	Failed   uint64     `json:"failed"`   // connects of clients that failed
	Portless uint64     `json:"portless"` // connects of clients for which the box had no source port left
	HungUp   uint64     `json:"hungUp"`   // sessions that it ended soon, without a word
	Checks   uint64     `json:"checks"`
	Failures uint64     `json:"failures"` // checks that failed
}

// Steering is the state of the kernel objects that bring packets to the engines.
type Steering struct {
	Checked time.Time `json:"checked"` // when they were last compared with the plan
	Repairs uint64    `json:"repairs"` // how often something was missing and put back
}

// EventCounters tell how many events were sent, and how many a slow reader lost.
type EventCounters struct {
	Sent uint64 `json:"sent"`
	Lost uint64 `json:"lost"`
}

// FlowState is what the engines tell the shield of a flow.
type FlowState uint8

// The states.
const (
	FlowBegun  FlowState = iota
	FlowProven           // its client has spoken after an answer, twice
	FlowOver
)

// Session is one TCP session or one UDP flow.
type Session struct {
	ID            ID             `json:"id"`
	Protocol      plan.Protocol  `json:"protocol"`
	Path          plan.Path      `json:"path"` // the engine that carries it: kernel or user
	Service       string         `json:"service"`
	Client        netip.AddrPort `json:"client"`        // the player
	Peer          netip.AddrPort `json:"peer,omitzero"` // the load balancer in front, when there is one
	Edge          netip.AddrPort `json:"edge"`          // what the player dialled
	Origin        string         `json:"origin"`        // name
	OriginAddress netip.AddrPort `json:"originAddress"` // zero while none is chosen
	Started       time.Time      `json:"started"`
	Idle          float64        `json:"idleSeconds"`   // since the last byte, to about a second
	BytesToOrigin uint64         `json:"bytesToOrigin"` // payload
	BytesToClient uint64         `json:"bytesToClient"`
	State         string         `json:"state"` // header, connecting, open, half-closed
}

// EventType tells the two events of a session apart.
type EventType string

// The event types. Each session and flow has exactly one of each. A TCP client that was refused has both at once; a
// refused datagram is only counted, as a flood of them would otherwise become a flood of events.
const (
	Connect    EventType = "connect"
	Disconnect EventType = "disconnect"
)

// Event is the begin or the end of a session or flow. Reason and Code are set on disconnect only.
type Event struct {
	Time   time.Time `json:"time"`
	Type   EventType `json:"type"`
	Reason *Reason   `json:"reason,omitempty"`
	Code   int       `json:"code,omitempty"`
	Session
}

// SessionList is a window of the sessions and flows.
type SessionList struct {
	Total    int       `json:"total"`    // how many there are
	Matched  int       `json:"matched"`  // how many of them the query asked for
	Sessions []Session `json:"sessions"` // the window of those
}
