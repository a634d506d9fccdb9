package plan

import (
	"net/netip"
	"time"
)

// Try asks for one connection from the box, with the bytes that a client's session would begin with.
type Try struct {
	Network Protocol `json:"network"`
	Address string   `json:"address"` // address:port or name:port
	// Header is a TCPHeader or UDPHeader, as Network says; empty: none.
	Header string         `json:"header"`
	TLVs   TLVs           `json:"tlvs,omitzero"`
	Client netip.AddrPort `json:"client,omitzero"` // whom the header names; needed for a header
	Edge   netip.AddrPort `json:"edge,omitzero"`   // what that client dialled; needed for a header
	Send   []byte         `json:"send,omitempty"`  // behind the header, at most MaxTrySend bytes
	Wait   int            `json:"wait,omitempty"`  // ms to wait for an answer; 0: DefaultTryWait
}

// The bounds of a Try.
const (
	MaxTrySend     = 1200 // bytes behind the header: a datagram without fragments
	MaxTryTime     = 5 * time.Second
	DefaultTryWait = time.Second // for an answer
)
