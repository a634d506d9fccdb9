package proxy

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBytesBehindUrgentOnes: a read ends at urgent data (tcp(7), "out-of-band data"), and what is behind it has no event
// of its own. The urgent byte itself is not passed on.
func TestBytesBehindUrgentOnes(t *testing.T) {
	origins := make(chan *net.TCPConn, 1)
	release := make(chan struct{})
	defer close(release)
	b := open(t, serveTCP(t, func(c *net.TCPConn) { origins <- c; <-release }), nil)
	c := dial(t, b.edge4)
	s := b.takeSession(t)
	s.worker.sessionEvent(s, s.token(kindOrigin), unix.EPOLLOUT) // open
	mustWrite(t, c, []byte("before"))
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatalf("send urgent data: %v", err)
	}
	mustWrite(t, c, []byte("behind"))
	b.run(t)
	o := <-origins
	_ = o.SetReadDeadline(time.Now().Add(5 * time.Second))
	mustRead(t, o, "beforebehind")
}
