package torture

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"breakwater/test/torture/pattern"
)

// TestCarryFindsABadEnd: streams that end too soon, too late or with a reset are no good ones.
func TestCarryFindsABadEnd(t *testing.T) {
	const size = 100_000
	for _, tt := range []struct {
		name string
		send func(*net.TCPConn, []byte) error
		want string // empty: nothing is wrong
	}{
		{"all of it", func(c *net.TCPConn, b []byte) error { return sendAll(c, b) }, ""},
		{"a byte too few", func(c *net.TCPConn, b []byte) error { return sendAll(c, b[:size-1]) }, "ended too soon"},
		{"a byte too many", func(c *net.TCPConn, b []byte) error { return sendAll(c, append(b, 0)) }, "more than was sent"},
		{"a reset behind the last byte", func(c *net.TCPConn, b []byte) error {
			_, err := c.Write(b)
			return errors.Join(err, c.SetLinger(0), c.Close())
		}, syscall.ECONNRESET.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := loopback(t)
			b := make([]byte, size)
			pattern.Fill(b, 3, 0)
			sent := make(chan error, 1)
			go func() { sent <- tt.send(from, b) }()
			s := &stream{name: "stream", to: to, seed: 3, size: size}
			err := s.receive()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

func sendAll(c *net.TCPConn, b []byte) error {
	_, err := c.Write(b)
	return errors.Join(err, c.CloseWrite())
}

// loopback is a TCP connection by its ends.
func loopback(t *testing.T) (from, to *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if from, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	if to, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return from, to
}
