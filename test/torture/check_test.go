package torture

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestCheckFindsWrongBytes: what a proxy can do wrong to a stream shows, and where.
func TestCheckFindsWrongBytes(t *testing.T) {
	const seed, offset = 5, 1<<33 + 3
	good := make([]byte, 5000)
	fill(good, seed, offset)
	for _, tt := range []struct {
		name string
		got  []byte
		want string // empty: nothing is wrong
	}{
		{"as it was sent", good, ""},
		{"a flipped bit", slices.Concat(good[:100], []byte{good[100] ^ 1}, good[101:]), "wrong byte at 8589934695"},
		{"a lost byte", slices.Concat(good[:100], good[101:]), "wrong byte at 8589934695: got "},
		{"28 bytes too many, as of a header", slices.Concat(good[:100], make([]byte, 28), good[100:]), "wrong byte at 8589934695"},
		{"a segment twice", slices.Concat(good[:2896], good[1448:]), "which belongs at 8589936043"},
		{"a segment too early", slices.Concat(good[:1448], good[2896:]), "which belongs at 8589937491"},
		{"zeros in the last bytes", slices.Concat(good[:4990], make([]byte, 10)), "wrong byte at 8589939585"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := check(tt.got, seed, offset, make([]byte, 1<<13))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFillIsOneStream: however it is cut, and with no two places alike.
func TestFillIsOneStream(t *testing.T) {
	whole, piece := make([]byte, 300), make([]byte, 300)
	fill(whole, 9, 0)
	for from := range whole {
		fill(piece[from:], 9, int64(from))
		if !bytes.Equal(piece[from:], whole[from:]) {
			t.Fatalf("from %d on the bytes are others", from)
		}
	}
	seen := make(map[string]bool)
	many := make([]byte, 1<<20)
	fill(many, 9, 0)
	for i := 0; i+8 <= len(many); i++ {
		if word := string(many[i : i+8]); seen[word] {
			t.Fatalf("the eight bytes at %d were there before", i)
		} else {
			seen[word] = true
		}
	}
}

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
			fill(b, 3, 0)
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
