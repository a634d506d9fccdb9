package main

import "golang.org/x/sys/unix"

// Bulk data flows without a pause: each session has two requests under way, and the next is sent when one is done.

// bulk is the state of a session that moves bulk data.
type bulk struct {
	owed    int64 // download: bytes that are to come
	head    int   // upload: bytes of the frame that are sent
	left    int64 // upload: bytes of the payload that are to be sent
	awaited int   // upload: payloads that were begun and not confirmed
}

// chunk is the size of one download. A single stream has larger ones, so that it is not all requests.
func (s *streams) chunk() int64 {
	if s.job.Sessions == 1 {
		return 8 * payloadSize
	}
	return payloadSize
}

func (s *streams) request(c *session) {
	f := newFrame(opDownload, s.chunk())
	if n, errno := rawSend(c.fd, f[:], 0); n != frameSize {
		s.fail(c, "request a download: %v", errno)
		return
	}
	c.bulk.owed += s.chunk()
}

// download takes what has come. A read shorter than asked for has emptied the socket: more makes a new edge.
func (s *streams) download(c *session) {
	for c.state == sessionWorking {
		asked := min(c.bulk.owed, payloadSize)
		n, errno := rawDiscard(c.fd, asked)
		if errno == unix.EAGAIN {
			return
		}
		if n <= 0 {
			s.fail(c, "download ended while %d bytes were due: %v", c.bulk.owed, errno)
			return
		}
		c.bulk.owed -= int64(n)
		s.tally.Units += int64(n)
		if c.bulk.owed <= s.chunk() && s.now() < s.until {
			s.request(c)
		}
		if c.bulk.owed == 0 && c.state == sessionWorking {
			s.rest(c)
			return
		}
		if int64(n) < asked {
			return
		}
	}
}

// upload sends until the socket is full, or until two payloads are not confirmed.
func (s *streams) upload(c *session) {
	for {
		if c.bulk.left == 0 && !s.nextUpload(c) {
			return
		}
		n, errno := rawSendfile(c.fd, s.payload, c.bulk.left)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 {
			s.fail(c, "upload: %v", errno)
			return
		}
		c.bulk.left -= int64(n)
	}
}

// nextUpload announces a payload; false when none may be sent now.
func (s *streams) nextUpload(c *session) bool {
	if c.bulk.head == 0 {
		if c.bulk.awaited == 2 {
			return false
		}
		if s.now() >= s.until {
			if c.bulk.awaited == 0 {
				s.rest(c)
			}
			return false
		}
	}
	f := newFrame(opUpload, payloadSize)
	n, errno := rawSend(c.fd, f[c.bulk.head:], unix.MSG_MORE)
	if errno == unix.EAGAIN {
		return false
	}
	if errno != 0 {
		s.fail(c, "announce an upload: %v", errno)
		return false
	}
	c.bulk.head = (c.bulk.head + n) % frameSize
	if c.bulk.head != 0 {
		return false
	}
	c.bulk.left = payloadSize
	c.bulk.awaited++
	return true
}
