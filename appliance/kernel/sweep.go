package kernel

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"breakwater/appliance/status"
)

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

const (
	// lingerLong is how long an origin that closed first remembers the port (Linux: TCP_TIMEWAIT_LEN), with some more.
	lingerLong = 61 * time.Second
	// unproven is how long a client may leave the answer to its SYN unanswered: nearly all of those that do were never there.
	// Linux repeats that answer for a minute, but who hears none of the first four, over 15 s, cannot play either.
	unproven = 20 * time.Second
	// linger is for what is still under way when a session has ended.
	linger = 10 * time.Second
	// quarantine is how long receivers of v2-first may remember a port, with some more (appliance/proxy/quarantine.go).
	quarantine = 31 * time.Minute
)

// sweep looks at every slot: what moved, what is idle, what can be given back.
func (k *Path) sweep() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := k.readEvents() // what slots have is compared with all that was reported
	clock := now()
	err := k.each(func(slot uint32, s *bpfSession) {
		failed = errors.Join(failed, k.sweepSlot(clock, slot, s))
	})
	return errors.Join(err, failed)
}

// asReported tells whether a slot has the session that it should have by what was reported, or if not, whether that has to be believed
// by now. A slot whose session has begun and ended unseen is as it should be.
func (k *Path) asReported(clock uint64, slot uint32, s *bpfSession, n *seen) bool {
	has := s.Id
	if s.State == stateFree || s.State == stateClosed && n.id == 0 {
		has = 0
	}
	if n.id == has {
		delete(k.ledger.doubts, slot)
		return true
	}
	if !k.ledger.settled(slot, has, clock) {
		return false
	}
	k.missed(n)
	return true
}

func (k *Path) sweepSlot(clock uint64, slot uint32, s *bpfSession) error {
	since := func(at uint64) time.Duration { return time.Duration(clock - min(at, clock)) } //nolint:gosec // a difference
	n := k.ledger.slot(slot)
	if !k.asReported(clock, slot, s, n) {
		return nil
	}
	known := n.id == s.Id
	switch s.State {
	case stateSYN, stateOpen:
		if !known {
			k.begin(slot, s, false) // its event was lost
		}
		k.moved(slot, s)
		k.countSource(n, s) // as above
		k.good(n, s, clock)
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
		return status.Normal, since(s.Active) > t.IdleFlow(s.Rounds >= provenRounds)
	case s.State == stateSYN:
		return status.ConnectTimeout, since(s.Started) > t.Connect
	case s.Side[client].Flags&sideProven == 0 && since(s.Started) > unproven:
		return status.ClientTimeout, true
	case t.FirstByte > 0 && s.Side[client].Bytes == 0 && since(s.Started) > t.FirstByte:
		return status.FirstByteTimeout, true
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
