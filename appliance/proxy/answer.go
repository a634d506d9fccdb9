package proxy

import (
	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// flowEvent takes what the origin answers. The socket is edge-triggered: a batch that is not full says that there is
// no more, and an error says nothing about the answers behind it.
func (w *worker) flowEvent(f *flow, t token) {
	b := w.flows.out
	for range flowTurns {
		n, errno := b.receive(int(f.fd))
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 && !w.unanswered(t, errno) {
			return
		}
		for i := range n {
			w.answer(f, b.payload(i))
		}
		if errno == 0 && n < originBatch {
			return
		}
	}
	if !f.queued {
		f.queued = true
		w.ready = append(w.ready, t)
	}
}

// unanswered is a read of a flow that failed. It reports whether the flow goes on.
func (w *worker) unanswered(t token, errno unix.Errno) bool {
	f := w.flows.at(t.index, t.generation)
	if f != nil && errno != unix.EINTR {
		w.flowError(f, errno)
	}
	return w.flows.at(t.index, t.generation) != nil
}

// answer gives one datagram of the origin to the client.
func (w *worker) answer(f *flow, payload []byte) {
	if payload, ok := w.answerable(f, payload); ok {
		w.answered(f, len(payload), sendTo(f.reply.fd, payload, &f.to))
	}
}

// answerable is what the client is to get of an answer; not ok: nothing, which is counted.
func (w *worker) answerable(f *flow, payload []byte) (rest []byte, ok bool) {
	if f.service.UDPHeader == plan.UDPSPP {
		client, edge, rest, ok := header.ParseSPP(payload)
		if !ok || client != f.client || edge != f.edge {
			w.reasons.udp[status.BadSPP].Add(1)
			return nil, false
		}
		payload = rest
	}
	if !f.mayAnswer(len(payload)) {
		w.reasons.udp[status.Amplification].Add(1)
		return nil, false
	}
	f.active = w.now
	f.target.Origin.Answered()
	return payload, true
}

// answered is what became of an answer of size bytes.
func (w *worker) answered(f *flow, size int, errno unix.Errno) {
	switch errno {
	case 0:
	case unix.EMSGSIZE:
		w.reasons.udp[status.Oversize].Add(1)
		return
	default:
		w.reasons.udp[status.Congested].Add(1)
		return
	}
	f.answered = true
	f.toClient += uint64(size) //nolint:gosec // not negative
	f.datagrams[1]++
	shard := &f.service.stats.shards[w.number]
	shard.bytesToClient.Add(uint64(size)) //nolint:gosec // not negative
	shard.datagramsToClient.Add(1)
}
