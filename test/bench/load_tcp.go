package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// The states of a session of the load process.
const (
	sessionClosed = iota
	sessionConnecting
	sessionGreeting // the hello frame is sent, its echo is awaited
	sessionIdle
	sessionWorking
)

// session is one TCP connection of the load process.
type session struct {
	fd    int
	state int
	got   int   // bytes of the frame that is awaited
	sent  int64 // when the awaited frame's request was sent, ns since epoch of streams
	bulk  bulk
}

// streams is the TCP load: all sessions in one epoll, edge triggered, registered once.
type streams struct {
	job      job
	poll     *poller
	payload  int
	sessions []session
	epoch    time.Time
	until    int64 // no new work after it, ns since epoch
	busy     int   // sessions with work under way
	waiting  int   // index of the next session to open
	limit    int   // sessions to open
	trips    []int64
	scratch  [frameSize]byte
	tally    tally
}

func newStreams(j job, poll *poller, payload int) *streams {
	room := j.Sessions + warmSessions
	return &streams{job: j, poll: poll, payload: payload, sessions: make([]session, room), epoch: time.Now(), trips: make([]int64, 0, 1<<20)}
}

func (s *streams) now() int64 { return int64(time.Since(s.epoch)) }

func (s *streams) prepare() tally {
	switch s.job.Kind {
	case kindConnections:
		return s.work(s.job.Warm)
	case kindIdle:
		s.openUpTo(warmSessions)
		return s.tally
	}
	s.openUpTo(s.job.Sessions)
	opened := s.tally
	if opened.Errors > 0 {
		return opened
	}
	warm := s.work(s.job.Warm)
	warm.Connections += opened.Connections
	return warm
}

func (s *streams) run() tally {
	if s.job.Kind != kindIdle {
		return s.work(s.job.Time)
	}
	s.tally = tally{}
	began := s.now()
	s.openUpTo(warmSessions + s.job.Sessions)
	s.tally.Units = s.tally.Connections
	s.tally.Took = time.Duration(s.now() - began)
	return s.tally
}

func (s *streams) finish() {
	for i := range s.sessions {
		s.close(&s.sessions[i])
	}
	rawClose(s.payload)
	rawClose(s.poll.fd)
}

// openUpTo opens sessions until there are limit, 64 at a time.
func (s *streams) openUpTo(limit int) {
	s.limit = limit
	s.until = s.now()
	for range min(64, limit-s.waiting) {
		s.openNext()
	}
	s.loop()
}

func (s *streams) openNext() {
	if s.waiting == s.limit {
		return
	}
	s.waiting++
	s.busy++
	s.connect(s.waiting - 1)
}

// work keeps every session at work for a time, and lets what was begun end.
func (s *streams) work(d time.Duration) tally {
	s.tally, s.trips = tally{}, s.trips[:0]
	began := s.now()
	s.until = began + int64(d)
	for i := range s.job.Sessions {
		s.busy++
		s.start(i)
	}
	s.loop()
	s.tally.Took = time.Duration(s.now() - began)
	if s.job.Kind == kindMessages && s.job.Sessions == 1 {
		s.tally.setLatency(s.trips)
	}
	return s.tally
}

func (s *streams) loop() {
	limit := s.until + int64(patience)
	for s.busy > 0 {
		events, err := s.poll.wait(200)
		if err != nil {
			s.tally.fail("%v", err)
			return
		}
		for _, e := range events {
			s.step(int(e.Fd), e.Events)
		}
		if s.tally.Errors > maxErrors {
			return
		}
		if s.now() > limit {
			s.tally.fail("%d sessions stalled", s.busy)
			return
		}
	}
}

// start begins work on a session that has none.
func (s *streams) start(i int) {
	c := &s.sessions[i]
	if s.job.Kind == kindConnections {
		s.connect(i)
		return
	}
	if c.state != sessionIdle {
		s.fail(c, "session lost before the work began")
		return
	}
	c.state = sessionWorking
	switch s.job.Kind {
	case kindMessages:
		s.message(c)
	case kindDownload:
		s.request(c)
		s.request(c)
	case kindUpload:
		s.upload(c)
	}
}

func (s *streams) connect(i int) {
	c := &s.sessions[i]
	fd, errno := rawSocket(unix.SOCK_STREAM)
	if errno != 0 {
		s.fail(c, "open a socket: %v", errno)
		return
	}
	*c = session{fd: fd, state: sessionConnecting}
	rawNoDelay(fd)
	if errno := rawConnect(fd, sockaddr(s.job.To)); errno != 0 && errno != unix.EINPROGRESS {
		s.fail(c, "connect: %v", errno)
		return
	}
	if errno := s.poll.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, i); errno != 0 {
		s.fail(c, "watch a session: %v", errno)
	}
}

func (s *streams) step(i int, events uint32) {
	c := &s.sessions[i]
	switch c.state {
	case sessionConnecting:
		s.greet(c)
	case sessionGreeting:
		if s.frameCame(c) {
			s.opened(i)
		}
	case sessionWorking:
		s.proceed(c, events)
	}
}

// greet sends the hello frame, or learns why the connection failed.
func (s *streams) greet(c *session) {
	var local unix.RawSockaddrInet4
	if errno := rawLocal(c.fd, &local); errno != 0 {
		s.fail(c, "ask for the own address: %v", errno)
		return
	}
	f := frame{opHello}
	f.setAddresses(&local, sockaddr(s.job.To))
	if n, errno := rawSend(c.fd, f[:], 0); n != frameSize {
		s.fail(c, "connect and send hello: %v", errno)
		return
	}
	c.state, c.got = sessionGreeting, 0
}

func (s *streams) opened(i int) {
	c := &s.sessions[i]
	s.tally.Connections++
	if s.job.Kind != kindConnections {
		c.state = sessionIdle
		s.busy--
		s.openNext()
		return
	}
	s.close(c)
	s.tally.Units++
	if s.now() < s.until {
		s.connect(i)
		return
	}
	s.busy--
}

// frameCame reads towards one frame and says whether it is whole.
func (s *streams) frameCame(c *session) bool {
	n, errno := rawRecv(c.fd, s.scratch[:frameSize-c.got], 0)
	if errno == unix.EAGAIN {
		return false
	}
	if n <= 0 {
		s.fail(c, "session ended while %d bytes were due: %v", frameSize-c.got, errno)
		return false
	}
	c.got = (c.got + n) % frameSize
	return c.got == 0
}

func (s *streams) proceed(c *session, events uint32) {
	switch s.job.Kind {
	case kindMessages:
		if s.frameCame(c) {
			s.answered(c)
		}
	case kindDownload:
		s.download(c)
	case kindUpload:
		for c.bulk.awaited > 0 && c.state == sessionWorking && s.frameCame(c) {
			c.bulk.awaited--
			s.tally.Units += payloadSize
		}
		if c.state == sessionWorking {
			s.upload(c)
		}
	}
}

func (s *streams) message(c *session) {
	f := frame{opMessage}
	c.sent = s.now()
	if n, errno := rawSend(c.fd, f[:], 0); n != frameSize {
		s.fail(c, "send a message: %v", errno)
	}
}

func (s *streams) answered(c *session) {
	s.tally.Units++
	now := s.now()
	if s.job.Sessions == 1 && len(s.trips) < cap(s.trips) {
		s.trips = append(s.trips, now-c.sent)
	}
	if now < s.until {
		s.message(c)
		return
	}
	s.rest(c)
}

func (s *streams) rest(c *session) {
	c.state = sessionIdle
	s.busy--
}

func (s *streams) close(c *session) {
	if c.state != sessionClosed {
		rawClose(c.fd)
	}
	c.state = sessionClosed
}

func (s *streams) fail(c *session, format string, args ...any) {
	s.tally.fail(format, args...)
	s.close(c)
	s.busy--
}
