package status

import "net/netip"

// Interface is one network interface of the box.
type Interface struct {
	Name      string         `json:"name"`
	MAC       string         `json:"mac"`
	Up        bool           `json:"up"`      // as wanted
	Running   bool           `json:"running"` // there is a carrier
	Addresses []netip.Prefix `json:"addresses"`
	Speed     int            `json:"speed"`  // Mbit/s; 0: unknown
	Driver    string         `json:"driver"` // of the kernel, such as ixgbe; empty: unknown
	Rx        Counters       `json:"rx"`
	Tx        Counters       `json:"tx"`
}

// Counters are those of one direction of an interface.
type Counters struct {
	Bytes   uint64 `json:"bytes"`
	Packets uint64 `json:"packets"`
	Drops   uint64 `json:"drops"`
}
