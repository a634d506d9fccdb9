package proxy

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/status"
)

// upstream is what a session behind a load balancer begins with: a PROXY header that says who the client is. It is
// required, never guessed (PROXY protocol specification, section 2: "The receiver MUST be configured to only
// receive the protocol"), and only listed load balancers get this far.
type upstream struct {
	peer   netip.AddrPort // the load balancer
	header header.Header
	read   *buffer // nil once the origin has what was in it
}

// takeEarly copies what the client said behind the header, before the origin was there.
func (s *session) takeEarly(into []byte) int {
	n := copy(into, s.upstream.read.rest())
	s.dropEarly()
	return n
}

func (s *session) dropEarly() {
	if s.upstream != nil && s.upstream.read != nil {
		s.worker.giveBuffer(s.upstream.read)
		s.upstream.read = nil
	}
}

// awaitUpstream watches the client side for the header.
func (s *session) awaitUpstream() {
	s.state = stateHeader
	s.upstream = &upstream{peer: s.client, read: s.worker.takeBuffer()}
	s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.Header))
	if errno := epollAdd(s.worker.epoll, s.clientSide.fd, sessionEvents, s.token(kindClient)); errno != 0 {
		s.finish(status.Internal, clean)
	}
}

// readUpstream takes what has come, until the header is whole.
func (s *session) readUpstream() {
	u := s.upstream
	for {
		n, errno := read(s.clientSide.fd, u.read.data[u.read.end:header.MaxSize+1])
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
			continue
		case errno != 0:
			s.broken(&s.clientSide, errno)
			return
		case n == 0:
			s.finish(status.BadHeader, clean)
			return
		}
		u.read.end += n
		h, size, err := header.Parse(u.read.rest())
		if err != nil || size == 0 && u.read.end > header.MaxSize {
			s.finish(status.BadHeader, clean)
			return
		}
		if size > 0 {
			u.read.start += size
			s.introduced(h)
			return
		}
	}
}

// introduced goes on with the client that the header named. A LOCAL header is the load balancer's own health check:
// it is its own client (specification, section 2.2).
func (s *session) introduced(h header.Header) {
	s.upstream.header = h
	if !h.Local && h.Source.IsValid() {
		s.client = h.Source
	}
	if s.worker.engine.table.Load().isEdge(s.client.Addr()) {
		s.finish(status.Bogon, abort)
		return
	}
	if s.worker.engine.bans.Load().has(s.client.Addr()) {
		s.finish(status.Banned, abort)
		return
	}
	var reason status.Reason
	if s.counted, reason = s.worker.enter(s.service, s.client.Addr()); reason != status.Normal {
		s.finish(reason, clean)
		return
	}
	s.announce()
	s.dial(s.service.pool.Pick(s.client.Addr(), s.edge.Port(), s.first))
}
