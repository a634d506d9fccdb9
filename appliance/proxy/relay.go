package proxy

import (
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// pipe holds bytes on their way between two sockets inside the kernel.
type pipe struct {
	read, write int32
	held        int
}

const (
	// bulkReads reads in a row of at least bulkRead bytes say that bulk data flows: from then on splicing saves the two
	// copies. For small messages its extra calls cost more than they save. A read rarely fills the buffer: the largest
	// packet the kernel puts together is a little less than 64 KiB.
	bulkReads = 2
	bulkRead  = readSize / 2
	// trickle is a splice so small that copying is cheaper again.
	trickle = 4 << 10
	// pipeSize is what the kernel gives unasked (pipe(7)). Larger pipes cost more, as the packets in them leave the
	// caches: measured with one stream, 64 KiB took 10 % less CPU than 1 MiB.
	pipeSize = 64 << 10
	// keptPipes bounds what a burst of bulk sessions leaves behind.
	keptPipes = 32
	// turns is how often one session is read before the others have their turn.
	turns = 16
)

// pump moves bytes from one side to the other until there are none, the other side takes no more, or the turn is
// over. It reports whether the session lives.
func (s *session) pump(from, to *side) bool {
	for range turns {
		if to.blocked() || from.eof {
			return true
		}
		var more, alive bool
		if from.full >= bulkReads {
			more, alive = s.spliceOnce(from, to)
		} else {
			more, alive = s.copyOnce(from, to)
		}
		if !alive || !more {
			return alive
		}
	}
	s.again(from)
	return true
}

// again puts a side whose turn ended on the worker's list.
func (s *session) again(from *side) {
	if from.queued {
		return
	}
	from.queued = true
	k := kindClient
	if from == &s.originSide {
		k = kindOrigin
	}
	s.worker.ready = append(s.worker.ready, s.token(k))
}

// copyOnce moves one read. more: there may be more to read.
func (s *session) copyOnce(from, to *side) (more, alive bool) {
	bytes := s.worker.scratch[:readSize]
	n, errno := read(from.fd, bytes)
	if n <= 0 {
		return s.nothing(from, to, errno)
	}
	s.moved(to, n)
	if n >= bulkRead {
		from.full = min(from.full+1, bulkReads)
	} else {
		from.full = 0
	}
	alive = s.send(to, bytes[:n])
	return n == len(bytes) || from.hup, alive
}

// nothing is a read or splice that brought no bytes: there are none now, the side has ended, or it broke.
func (s *session) nothing(from, to *side, errno unix.Errno) (more, alive bool) {
	switch errno {
	case unix.EAGAIN:
		return false, true
	case unix.EINTR:
		return true, true
	case 0:
		return false, s.ended(from, to)
	}
	s.broken(from, errno)
	return false, false
}

// spliceOnce moves one pipe full.
func (s *session) spliceOnce(from, to *side) (more, alive bool) {
	p := s.worker.takePipe()
	if p == nil {
		from.full = 0 // no descriptors: copying still works
		return true, true
	}
	n, errno := splice(from.fd, p.write, pipeSize)
	if n <= 0 {
		s.worker.givePipe(p)
		return s.nothing(from, to, errno)
	}
	if n < trickle {
		from.full = 0
	}
	s.moved(to, n)
	p.held, to.pipe = n, p
	return true, s.flush(to)
}

// moved counts payload towards a side.
func (s *session) moved(to *side, n int) {
	s.active = s.worker.now
	if to == &s.originSide {
		s.toOrigin += uint64(n)                //nolint:gosec // not negative
		s.shard().bytesToOrigin.Add(uint64(n)) //nolint:gosec // not negative
		return
	}
	first := s.toClient == 0
	s.toClient += uint64(n) //nolint:gosec // not negative
	if first {
		s.target.Origin.Spoke()
		s.good()
	}
	s.shard().bytesToClient.Add(uint64(n)) //nolint:gosec // not negative
}

// send gives b to a side, and keeps a copy of what it does not take.
func (s *session) send(to *side, b []byte) bool {
	n, errno := write(to.fd, b)
	return s.sent(to, b, n, errno)
}

// sent is what became of a write of b: n bytes of it were taken.
func (s *session) sent(to *side, b []byte, n int, errno unix.Errno) bool {
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		s.broken(to, errno)
		return false
	}
	if n = max(n, 0); n < len(b) {
		to.pending = s.worker.takeBuffer()
		to.pending.keep(b[n:])
		s.stall(to)
	}
	return true
}

// flush gives a side what waits for it. It reports whether the session lives.
func (s *session) flush(to *side) bool {
	for to.blocked() {
		var n int
		var errno unix.Errno
		if to.pending != nil {
			n, errno = write(to.fd, to.pending.rest())
		} else {
			n, errno = splice(to.pipe.read, to.fd, to.pipe.held)
		}
		switch {
		case errno == unix.EAGAIN:
			s.stall(to)
			return true
		case errno == unix.EINTR:
			continue
		case errno != 0:
			s.broken(to, errno)
			return false
		}
		s.took(to, n)
	}
	return true
}

// took notes that a side took n bytes of what waits for it.
func (s *session) took(to *side, n int) {
	s.active, to.stalled = s.worker.now, 0
	if to.pending != nil {
		to.pending.start += n
		if len(to.pending.rest()) > 0 {
			return
		}
	} else if to.pipe.held -= n; to.pipe.held > 0 {
		return
	}
	s.worker.releaseHeld(to)
}

// stall notes that a side takes no byte, if that is not known yet.
func (s *session) stall(at *side) {
	if at.stalled == 0 {
		at.stalled = s.worker.now
		s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.WriteStall))
	}
}

// releaseHeld gives back what holds bytes for a side.
func (w *worker) releaseHeld(d *side) {
	if d.pending != nil {
		w.giveBuffer(d.pending)
		d.pending = nil
	}
	if d.pipe != nil {
		w.givePipe(d.pipe)
		d.pipe = nil
	}
}

// ended passes a FIN on. The other direction goes on until it ends too. It reports whether the session lives.
func (s *session) ended(from, to *side) bool {
	from.eof, from.full = true, 0
	s.active = s.worker.now
	if from == &s.originSide {
		s.originLeft()
	}
	if to.eof {
		s.finish(status.Normal, clean)
		return false
	}
	shutdownWrite(to.fd)
	s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.HalfClose))
	return true
}

// hangUpSoon is within how much time an origin ends a session that it does not understand. Clients that say nothing are
// given more by most servers.
const hangUpSoon = 5 * time.Second

// originLeft notes an origin that ends a session which had hardly begun, before its client does.
func (s *session) originLeft() {
	if s.toClient == 0 && !s.clientSide.eof && s.worker.now-s.started < int64(hangUpSoon) {
		s.target.Origin.HungUp(s.service.TCPHeader != plan.TCPNone)
	}
}

// broken ends the session because of an error of one side. The other gets RST: it must not mistake what it has for
// the whole.
func (s *session) broken(at *side, errno unix.Errno) {
	ofClient := at == &s.clientSide
	var reason status.Reason
	switch errno {
	case unix.ETIMEDOUT:
		reason = either(ofClient, status.ClientTimeout, status.OriginTimeout)
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		reason = either(ofClient, status.ClientUnreachable, status.OriginUnreachable)
	case 0, unix.ECONNRESET, unix.EPIPE: // 0: an earlier call took the error; the reset is what is left of it
		reason = either(ofClient, status.ClientReset, status.OriginReset)
	default:
		reason = either(ofClient, status.ClientReset, status.OriginError)
	}
	if reason == status.OriginReset {
		s.originLeft()
	}
	s.finish(reason, abort)
}

func either(ofClient bool, client, origin status.Reason) status.Reason {
	if ofClient {
		return client
	}
	return origin
}

// takePipe gives an empty pipe, or nil when pipes have their share of the descriptors: copying needs none.
func (w *worker) takePipe() *pipe {
	if n := len(w.pipes); n > 0 {
		p := w.pipes[n-1]
		w.pipes = w.pipes[:n-1]
		return p
	}
	var fds [2]int
	e := w.engine
	if filesOfPipe*e.openPipes.Load() >= e.files/8 || unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	e.openPipes.Add(1)
	return &pipe{read: int32(fds[0]), write: int32(fds[1])} //nolint:gosec // fds
}

// givePipe takes a pipe back. One that still holds bytes is of no use to another session.
func (w *worker) givePipe(p *pipe) {
	if p.held == 0 && len(w.pipes) < keptPipes {
		w.pipes = append(w.pipes, p)
		return
	}
	w.engine.openPipes.Add(-1)
	closeFD(p.read)
	closeFD(p.write)
}

// buffer holds bytes that a side did not take, or that came before the origin was there.
type buffer struct {
	data       [headroom + readSize]byte
	start, end int
}

func (b *buffer) rest() []byte { return b.data[b.start:b.end] }

func (b *buffer) keep(bytes []byte) { b.start, b.end = 0, copy(b.data[:], bytes) }

// keptBuffers bounds the memory that a burst of stalled sessions leaves behind: 64 x 65 KiB.
const keptBuffers = 64

func (w *worker) takeBuffer() *buffer {
	if n := len(w.buffers); n > 0 {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b
	}
	return new(buffer)
}

func (w *worker) giveBuffer(b *buffer) {
	if len(w.buffers) < keptBuffers {
		b.start, b.end = 0, 0
		w.buffers = append(w.buffers, b)
	}
}
