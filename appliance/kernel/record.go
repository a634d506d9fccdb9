package kernel

import (
	"net/netip"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// record is a session as status tells it.
func (k *Path) record(s *bpfSession) status.Session {
	clock := now()
	r := status.Session{
		ID: status.ID(s.Id), Protocol: protocolOf(s), Service: k.names.service(s.Service), Origin: k.names.origin(s.Origin),
		Client: addrPort(s.Side[client].Address, s.Side[client].Port), Edge: addrPort(s.Side[client].Own, s.Side[client].OwnPort),
		OriginAddress: addrPort(s.Side[originSide].Address, s.Side[originSide].Port),
		Started:       wallTime(s.Started), Idle: time.Duration(clock - min(s.Active, clock)).Seconds(), //nolint:gosec // a difference
		BytesToOrigin: s.Side[client].Bytes, BytesToClient: s.Side[originSide].Bytes, Path: plan.PathKernel,
	}
	switch {
	case s.State == stateSYN && s.Protocol == protocolTCP:
		r.State = "connecting"
	case (s.Side[client].Flags|s.Side[originSide].Flags)&sideFIN != 0:
		r.State = "half-closed"
	default:
		r.State = "open"
	}
	return r
}

// addrPort reads an address and a port in network order.
func addrPort(address [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port<<8|port>>8)
}
