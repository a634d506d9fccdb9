package torture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"breakwater/test/torture/pattern"
)

// patience is how long nothing may go on before it counts as stuck. At a loss of 5 % on each of two links and in both
// directions, TCP waits for more than ten seconds now and then: it doubles its pause with each packet lost in a row.
const patience = time.Minute

func now(and time.Duration) time.Time { return time.Now().Add(and) }

// stream is one direction of a session.
type stream struct {
	name      string
	from, to  *net.TCPConn
	seed      uint64
	size      int64
	open      bool // the end is not closed behind it, and the other end does not wait for that
	sent, got atomic.Int64
}

// String is how far each end came.
func (s *stream) String() string {
	return fmt.Sprintf("%s: %d of %d bytes sent, %d received", s.name, s.sent.Load(), s.size, s.got.Load())
}

// carry moves streams at the same time. The error tells how far every end came.
func carry(streams ...*stream) error {
	ends := make(chan error)
	for _, s := range streams {
		go func() { ends <- s.send() }()
		go func() { ends <- s.receive() }()
	}
	var errs []error
	for range 2 * len(streams) {
		errs = append(errs, <-ends)
	}
	err := errors.Join(errs...)
	if err != nil {
		for _, s := range streams {
			err = fmt.Errorf("%w\n  %v", err, s)
		}
	}
	return err
}

// send writes all of the stream, in pieces of many sizes.
func (s *stream) send() error {
	buf := make([]byte, 128<<10)
	for n := s.sent.Load(); n < s.size; n = s.sent.Load() {
		piece := buf[:min(s.size-n, 1+(n*7919+int64(s.seed))%int64(len(buf)))]
		pattern.Fill(piece, s.seed, n)
		wrote, err := write(s.from, piece)
		s.sent.Add(int64(wrote))
		if err != nil {
			return fmt.Errorf("%s: send: %w", s.name, err)
		}
	}
	if s.open {
		return nil
	}
	if err := s.from.CloseWrite(); err != nil {
		return fmt.Errorf("%s: close the sending end: %w", s.name, err)
	}
	return nil
}

// receive reads all of the stream, and its end.
func (s *stream) receive() error {
	buf, want := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		have := s.got.Load()
		if s.open && have == s.size {
			return nil
		}
		n, err := read(s.to, buf[:min(int64(len(buf)), s.size-have+1)])
		if have+int64(n) > s.size {
			return fmt.Errorf("%s: got more than was sent", s.name)
		}
		if wrong := pattern.Check(buf[:n], s.seed, have, want); wrong != nil {
			return fmt.Errorf("%s: %w", s.name, wrong)
		}
		s.got.Add(int64(n))
		switch {
		case errors.Is(err, io.EOF) && s.got.Load() == s.size:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s: ended too soon", s.name)
		case err != nil:
			return fmt.Errorf("%s: receive: %w", s.name, err)
		}
	}
}

// write and read fail when nothing goes on for patience.
func write(c *net.TCPConn, b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(len(b), n+64<<10)] // a deadline is for all of a Write
		if err := c.SetWriteDeadline(now(patience)); err != nil {
			return n, err
		}
		wrote, err := c.Write(piece)
		n += wrote
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func read(c *net.TCPConn, b []byte) (int, error) {
	if err := c.SetReadDeadline(now(patience)); err != nil {
		return 0, err
	}
	return c.Read(b)
}
