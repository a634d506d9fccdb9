package proxy

import (
	"fmt"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
)

// Sessions that have bytes at the same time are relayed together, and so are flows: one system call reads for all of them, and
// another writes what came (ring.go). For a single one that saves nothing, so it goes its way alone.

// togetherRead is how much of a session is read together with others. Who has more is read again by itself.
const togetherRead = 8 << 10

// openRing gives a worker its ring, in its thread. Without one everything is read by itself.
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

// giveUpRing lets a worker go on as without io_uring, as the kernel takes nothing of its ring any more. Nothing is in its hands.
func (w *worker) giveUpRing() {
	w.engine.options.Log.Warn("sessions are read one by one from now on", "worker", w.number, "err", fmt.Errorf("enter io_uring: %w", w.ring.failed))
	w.ring.close()
	w.ring = nil
}

// join puts a side or a flow that has bytes, and nothing else to tell, on the list of those that are served together. It reports
// whether it did.
func (w *worker) join(t token, events uint32) bool {
	if w.ring == nil || events&^unix.EPOLLOUT != unix.EPOLLIN {
		return false
	}
	switch t.kind {
	case kindClient, kindOrigin:
		if s := w.sessions.at(t.index, t.generation); s == nil || !s.relayable(t.kind) {
			return false
		}
		w.sides = append(w.sides, t)
	case kindFlow:
		w.answers = append(w.answers, t)
	default:
		return false
	}
	return true
}

// serveTogether serves those on the lists.
func (w *worker) serveTogether() {
	w.inParts(&w.sides, w.relayTogether)
	w.inParts(&w.answers, w.answerTogether)
	if w.ring != nil && w.ring.failed != 0 {
		w.giveUpRing()
	}
}

// inParts serves a list, as many at once as the ring takes.
func (w *worker) inParts(list *[]token, serve func([]token)) {
	for rest := *list; len(rest) > 0; {
		some := rest[:min(len(rest), ringSlots)]
		rest = rest[len(some):]
		if len(some) == 1 {
			w.handle(some[0], unix.EPOLLIN)
			continue
		}
		serve(some)
	}
	*list = (*list)[:0]
}

// relayable tells whether bytes of a side can go to the other at once, and are none of a bulk stream.
func (s *session) relayable(k kind) bool {
	from, to := s.ends(k)
	return s.state == stateOpen && from.full == 0 && !from.hup && !from.eof && !from.blocked() && !to.blocked()
}

// relayTogether reads all sides, then gives to all others what came. Only then sessions may end: descriptors that are in the ring's
// hands stay what they are. A side that became another since it joined is as one whose read was interrupted.
func (w *worker) relayTogether(sides []token) {
	r := w.ring
	for slot, t := range sides {
		r.result[slot] = -int32(unix.EINTR)
		if s := w.sessions.at(t.index, t.generation); s != nil && s.relayable(t.kind) {
			from, _ := s.ends(t.kind)
			r.receive(slot, from.fd, togetherRead)
		}
	}
	r.submit()
	came := r.result
	for slot, t := range sides {
		if n := int(came[slot]); n > 0 {
			s := w.sessions.at(t.index, t.generation)
			_, to := s.ends(t.kind)
			s.moved(to, n)
			r.send(slot, to.fd, r.buffer(slot)[:n])
		}
	}
	r.submit()
	for slot, t := range sides {
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
		more, alive = came == togetherRead, s.sent(to, b[:came], int(sent), errnoOf(sent))
	} else {
		more, alive = s.nothing(from, to, errnoOf(came))
	}
	if more && alive {
		s.pump(from, to)
	}
}

func errnoOf(result int32) unix.Errno { return unix.Errno(max(-result, 0)) } //nolint:gosec // not negative

// forwardTogether gives the first n datagrams of a batch to their origins, at most one of a flow at a time: what becomes of one decides
// how the next one goes, or whether it begins another flow. The first one of a flow that has a header there only goes alone.
func (w *worker) forwardTogether(b *batch, n int) {
	var onWay [ringSlots]token
	table := w.engine.table.Load()
	for i := range n {
		f := w.flowOf(table, b, i)
		if f != nil && f.sending {
			w.settle(b, onWay[:i])
			f = w.flowOf(table, b, i)
		}
		switch {
		case f == nil:
		case f.service.UDPHeader == plan.UDPV2First && !f.headed:
			w.forward(f, b, i)
		default:
			onWay[i] = token{kindFlow, f.index, f.gen}
			f.sending = true
			w.ring.send(i, f.fd, w.outgoing(f, b, i))
		}
	}
	w.settle(b, onWay[:n])
}

// settle sends the datagrams that are on their way, and notes what became of them.
func (w *worker) settle(b *batch, onWay []token) {
	w.ring.submit()
	for i, t := range onWay {
		if t.kind == kindFlow {
			onWay[i] = token{}
			f := w.flows.at(t.index, t.generation)
			f.sending = false
			w.forwarded(f, len(b.payload(i)), errnoOf(w.ring.result[i]))
		}
	}
}

var _ [ringSlots - datagramBatch]struct{} // each datagram of a batch has a slot

// answerTogether gives a datagram of each flow's origin to its client, and once more of those that had one. Who has more still, or
// told of an error, is served alone.
func (w *worker) answerTogether(flows []token) {
	var more [ringSlots]token
	for range 2 {
		flows = more[:w.answerOnce(flows, &more)]
		if len(flows) == 0 {
			return
		}
	}
	for _, t := range flows {
		w.handle(t, unix.EPOLLIN)
	}
}

// answerOnce is one round, and tells which flows may have more. No flow ends before all have been written.
func (w *worker) answerOnce(flows []token, more *[ringSlots]token) (n int) {
	r := w.ring
	for slot, t := range flows {
		r.result[slot] = -int32(unix.EAGAIN)
		if f := w.flows.at(t.index, t.generation); f != nil {
			r.receive(slot, f.fd, ringBuffer)
		}
	}
	r.submit()
	came := r.result
	var sizes [ringSlots]int // of what is sent; -1: nothing
	for slot, t := range flows {
		sizes[slot] = -1
		if came[slot] < 0 {
			continue
		}
		f := w.flows.at(t.index, t.generation)
		if payload, ok := w.answerable(f, r.buffer(slot)[:came[slot]]); ok {
			sizes[slot] = len(payload)
			r.sendTo(slot, f.reply.fd, payload, &f.to)
		}
	}
	r.submit()
	for slot, t := range flows {
		if f := w.flows.at(t.index, t.generation); f != nil && sizes[slot] >= 0 {
			w.answered(f, sizes[slot], errnoOf(r.result[slot]))
		}
		if came[slot] != -int32(unix.EAGAIN) {
			more[n] = t
			n++
		}
		if came[slot] < 0 && came[slot] != -int32(unix.EAGAIN) {
			w.unanswered(t, errnoOf(came[slot]))
		}
	}
	return n
}
