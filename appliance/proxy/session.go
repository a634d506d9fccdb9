package proxy

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// session is one TCP session: a client side and an origin side. It is read here from its begin to its end: open
// (behind a load balancer, then upstream.go), dial in dial.go, pump in relay.go, finish.
type session struct {
	id       status.ID
	index    uint32
	gen      uint32
	worker   *worker
	service  *service
	target   origin.Target
	client   netip.AddrPort // the player
	edge     netip.AddrPort // what the player dialled
	started  int64          // worker clock, ns
	active   int64          // when the last byte moved
	toOrigin uint64         // payload bytes
	toClient uint64
	upstream *upstream // set behind a load balancer

	clientSide, originSide side

	first     uint16 // first port of the route, for offset mapping
	state     state
	attempts  uint8
	announced bool // its connect event is out
	counted   bool // for the limits of single sources
}

type state uint8

const (
	stateHeader state = iota
	stateConnecting
	stateOpen
)

func (s *session) stateText() string {
	switch {
	case s.state == stateHeader:
		return "header"
	case s.state == stateConnecting:
		return "connecting"
	case s.clientSide.eof || s.originSide.eof:
		return "half-closed"
	}
	return "open"
}

// side is one socket of a session.
type side struct {
	fd      int32   // -1: none
	eof     bool    // it sent FIN, and everything before it was read
	hup     bool    // its FIN, or urgent data, has arrived: a short read is not the end, more comes behind it
	queued  bool    // it stands in the worker's ready list
	full    uint8   // reads in a row that filled the buffer
	stalled int64   // worker clock: since when it has taken no byte of what waits; 0: nothing waits
	pending *buffer // what waits for it to take it
	pipe    *pipe   // the same, inside the kernel
}

func (s *session) side(k kind) *side {
	if k == kindOrigin {
		return &s.originSide
	}
	return &s.clientSide
}

// ends gives the side of a kind, and the other.
func (s *session) ends(k kind) (from, to *side) {
	if k == kindOrigin {
		return &s.originSide, &s.clientSide
	}
	return &s.clientSide, &s.originSide
}

func (d *side) blocked() bool { return d.pending != nil || d.pipe != nil }

// sessionEvents are watched edge-triggered from the start and never changed: no epoll_ctl in a session's life.
const sessionEvents = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// open takes an accepted client: it finds the service of the edge address and makes a session, or refuses.
func (w *worker) open(fd int32, client netip.AddrPort) {
	table := w.engine.table.Load()
	if table.isEdge(client.Addr()) {
		w.turnAway(fd, client, status.Bogon)
		return
	}
	if w.engine.bans.Load().has(client.Addr()) {
		w.turnAway(fd, client, status.Banned)
		return
	}
	w.engine.catchUp()
	edge := localAddr(int(fd))
	service, first := table.find(plan.TCP, edge)
	record := status.Session{Protocol: plan.TCP, Client: client, Edge: edge}
	if service != nil {
		record.Service = service.Name
	}
	reason, counted := w.admit(service, client.Addr(), table), false
	if reason == status.Normal && len(service.Upstreams) == 0 { // behind one, the client is not known yet
		counted, reason = w.enter(service, client.Addr())
	}
	if reason != status.Normal {
		w.refuse(record, reason)
		w.closeCleanly(fd)
		return
	}
	w.engine.carry(1, 0)
	index, s, gen := w.sessions.take(w.now + int64(service.Timeouts.Connect))
	*s = session{
		id: w.newID(), index: index, gen: gen, worker: w, service: service, client: client, edge: edge, first: first,
		started: w.now, active: w.now, counted: counted, clientSide: side{fd: fd}, originSide: side{fd: -1},
	}
	shard := s.shard()
	shard.sessions.Add(1)
	shard.sessionsOpened.Add(1)
	if len(service.Upstreams) > 0 {
		s.awaitUpstream()
		return
	}
	s.announce()
	s.dial(service.pool.Pick(client.Addr(), edge.Port(), first))
}

// admit says why a client gets no session; Normal: it does.
func (w *worker) admit(service *service, client netip.Addr, table *table) status.Reason {
	switch {
	case service == nil:
		return status.NoService
	case len(service.Upstreams) > 0 && !containsAny(service.Upstreams, client):
		return status.NotAnUpstream
	case w.engine.sessionsFull(table.limits.MaxSessions):
		return status.SessionLimit
	case service.Limits.MaxSessions > 0 && service.stats.sessions()+service.stats.otherSessions.Load() >= int64(service.Limits.MaxSessions):
		return status.ServiceLimit
	}
	return status.Normal
}

func (s *session) shard() *serviceShard { return &s.service.stats.shards[s.worker.number] }

func (s *session) token(k kind) token { return token{kind: k, index: s.index, generation: s.gen} }

// sessionEvent is the one entrance for events of both sockets.
func (w *worker) sessionEvent(s *session, t token, events uint32) {
	switch s.state {
	case stateHeader:
		s.readUpstream()
		return
	case stateConnecting:
		if t.kind == kindOrigin {
			s.connected(events)
		}
		return
	}
	from, to := s.ends(t.kind)
	if events&unix.EPOLLERR != 0 {
		s.broken(from, socketError(int(from.fd)))
		return
	}
	from.hup = from.hup || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLPRI) != 0
	if events&unix.EPOLLPRI != 0 {
		from.full = 0 // splice stops in front of an urgent byte for ever, a read skips it
	}
	if events&unix.EPOLLOUT != 0 && from.blocked() {
		if !s.flush(from) || !s.pump(to, from) {
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		s.pump(from, to)
	}
}

// expireSession ends a session whose time is over, and otherwise says when to look again.
func (w *worker) expireSession(_ uint32, s *session) int64 {
	t := &s.service.Timeouts
	limit, from, reason, how := t.Idle, s.active, status.Idle, clean
	switch {
	case s.state == stateHeader:
		limit, from, reason = t.Header, s.started, status.HeaderTimeout
	case s.state == stateConnecting:
		limit, reason = t.Connect, status.ConnectTimeout
	case s.clientSide.stalled > 0 || s.originSide.stalled > 0:
		limit, from, reason, how = t.WriteStall, s.stalledSince(), status.WriteStall, abort
	case s.clientSide.eof || s.originSide.eof:
		limit, reason = t.HalfClose, status.HalfCloseTimeout
	}
	if s.silent() && s.started+int64(t.FirstByte) < from+int64(limit) {
		limit, from, reason, how = t.FirstByte, s.started, status.FirstByteTimeout, clean
	}
	if due := from + int64(limit); due > w.now {
		return due
	}
	if s.state == stateConnecting {
		gen := s.gen
		index := s.index
		s.connectFailed(unix.ETIMEDOUT)
		if w.sessions.at(index, gen) == nil {
			return 0
		}
		return w.now + int64(t.Connect)
	}
	s.finish(reason, how)
	return 0
}

// silent tells whether the client has a time in which to say something, and has said nothing.
func (s *session) silent() bool {
	return s.service.Timeouts.FirstByte > 0 && s.state == stateOpen && s.toOrigin == 0
}

// ending is how the two sockets of a session are closed.
type ending uint8

const (
	clean ending = iota // FIN behind what was sent
	abort               // RST: the other side must not take what it has for the whole
)

// finish ends the session: closes, counts, reports, and gives everything back. s must not be used afterwards.
func (s *session) finish(reason status.Reason, how ending) {
	w := s.worker
	w.reasons.tcp[reason].Add(1)
	s.announce()
	if w.engine.events.wanted() {
		w.publish(status.Disconnect, s.record(), reason)
	}
	s.shard().sessions.Add(-1)
	w.engine.carry(-1, 0)
	s.leave()
	s.good()
	for _, d := range []*side{&s.clientSide, &s.originSide} {
		if d.fd >= 0 && how == abort {
			resetOnClose(d.fd)
		}
		w.releaseHeld(d)
	}
	if how == clean && reason != status.Normal {
		w.closeCleanly(s.clientSide.fd)
	} else {
		closeFD(s.clientSide.fd)
	}
	s.dropEarly()
	s.dropOrigin()
	w.sessions.release(s.index)
}

// closeCleanly ends a client that may have sent bytes nobody read. Closing at once would answer them with RST,
// which can overtake what the client should still see; so FIN goes first and what has come is taken (RFC 1122,
// 4.2.2.13).
func (w *worker) closeCleanly(fd int32) {
	shutdownWrite(fd)
	for {
		if n, errno := read(fd, w.scratch); errno != 0 || n < len(w.scratch) {
			break
		}
	}
	closeFD(fd)
}

// announce reports the session's begin, once.
func (s *session) announce() {
	if !s.announced && s.worker.engine.events.wanted() {
		s.worker.publish(status.Connect, s.record(), 0)
	}
	s.announced = true
}

func (s *session) stalledSince() int64 {
	a, b := s.clientSide.stalled, s.originSide.stalled
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// record is the session as status tells it.
func (s *session) record() status.Session {
	r := status.Session{
		ID: s.id, Protocol: plan.TCP, Path: plan.PathUser, Service: s.service.Name, Client: s.client, Edge: s.edge,
		OriginAddress: s.target.Addr, Started: s.worker.wallTime(s.started), State: s.stateText(),
		Idle:          time.Duration(s.worker.now - s.active).Seconds(),
		BytesToOrigin: s.toOrigin, BytesToClient: s.toClient,
	}
	if s.target.Origin != nil {
		r.Origin = s.target.Origin.Name()
	}
	if s.upstream != nil {
		r.Peer = s.upstream.peer
	}
	return r
}
