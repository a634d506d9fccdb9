package proxy

import (
	"golang.org/x/sys/unix"
)

// openRing gives a worker its ring, in its thread. Without one every session is read by itself.
func (w *worker) openRing() {
	r, err := newRing()
	if err == nil {
		if err = r.enable(); err != nil {
			r.close()
		}
	}
	if err != nil {
		w.engine.options.Log.Info("sessions are read one by one", "worker", w.number, "err", err)
		return
	}
	w.ring = r
}

// join puts a side that has bytes, and nothing else to tell, on the list of those that are relayed together. It reports whether it did.
func (w *worker) join(t token, events uint32) bool {
	if w.ring == nil || (t.kind != kindClient && t.kind != kindOrigin) || events&^unix.EPOLLOUT != unix.EPOLLIN {
		return false
	}
	s := w.sessions.at(t.index, t.generation)
	if s == nil || !s.relayable(t.kind) {
		return false
	}
	w.batch = append(w.batch, t)
	return true
}

// relayable tells whether bytes of a side can go to the other at once, and are none of a bulk stream.
func (s *session) relayable(k kind) bool {
	from, to := s.ends(k)
	return s.state == stateOpen && from.full == 0 && !from.hup && !from.eof && !from.blocked() && !to.blocked()
}

// relayBatch relays for those on the list, as many at once as the ring takes. For a single one the ring saves nothing.
func (w *worker) relayBatch() {
	for rest := w.batch; len(rest) > 0; {
		some := rest[:min(len(rest), ringSlots)]
		rest = rest[len(some):]
		if len(some) == 1 || w.ring == nil {
			for _, t := range some {
				w.handle(t, unix.EPOLLIN)
			}
			continue
		}
		w.relayTogether(some)
	}
	w.batch = w.batch[:0]
}

// relayTogether reads all sides, then gives to all others what came. Only then sessions may end: descriptors that are in the ring's
// hands stay what they are. A side that became another since it joined is as one whose read was interrupted.
func (w *worker) relayTogether(batch []token) {
	var came [ringSlots]int32
	r := w.ring
	for slot, t := range batch {
		r.result[slot] = -int32(unix.EINTR)
		if s := w.sessions.at(t.index, t.generation); s != nil && s.relayable(t.kind) {
			from, _ := s.ends(t.kind)
			r.receive(slot, from.fd)
		}
	}
	r.submit()
	came = r.result
	for slot, t := range batch {
		if n := int(came[slot]); n > 0 {
			s := w.sessions.at(t.index, t.generation)
			_, to := s.ends(t.kind)
			s.moved(to, n)
			r.send(slot, to.fd, n)
		}
	}
	r.submit()
	for slot, t := range batch {
		if s := w.sessions.at(t.index, t.generation); s != nil {
			s.relayed(t.kind, r.buffer(slot), came[slot], r.result[slot])
		}
	}
}

// relayed goes on with a side of which came bytes were read, and sent of them were taken by the other; below 0 each is an errno.
func (s *session) relayed(k kind, b []byte, came, sent int32) {
	from, to := s.ends(k)
	var more, alive bool
	if came > 0 {
		more, alive = came == ringRead, s.sent(to, b[:came], int(sent), errnoOf(sent))
	} else {
		more, alive = s.nothing(from, to, errnoOf(came))
	}
	if more && alive {
		s.pump(from, to)
	}
}

func errnoOf(result int32) unix.Errno { return unix.Errno(max(-result, 0)) } //nolint:gosec // not negative
