package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// The numbers of bpf/layout.h.
const (
	layout = 2 // of the maps of sessions
	others = 2 // of all other maps, besides what their sizes tell

	eventBegin, eventAnswered, eventEnd, eventProven = 1, 2, 3, 4

	stateFree, stateSYN, stateOpen, stateClosed = 0, 1, 2, 3

	sideFIN, sideFINAcked, sideSpoke, sideProven = 1, 2, 4, 8

	sessionV4, sessionHeaded, sessionTransparent, sessionLong, sessionKilled = 1, 2, 4, 8, 16
	sessionFirstOnly                                                         = 64
	sessionCounted                                                           = 256

	client, originSide = 0, 1

	protocolTCP, protocolUDP = 6, 17
)

// ledger is what was seen of sessions so far. The program reports begins and ends; what it had no room to report, or said
// while no process was there, is found by looking at the slots.
type ledger struct {
	seen      []seen // by slot
	services  map[uint32]*status.Service
	reasons   map[plan.Protocol]*[status.ReasonCount]uint64
	perOrigin map[uint32]int64 // sessions and flows now, by number of the origin
	perPlace  map[uint32]int64
	doubts    map[uint32]doubt // by slot
}

// doubt is that a slot has another session than was reported, or none: the report may be on its way.
type doubt struct{ id, since uint64 }

// settled tells whether that is so for long enough: then the report was lost.
func (l *ledger) settled(slot uint32, id, clock uint64) bool {
	d, there := l.doubts[slot]
	if !there || d.id != id {
		l.doubts[slot] = doubt{id, clock}
		return false
	}
	if clock-d.since < uint64(eventsEvery) {
		return false
	}
	delete(l.doubts, slot)
	return true
}

// seen is what was known of the session in a slot when it was last looked at. id 0: of none.
type seen struct {
	id               uint64
	bytes, datagrams [2]uint64 // by side
	service          uint32
	origin, place    uint32
	taken            *origin.Origin // that counts it; nil: the plan has not told yet where it is
	good             uint64         // when the shield was told of its client; 0: not yet
	udp              bool
	source           netip.Addr // the client, if the user path counts it for the limits of single sources
}

func newLedger() ledger {
	return ledger{
		services: make(map[uint32]*status.Service), perOrigin: make(map[uint32]int64), perPlace: make(map[uint32]int64),
		doubts:  make(map[uint32]doubt),
		reasons: map[plan.Protocol]*[status.ReasonCount]uint64{plan.TCP: {}, plan.UDP: {}},
	}
}

func (l *ledger) slot(slot uint32) *seen {
	for int(slot) >= len(l.seen) {
		l.seen = append(l.seen, seen{})
	}
	return &l.seen[slot]
}

func (l *ledger) service(number uint32) *status.Service {
	s := l.services[number]
	if s == nil {
		s = &status.Service{}
		l.services[number] = s
	}
	return s
}

func protocolOf(s *bpfSession) plan.Protocol {
	if s.Protocol == protocolUDP {
		return plan.UDP
	}
	return plan.TCP
}

// begin counts a session that was not known. found: by a look at the slots, of the time before this process.
func (k *Path) begin(slot uint32, s *bpfSession, found bool) {
	l := &k.ledger
	n := l.slot(slot)
	k.missed(n)
	*n = seen{id: s.Id, service: s.Service, origin: s.Origin, place: s.Place, udp: s.Protocol == protocolUDP}
	service := l.service(s.Service)
	if s.Protocol == protocolUDP {
		service.Flows++
	} else {
		service.Sessions++
	}
	k.options.Count(k.names.service(s.Service), protocolOf(s), 1)
	l.perOrigin[s.Origin]++
	l.perPlace[s.Place]++
	if found {
		n.bytes, n.datagrams = bytesOf(s), datagramsOf(s)
	} else if s.Protocol == protocolUDP {
		service.FlowsOpened++
	} else {
		service.SessionsOpened++
	}
	if n.taken = k.tables.origins[s.Origin]; n.taken != nil {
		n.taken.Took(!found)
	}
	if !found {
		k.report(status.Connect, s, 0)
	}
	k.countSource(n, s)
}

// countSource tells the user path, once, of a session that counts for the limits of its client, whose address is proven: what
// only claims to be from there must not take its place.
func (k *Path) countSource(n *seen, s *bpfSession) {
	if s.Flags&sessionCounted == 0 || s.Side[client].Flags&sideProven == 0 || n.source.IsValid() || s.State == stateClosed {
		return
	}
	n.source = netip.AddrFrom16(s.Side[client].Address).Unmap()
	k.options.CountSource(k.names.service(n.service), n.source, 1)
}

// adopt counts sessions of the time before this process at their origins, once the plan tells who these are.
func (k *Path) adopt() {
	for i := range k.ledger.seen {
		n := &k.ledger.seen[i]
		if n.id == 0 || n.taken != nil {
			continue
		}
		if n.taken = k.tables.origins[n.origin]; n.taken != nil {
			n.taken.Took(false)
		}
	}
}

func bytesOf(s *bpfSession) [2]uint64     { return [2]uint64{s.Side[0].Bytes, s.Side[1].Bytes} }
func datagramsOf(s *bpfSession) [2]uint64 { return [2]uint64{s.Side[0].Packets, s.Side[1].Packets} }

// moved counts what a session carried since the last look.
func (k *Path) moved(slot uint32, s *bpfSession) {
	n := k.ledger.slot(slot)
	service := k.ledger.service(s.Service)
	bytes, datagrams := bytesOf(s), datagramsOf(s)
	service.BytesToOrigin += bytes[client] - n.bytes[client]
	service.BytesToClient += bytes[originSide] - n.bytes[originSide]
	if s.Protocol == protocolUDP {
		service.DatagramsToOrig += datagrams[client] - n.datagrams[client]
		service.DatagramsToCli += datagrams[originSide] - n.datagrams[originSide]
	}
	n.bytes, n.datagrams = bytes, datagrams
}

// over counts the end of a session that was known.
func (k *Path) over(slot uint32, s *bpfSession) {
	k.moved(slot, s)
	n := k.ledger.slot(slot)
	k.good(n, s, now())
	reason := reasonOf(s)
	switch reason { //nolint:exhaustive // the others say nothing of the origin
	case status.OriginRefused, status.ConnectTimeout, status.NetworkUnreachable:
		if n.taken != nil {
			n.taken.Failed(reason)
		}
	}
	k.giveBack(n, reason)
	k.report(status.Disconnect, s, reason)
}

// missed counts the end of a session of which nothing is left but what was seen of it: there was no room to report its end, and its
// slot was given back or is another's by now.
func (k *Path) missed(n *seen) {
	if n.id != 0 {
		k.giveBack(n, status.Internal) // why it ended, nobody knows any more
	}
}

// giveBack takes a session that has ended off all counts.
func (k *Path) giveBack(n *seen, reason status.Reason) {
	l, service, protocol := &k.ledger, k.ledger.service(n.service), plan.TCP
	if n.udp {
		service.Flows--
		protocol = plan.UDP
	} else {
		service.Sessions--
	}
	k.options.Count(k.names.service(n.service), protocol, -1)
	l.perOrigin[n.origin]--
	l.perPlace[n.place]--
	if n.source.IsValid() {
		k.options.CountSource(k.names.service(n.service), n.source, -1)
	}
	l.reasons[protocol][reason]++
	if n.taken != nil {
		n.taken.Release()
	}
	*n = seen{}
}

func reasonOf(s *bpfSession) status.Reason {
	if r := status.Reason(s.Reason); r < status.ReasonCount {
		return r
	}
	return status.Internal
}

// readEvents takes what the program has reported so far. k.mu is held.
func (k *Path) readEvents() error {
	for k.events.AvailableBytes() > 0 {
		err := k.events.ReadInto(&k.sample)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrClosed) {
			return nil // one is being written
		}
		if err != nil {
			return fmt.Errorf("read the events of the kernel path: %w", err)
		}
		if len(k.sample.RawSample) < int(unsafe.Sizeof(bpfEvent{})) {
			continue
		}
		e := *(*bpfEvent)(unsafe.Pointer(&k.sample.RawSample[0])) // the size was looked at, the program wrote it
		k.happened(&e)
	}
	return nil
}

// CatchUp takes into account what the program has begun and ended by now. The user path calls it before it decides about a new
// client, as limits and places are for both together. It costs a look at memory while nothing has happened.
func (k *Path) CatchUp() {
	if k.events.AvailableBytes() == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.readEvents(); err != nil {
		k.options.Log.Error("kernel path", "err", err)
	}
}

// happened takes one event into account.
func (k *Path) happened(e *bpfEvent) {
	s := &e.Session
	known := k.ledger.slot(e.Slot).id == s.Id
	switch e.Type {
	case eventBegin:
		if !known {
			k.begin(e.Slot, s, false)
		}
	case eventAnswered:
		if o := k.tables.origins[s.Origin]; o != nil {
			o.Answered()
		}
	case eventProven:
		if known {
			k.countSource(k.ledger.slot(e.Slot), s)
		}
	case eventEnd:
		if known {
			k.over(e.Slot, s)
		}
	}
}

func (k *Path) report(kind status.EventType, s *bpfSession, reason status.Reason) {
	if k.options.Wanted() {
		k.options.Publish(kind, k.record(s), reason)
	}
}

// findSessions takes over what the last process left: its sessions, not its events, which were of a time that is over.
func (k *Path) findSessions() error {
	k.ledger = newLedger()
	k.events.SetDeadline(time.Unix(1, 0))                                      // nothing ever waits for an event
	for k.events.AvailableBytes() > 0 && k.events.ReadInto(&k.sample) == nil { //nolint:revive // they are thrown away
	}
	return k.each(func(slot uint32, s *bpfSession) {
		if s.State == stateSYN || s.State == stateOpen {
			k.begin(slot, s, true)
		}
	})
}
