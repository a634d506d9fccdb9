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

const (
	// MaxTrySend bounds what a Try sends behind the header, in bytes: a datagram without fragments.
	MaxTrySend = 1200
	// MaxTryTime bounds a Try as a whole, and DefaultTryWait is how long it waits for an answer.
	MaxTryTime     = 5 * time.Second
	DefaultTryWait = time.Second
)
