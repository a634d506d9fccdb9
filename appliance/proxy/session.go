package proxy

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// session is one TCP session: a client side and an origin side. It is read here from top to bottom: open (or, behind
// a load balancer, first readUpstream), dial, established, then pump in relay.go until finish.
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

func (d *side) blocked() bool { return d.pending != nil || d.pipe != nil }

const (
	// maxAttempts bounds how many origins one client is offered before it is turned away.
	maxAttempts = 3
	// sessionEvents are watched edge-triggered from the start and never changed: no epoll_ctl in a session's life.
	sessionEvents = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
)

// open takes an accepted client: it finds the service of the edge address and makes a session, or refuses.
func (w *worker) open(fd int32, client netip.AddrPort) {
	edge := localAddr(int(fd))
	table := w.engine.table.Load()
	service, first := table.find(plan.TCP, edge)
	record := status.Session{Protocol: plan.TCP, Client: client, Edge: edge}
	if service != nil {
		record.Service = service.Name
	}
	if reason := w.admit(service, client.Addr(), table); reason != status.Normal {
		w.refuse(record, reason)
		w.closeCleanly(fd)
		return
	}
	w.engine.openSessions.Add(1)
	index, s, gen := w.sessions.take(w.now + int64(service.Timeouts.Connect))
	*s = session{
		id: w.newID(), index: index, gen: gen, worker: w, service: service, client: client, edge: edge, first: first,
		started: w.now, active: w.now, clientSide: side{fd: fd}, originSide: side{fd: -1},
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
	case service.Limits.MaxSessions > 0 && service.stats.sessions() >= int64(service.Limits.MaxSessions):
		return status.ServiceLimit
	}
	return status.Normal
}

func (s *session) shard() *serviceShard { return &s.service.stats.shards[s.worker.number] }

// dial begins the origin side. Bytes of the client stay in its socket until the origin has answered.
func (s *session) dial(target origin.Target, why status.Reason) {
	if target.Origin == nil {
		s.finish(why, withoutOrigin(why))
		return
	}
	s.state, s.target = stateConnecting, target
	s.attempts++
	fd, errno := s.originSocket()
	if errno == 0 {
		s.originSide.fd = fd
		errno = connect(int(fd), target.Addr)
	}
	if errno != 0 && errno != unix.EINPROGRESS {
		s.connectFailed(errno)
		return
	}
	if errno = epollAdd(s.worker.epoll, fd, sessionEvents, s.token(kindOrigin)); errno != 0 {
		s.finish(status.Internal, clean)
		return
	}
	s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.Connect))
	s.active = s.worker.now
}

func (s *session) originSocket() (int32, unix.Errno) {
	n, errno := socket(family(s.target.Addr.Addr()), unix.SOCK_STREAM)
	if errno != 0 {
		return -1, errno
	}
	fd := int32(n) //nolint:gosec // fd
	for _, o := range sessionOptions {
		_ = setOption(n, o.level, o.name, o.value) // known to work since the listener has them
	}
	if s.service.TCPHeader != plan.TCPNone { // the header is there at once to carry the acknowledgement
		_ = setOption(n, delayedACK.level, delayedACK.name, delayedACK.value)
	}
	if s.service.Transparent {
		errno = bindTransparent(n, s.client, s.target.Addr.Addr())
	}
	if errno != 0 {
		closeFD(fd)
		return -1, errno
	}
	return fd, 0
}

// bindTransparent gives a socket the client's own address and port. Families must agree: an origin of the other
// family cannot see the address of this client at all.
func bindTransparent(fd int, client netip.AddrPort, target netip.Addr) unix.Errno {
	v6 := target.Unmap().Is6()
	if client.Addr().Unmap().Is6() != v6 {
		return unix.EAFNOSUPPORT
	}
	o := transparentOption(v6)
	if errno := setOption(fd, o.level, o.name, o.value); errno != 0 {
		return errno
	}
	if errno := setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); errno != 0 {
		return errno
	}
	return bind(fd, client)
}

// connectFailed tells the pool and offers the client another origin. No byte was sent, so trying again is safe.
func (s *session) connectFailed(errno unix.Errno) {
	reason := connectReason(errno)
	if originFailed(errno) {
		s.target.Origin.Failed(reason)
	}
	failed := s.target.Origin
	s.dropOrigin()
	if s.attempts >= maxAttempts {
		s.finish(reason, withoutOrigin(reason))
		return
	}
	target, _ := s.service.pool.PickOther(s.client.Addr(), s.edge.Port(), s.first, failed)
	s.dial(target, reason)
}

// withoutOrigin is how a client ends that no origin takes: with FIN, unless the origin was there and broke off before
// anything was said.
func withoutOrigin(why status.Reason) ending {
	if why == status.OriginReset {
		return abort
	}
	return clean
}

// originFailed is false for what is the box's own trouble, or the client's: one who dials two edge ports from the same
// port, transparently, must not be able to put an origin down.
func originFailed(errno unix.Errno) bool {
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN, unix.EAFNOSUPPORT,
		unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EPERM, unix.EACCES:
		return false
	}
	return true
}

func connectReason(errno unix.Errno) status.Reason {
	switch errno {
	case unix.ECONNREFUSED:
		return status.OriginRefused
	case unix.ETIMEDOUT:
		return status.ConnectTimeout
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EAFNOSUPPORT:
		return status.NetworkUnreachable
	case unix.ECONNRESET:
		return status.OriginReset
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE:
		return status.NoSourcePort
	case unix.EMFILE, unix.ENFILE:
		return status.OutOfFiles
	}
	return status.OriginError
}

// dropOrigin gives the origin side back.
func (s *session) dropOrigin() {
	if s.originSide.fd >= 0 {
		closeFD(s.originSide.fd)
		s.originSide.fd = -1
	}
	if s.target.Origin != nil {
		s.target.Origin.Release()
		s.target = origin.Target{}
	}
}

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
	from, to := &s.clientSide, &s.originSide
	if t.kind == kindOrigin {
		from, to = to, from
	}
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

// connected ends the dial: with an error, or with the header and the client's first bytes in one packet.
func (s *session) connected(events uint32) {
	var errno unix.Errno
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		errno = socketError(int(s.originSide.fd))
	}
	if errno != 0 && errno != unix.ECONNRESET {
		s.connectFailed(errno)
		return
	}
	s.target.Origin.Answered()
	s.state, s.active = stateOpen, s.worker.now
	if errno != 0 { // a refused connect is ECONNREFUSED: this one was taken, and reset right behind
		s.broken(&s.originSide, errno)
		return
	}
	s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.Idle))
	if !s.greet() || !s.watchClient() {
		return
	}
	// A server that speaks first may have spoken, and hung up, before its connect was heard of. It is all in this one
	// event: an edge does not come twice.
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		s.originSide.hup = events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLPRI) != 0
		s.pump(&s.originSide, &s.clientSide)
	}
}

// watchClient begins to take what the client says, and reports whether the session lives.
func (s *session) watchClient() bool {
	if s.upstream != nil {
		// Watched since its header, and edges were let pass meanwhile: so read to the end once.
		s.clientSide.hup = true
		return s.pump(&s.clientSide, &s.originSide)
	}
	if errno := epollAdd(s.worker.epoll, s.clientSide.fd, sessionEvents, s.token(kindClient)); errno != 0 {
		s.finish(status.Internal, abort)
		return false
	}
	return true
}

// greet sends the PROXY header together with what the client has said so far, and reports whether the session lives.
func (s *session) greet() bool {
	h, err := s.header()
	if err != nil {
		s.finish(status.Internal, abort)
		return false
	}
	bytes := s.worker.scratch
	n := copy(bytes, h)
	if s.upstream != nil {
		n += s.takeEarly(bytes[n:])
	} else if got, errno := read(s.clientSide.fd, bytes[n:]); got > 0 {
		n += got
	} else if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		s.broken(&s.clientSide, errno) // an error is told once: pump would take it for FIN
		return false
	}
	s.moved(&s.originSide, n-len(h))
	return n == 0 || s.send(&s.originSide, bytes[:n])
}

// header is the PROXY header of the session, empty for none.
func (s *session) header() ([]byte, error) {
	destination := s.edge
	if s.upstream != nil && s.upstream.header.Destination.IsValid() {
		destination = s.upstream.header.Destination
	}
	switch s.service.TCPHeader {
	case plan.TCPV1:
		return header.V1(s.client, destination)
	case plan.TCPV2:
		return header.V2(plan.TCP, s.client, destination, s.tlvs())
	case plan.TCPNone:
	}
	return nil, nil
}

func (s *session) tlvs() header.TLVs {
	wish := s.service.TLVs
	t := header.TLVs{CRC32C: wish.CRC32C}
	if wish.UniqueID {
		t.UniqueID = []byte(s.id.String())
	}
	if wish.Authority && s.upstream != nil {
		t.Authority = s.upstream.header.Authority
	}
	return t
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
	w.engine.openSessions.Add(-1)
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
		ID: s.id, Protocol: plan.TCP, Service: s.service.Name, Client: s.client, Edge: s.edge,
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
