package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// Status adds what the kernel path knows to what the user path has said.
func (k *Path) Status(into *status.Edge) error {
	// Bytes are those of now, and what is said of origins is what new clients get.
	if err := errors.Join(k.sweep(), k.refresh()); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for number, ours := range k.ledger.services {
		name := k.names.service(number)
		for i := range into.Services {
			if s := &into.Services[i]; s.Name == name {
				s.Sessions += ours.Sessions
				s.Flows += ours.Flows
				s.SessionsOpened += ours.SessionsOpened
				s.FlowsOpened += ours.FlowsOpened
				s.BytesToOrigin += ours.BytesToOrigin
				s.BytesToClient += ours.BytesToClient
				s.DatagramsToOrig += ours.DatagramsToOrig
				s.DatagramsToCli += ours.DatagramsToCli
			}
		}
	}
	for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		for r, n := range k.ledger.reasons[protocol] {
			addReason(into, protocol, status.Reason(r), n) //nolint:gosec // far fewer
		}
	}
	return errors.Join(k.addDrops(into), k.shieldStatus(into))
}

func addReason(into *status.Edge, protocol plan.Protocol, reason status.Reason, n uint64) {
	addCounter(&into.Reasons, protocol, reason, n)
}

func addCounter(into *[]status.ReasonCounter, protocol plan.Protocol, reason status.Reason, n uint64) {
	if n == 0 {
		return
	}
	for i := range *into {
		if r := &(*into)[i]; r.Reason == reason && r.Protocol == protocol {
			r.Count += n
			return
		}
	}
	*into = append(*into, status.ReasonCounter{Reason: reason, Code: reason.Code(), Protocol: protocol, Count: n})
}

func sizeOf[T any](v T) uint32 { return uint32(unsafe.Sizeof(v)) } //nolint:gosec // of a small struct

// dropReasons are the reasons of the program's drops, in the order of bpf/layout.h.
var dropReasons = [...]status.Reason{
	status.Fragment, status.Malformed, status.OutOfWindow, status.HopLimit, status.Internal, status.Oversize, status.Amplification,
	status.BadSPP, status.OriginUnreachable, status.Internal, status.Bogon,
}

// addDrops adds the packets that the program dropped.
func (k *Path) addDrops(into *status.Edge) error {
	for p, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		for i, reason := range dropReasons {
			n, err := sum(k.objects.Drops, uint32(p*len(dropReasons)+i)) //nolint:gosec // far fewer
			if err != nil {
				return err
			}
			addReason(into, protocol, reason, n)
		}
	}
	return nil
}

// sum adds up what the cores have counted.
func sum(counts *ebpf.Map, key uint32) (n uint64, err error) {
	var cores []uint64
	if err := counts.Lookup(key, &cores); err != nil {
		return 0, fmt.Errorf("read the counts of the kernel path: %w", err)
	}
	for _, c := range cores {
		n += c
	}
	return n, nil
}
