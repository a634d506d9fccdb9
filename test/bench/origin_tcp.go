package main

import (
	"golang.org/x/sys/unix"
)

// step does what a connection of the origin can do now.
func (o *origin) step(fd int, c *originConn, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		o.send(fd, c)
		return
	}
	if c.upload > 0 {
		o.swallow(fd, c)
		return
	}
	n, errno := rawRecv(fd, o.scratch[c.kept:], 0)
	if errno == unix.EAGAIN {
		return
	}
	if n == 0 && errno == 0 || errno == unix.ECONNRESET {
		o.finished(fd, c, errno == unix.ECONNRESET)
		return
	}
	if errno != 0 {
		o.fail("read: %v", errno)
		o.close(fd)
		return
	}
	copy(o.scratch, c.keep[:c.kept])
	o.consume(fd, c, o.scratch[:c.kept+n])
}

// finished ends a connection; ending before its first frame was answered is an error. A reset at a frame's
// border is how haproxy ends its side, and none.
func (o *origin) finished(fd int, c *originConn, reset bool) {
	if !c.greeted || c.kept > 0 || c.upload > 0 || c.download > 0 {
		o.fail("connection ended early (reset: %t)", reset)
	}
	o.close(fd)
}

// consume works through the bytes of one read and keeps what is not a whole header or frame.
func (o *origin) consume(fd int, c *originConn, b []byte) {
	if !c.proved {
		source, dest, size, err := parseHeader(c.header, b)
		if err != nil {
			o.fail("%v", err)
			o.close(fd)
			return
		}
		if size > 0 {
			c.proved, c.source, c.dest = true, source, dest
			b = b[size:]
		}
	}
	for c.proved && len(b) >= frameSize && c.kind == kindConn {
		b = o.frame(fd, c, b)
	}
	if len(b) > len(c.keep) {
		o.fail("%d bytes that are no frame", len(b))
		o.close(fd)
		return
	}
	c.kept = copy(c.keep[:], b)
}

// frame answers the frame at the start of b and returns what follows it.
func (o *origin) frame(fd int, c *originConn, b []byte) []byte {
	f := (*frame)(b[:frameSize])
	b = b[frameSize:]
	if !c.greeted && !o.greet(c, f) {
		o.close(fd)
		return nil
	}
	switch f[0] {
	case opHello, opMessage:
		o.echo(fd, f)
	case opDownload:
		c.download += f.length()
		o.send(fd, c)
	case opUpload:
		c.upload = f.length()
		n := min(int64(len(b)), c.upload)
		b = b[n:]
		o.uploaded(fd, c, n)
	default:
		o.fail("unknown frame %q", f[0])
		o.close(fd)
		return nil
	}
	return b
}

// greet compares the header with what the client says it sees.
func (o *origin) greet(c *originConn, f *frame) bool {
	c.greeted = true
	if f[0] != opHello {
		o.fail("first frame is %q", f[0])
		return false
	}
	if c.header == HeaderNone {
		return true
	}
	client, dialled := f.addresses()
	if c.source != client || c.dest != dialled {
		o.fail("header says %s to %s, the client is %s and dialled %s", c.source, c.dest, client, dialled)
		return false
	}
	o.counts.Headers++
	return true
}

func (o *origin) echo(fd int, f *frame) {
	n, errno := rawSend(fd, f[:], 0)
	if n != frameSize && errno != unix.EPIPE && errno != unix.ECONNRESET {
		o.fail("echo %d of %d bytes: %v", n, frameSize, errno)
	}
}

// swallow takes bytes of an upload, never more than are due, so that the next frame is not lost.
func (o *origin) swallow(fd int, c *originConn) {
	n, errno := rawDiscard(fd, min(c.upload, payloadSize))
	switch {
	case errno == unix.EAGAIN:
	case errno != 0 || n == 0:
		o.finished(fd, c, errno != 0)
	default:
		o.uploaded(fd, c, int64(n))
	}
}

func (o *origin) uploaded(fd int, c *originConn, n int64) {
	c.upload -= n
	if c.upload == 0 {
		o.echo(fd, newFrame(opMessage, 0))
	}
}

// send goes on with a download, one payload at a time so that streams share the core.
func (o *origin) send(fd int, c *originConn) {
	var blocked bool
	if c.download > 0 {
		n, errno := rawSendfile(fd, o.payload, min(c.download, payloadSize))
		if errno == unix.EPIPE || errno == unix.ECONNRESET {
			o.finished(fd, c, true)
			return
		}
		if errno != 0 && errno != unix.EAGAIN {
			o.fail("send: %v", errno)
			o.close(fd)
			return
		}
		if errno == 0 {
			c.download -= int64(n)
		}
		blocked = c.download > 0
	}
	if blocked == c.writing {
		return
	}
	c.writing = blocked
	interest := uint32(unix.EPOLLIN)
	if blocked {
		interest |= unix.EPOLLOUT
	}
	if errno := o.poll.modify(fd, interest, fd); errno != 0 {
		o.fail("watch for room to send: %v", errno)
	}
}
