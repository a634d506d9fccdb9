package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// The numbers of bpf/layout.h.
const (
	layout = 1

	eventBegin, eventAnswered, eventEnd = 1, 2, 3

	stateFree, stateSYN, stateOpen, stateClosed = 0, 1, 2, 3

	sideFIN, sideFINAcked, sideSpoke = 1, 2, 4

	sessionV4, sessionHeaded, sessionTransparent, sessionLong, sessionKilled = 1, 2, 4, 8, 16
	sessionFirstOnly                                                         = 64

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
}

// seen is what was known of the session in a slot when it was last looked at. id 0: of none.
type seen struct {
	id               uint64
	bytes, datagrams [2]uint64 // by side
	service          uint32
	origin, place    uint32
}

func newLedger() ledger {
	return ledger{
		services: make(map[uint32]*status.Service), perOrigin: make(map[uint32]int64), perPlace: make(map[uint32]int64),
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
	*n = seen{id: s.Id, service: s.Service, origin: s.Origin, place: s.Place}
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
	if o := k.tables.origins[s.Origin]; o != nil {
		o.Took(!found)
	}
	if !found {
		k.report(status.Connect, s, 0)
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
	l := &k.ledger
	k.moved(slot, s)
	n := l.slot(slot)
	service := l.service(n.service)
	if s.Protocol == protocolUDP {
		service.Flows--
	} else {
		service.Sessions--
	}
	k.options.Count(k.names.service(n.service), protocolOf(s), -1)
	l.perOrigin[n.origin]--
	l.perPlace[n.place]--
	reason := reasonOf(s)
	l.reasons[protocolOf(s)][reason]++
	if o := k.tables.origins[n.origin]; o != nil {
		switch reason { //nolint:exhaustive // the others say nothing of the origin
		case status.OriginRefused, status.ConnectTimeout, status.NetworkUnreachable:
			o.Failed(reason)
		}
		o.Release()
	}
	*n = seen{}
	k.report(status.Disconnect, s, reason)
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

// each shows every slot that was ever used, as it is now.
func (k *Path) each(visit func(slot uint32, s *bpfSession)) error {
	var totals bpfTotal
	if err := k.objects.Totals.Lookup(uint32(0), &totals); err != nil {
		return fmt.Errorf("read the totals of the kernel path: %w", err)
	}
	const block = 256
	buffer := make([]byte, block*sessionSize)
	used := uint32(min(totals.Fresh, uint64(k.objects.slots))) //nolint:gosec // bounded
	for first := uint32(0); first < used; first += block {
		count := min(block, used-first)
		part := buffer[:count*sessionSize]
		if _, err := k.objects.memory.ReadAt(part, int64(first)*sessionSize); err != nil {
			return fmt.Errorf("read the sessions of the kernel path: %w", err)
		}
		for i := range count {
			visit(first+i, (*bpfSession)(unsafe.Pointer(&part[i*sessionSize]))) //nolint:gosec // of that size, in our own memory
		}
	}
	return nil
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

const (
	// lingerLong is how long an origin that closed first remembers the port (Linux: TCP_TIMEWAIT_LEN), with some more.
	lingerLong = 61 * time.Second
	// linger is for what is still under way when a session has ended.
	linger = 10 * time.Second
	// quarantine is how long receivers of v2-first may remember a port, with some more (appliance/proxy/quarantine.go).
	quarantine = 31 * time.Minute
)

// sweep looks at every slot: what moved, what is idle, what can be given back.
func (k *Path) sweep() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var failed error
	clock := now()
	err := k.each(func(slot uint32, s *bpfSession) {
		failed = errors.Join(failed, k.sweepSlot(clock, slot, s))
	})
	return errors.Join(err, failed)
}

func (k *Path) sweepSlot(clock uint64, slot uint32, s *bpfSession) error {
	since := func(at uint64) time.Duration { return time.Duration(clock - min(at, clock)) } //nolint:gosec // a difference
	known := k.ledger.slot(slot).id == s.Id
	switch s.State {
	case stateSYN, stateOpen:
		if !known {
			k.begin(slot, s, false) // its event was lost
		}
		k.moved(slot, s)
		reason, over := k.timedOut(s, since)
		if !over {
			return nil
		}
		return k.end(slot, s, reason, reason != status.Normal && reason != status.ConnectTimeout)
	case stateClosed:
		if known {
			k.over(slot, s) // as above
		}
		wait := linger
		switch {
		case s.Flags&sessionFirstOnly != 0:
			wait = quarantine
		case s.Flags&sessionLong != 0:
			wait = lingerLong
		}
		if since(s.Active) < wait {
			return nil
		}
		_, err := k.call(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1})
		return err
	}
	return nil
}

// timedOut tells whether the time of a session is over, and which.
func (k *Path) timedOut(s *bpfSession, since func(uint64) time.Duration) (status.Reason, bool) {
	t, known := k.tables.timeouts[s.Service]
	if !known {
		return 0, false
	}
	switch {
	case s.Protocol == protocolUDP:
		return status.Normal, since(s.Active) > t.FlowIdle
	case s.State == stateSYN:
		return status.ConnectTimeout, since(s.Started) > t.Connect
	case stalled(s) && since(stalledSince(s)) > t.WriteStall:
		return status.WriteStall, true
	case (s.Side[client].Flags|s.Side[originSide].Flags)&sideFIN != 0 && since(s.Active) > t.HalfClose:
		return status.HalfCloseTimeout, true
	}
	return status.Idle, since(s.Active) > t.Idle
}

// stalled tells whether a side takes no byte: it offered no room, and has not offered any since.
func stalled(s *bpfSession) bool { return s.Side[client].Stalled|s.Side[originSide].Stalled != 0 }

func stalledSince(s *bpfSession) uint64 {
	a, b := s.Side[client].Stalled, s.Side[originSide].Stalled
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// end ends a session, with RST to both sides or silently.
func (k *Path) end(slot uint32, s *bpfSession, reason status.Reason, reset bool) error {
	e := bpfEnding{Slot: slot, Generation: s.Generation, Reason: uint32(reason)}
	if reset {
		e.Flags = sessionKilled
	}
	done, err := k.call(e)
	if err != nil || !done || !reset || s.Protocol != protocolTCP {
		return err
	}
	return sendResets(s)
}

// call runs the program that ends sessions.
func (k *Path) call(e bpfEnding) (done bool, err error) {
	if _, err := k.objects.End.Run(&ebpf.RunOptions{Context: &e, ContextOut: &e}); err != nil {
		return false, fmt.Errorf("end a session of the kernel path: %w", err)
	}
	return e.Done != 0, nil
}

// Kill ends a session with RST to both sides, or forgets a flow, and reports whether there was one.
func (k *Path) Kill(id status.ID) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found bool
	var failed error
	err := k.each(func(slot uint32, s *bpfSession) {
		if status.ID(s.Id) == id && (s.State == stateSYN || s.State == stateOpen) {
			found = true
			failed = k.end(slot, s, status.Killed, true)
		}
	})
	return found, errors.Join(err, failed)
}

// Sessions shows every session and flow to visit, which must not keep the pointer.
func (k *Path) Sessions(visit func(*status.Session)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.each(func(_ uint32, s *bpfSession) {
		if s.State == stateSYN || s.State == stateOpen {
			record := k.record(s)
			visit(&record)
		}
	})
}

// record is a session as status tells it.
func (k *Path) record(s *bpfSession) status.Session {
	r := status.Session{
		ID: status.ID(s.Id), Protocol: protocolOf(s), Service: k.names.service(s.Service), Origin: k.names.origin(s.Origin),
		Client: addrPort(s.Side[client].Address, s.Side[client].Port), Edge: addrPort(s.Side[client].Own, s.Side[client].OwnPort),
		OriginAddress: addrPort(s.Side[originSide].Address, s.Side[originSide].Port),
		Started:       wallTime(s.Started), Idle: time.Duration(now() - min(s.Active, now())).Seconds(), //nolint:gosec // a difference
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
