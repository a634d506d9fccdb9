//go:build e2e

package torture

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"breakwater/test/torture/pattern"
)

func down(t *testing.T, c torture) {
	s := c.open(t)
	must(t, carry(&stream{name: "down", from: s.origin, to: s.client, seed: 1, size: c.large}))
}

func up(t *testing.T, c torture) {
	s := c.open(t)
	must(t, carry(&stream{name: "up", from: s.client, to: s.origin, seed: 2, size: c.large}))
}

func bothWays(t *testing.T, c torture) {
	s := c.open(t)
	must(t, carry(
		&stream{name: "up", from: s.client, to: s.origin, seed: 3, size: c.large / 2},
		&stream{name: "down", from: s.origin, to: s.client, seed: 4, size: c.large / 2}))
}

func clientFinishes(t *testing.T, c torture) {
	s := c.open(t)
	oneAfterTheOther(t, s.client, s.origin)
}

func originFinishes(t *testing.T, c torture) {
	s := c.open(t)
	oneAfterTheOther(t, s.origin, s.client)
}

// oneAfterTheOther lets the other end begin when the first has said all.
func oneAfterTheOther(t *testing.T, first, second *net.TCPConn) {
	t.Helper()
	must(t, carry(&stream{name: "before the end", from: first, to: second, seed: 5, size: 300_001}))
	must(t, carry(&stream{name: "after it", from: second, to: first, seed: 6, size: 400_003}))
}

func clientResets(t *testing.T, c torture) {
	s := c.open(t)
	resets(t, s.client, s.origin)
}

func originResets(t *testing.T, c torture) {
	s := c.open(t)
	resets(t, s.origin, s.client)
}

// resets expects that an end which breaks off in the middle does not look as if it had finished. The survivor writes
// on, as a lost reset is sent again only when something comes.
func resets(t *testing.T, breaks, survivor *net.TCPConn) {
	t.Helper()
	must(t, carry(
		&stream{name: "from the end that breaks off", from: breaks, to: survivor, seed: 7, size: 100_000, open: true},
		&stream{name: "from the survivor", from: survivor, to: breaks, seed: 8, size: 100_000, open: true}))
	must(t, breaks.SetLinger(0))
	must(t, breaks.Close())
	for b, sent := make([]byte, 10_000), 0; ; sent += len(b) {
		if _, err := write(survivor, b); err != nil {
			// After an end that looked finished it would be EPIPE.
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after %d bytes: got %v, want a reset", sent, err)
			}
			return
		}
	}
}

func serverFirst(t *testing.T, c torture) {
	s := c.open(t)
	must(t, carry(&stream{name: "greeting", from: s.origin, to: s.client, seed: 9, size: 99, open: true}))
	must(t, carry(&stream{name: "answer", from: s.client, to: s.origin, seed: 10, size: 2_000_000}))
	must(t, carry(&stream{name: "farewell", from: s.origin, to: s.client, seed: 11, size: 1}))
}

func clientStalls(t *testing.T, c torture) {
	s := c.open(t)
	stalls(t, s.origin, s.client)
}

func originStalls(t *testing.T, c torture) {
	s := c.open(t)
	stalls(t, s.client, s.origin)
}

// atMostBuffered is what may be between a writer and an end that does not read: four buffers of sockets as large as
// the kernel makes them, and what the box keeps.
const atMostBuffered = 32 << 20

// stalls expects that an end which does not read stops the writer, and that all comes when it reads.
func stalls(t *testing.T, writer, stalled *net.TCPConn) {
	t.Helper()
	s := &stream{name: "into the stall", from: writer, to: stalled, seed: 12}
	b := make([]byte, 64<<10)
	for s.size < atMostBuffered {
		must(t, writer.SetWriteDeadline(now(2*time.Second)))
		pattern.Fill(b, s.seed, s.size)
		n, err := writer.Write(b)
		s.size += int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		must(t, err)
	}
	if s.size >= atMostBuffered {
		t.Fatalf("%d bytes went to an end that does not read", s.size)
	}
	s.sent.Store(s.size)
	s.size += 100_000
	must(t, carry(s))
}

// must ends the test.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
