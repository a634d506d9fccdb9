package proxy

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// maxAttempts bounds how many origins one client is offered before it is turned away.
const maxAttempts = 3

// dial begins the origin side. Bytes of the client stay in its socket until the origin has answered.
func (s *session) dial(target origin.Target, why status.Reason) {
	if target.Origin == nil {
		s.finish(why, withoutOrigin(why))
		return
	}
	s.state, s.target = stateConnecting, target
	s.attempts++
	errno := s.worker.fromSourceAddresses(s.service, target.Addr.Addr(), s.connectFrom)
	if errno != 0 && errno != unix.EINPROGRESS {
		s.connectFailed(errno)
		return
	}
	if errno = epollAdd(s.worker.epoll, s.originSide.fd, sessionEvents, s.token(kindOrigin)); errno != 0 {
		s.finish(status.Internal, clean)
		return
	}
	s.worker.sessions.sooner(s.index, s.worker.now+int64(s.service.Timeouts.Connect))
	s.active = s.worker.now
}

// connectFrom connects a socket to the origin.
func (s *session) connectFrom(source netip.Addr) unix.Errno {
	fd, errno := s.originSocket(source)
	if errno != 0 {
		return errno
	}
	if errno = connect(int(fd), s.target.Addr); errno != 0 && errno != unix.EINPROGRESS {
		closeFD(fd)
		return errno
	}
	s.originSide.fd = fd
	return errno
}

func (s *session) originSocket(source netip.Addr) (int32, unix.Errno) {
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
	} else if source.IsValid() {
		errno = bindSource(n, source)
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
	} else if reason == status.NoSourcePort && !s.service.Transparent {
		s.target.Origin.Portless(socketPorts())
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
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN: // the last one of a datagram socket without an address
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
	if s.silent() {
		s.worker.sessions.sooner(s.index, s.started+int64(s.service.Timeouts.FirstByte))
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
