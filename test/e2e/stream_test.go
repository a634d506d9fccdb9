//go:build e2e

package e2e

import (
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// pair is one session with both ends in the test's hands.
type pair struct{ client, origin *net.TCPConn }

// newPair opens a session through a service with change applied.
func newPair(t *testing.T, f family, change func(*settings.Service)) pair {
	t.Helper()
	own := ownAddress(t, f, 53)
	s := service("streams", "500")
	if change != nil {
		change(&s)
	}
	apply(t, document([]settings.Pool{pool("games", own)}, s))
	accepted := make(chan *net.TCPConn, 1)
	l := listen(t, lab.Origin, netip.AddrPortFrom(own, 500))
	go func() {
		if c, err := l.AcceptTCP(); err == nil {
			accepted <- c
		}
	}()
	p := pair{client: connect(t, f.at(500))}
	p.origin = receive(t, accepted)
	t.Cleanup(func() { _ = p.origin.Close() })
	setDeadline(t, p.origin)
	return p
}

// ends are the client and the origin, or the origin and the client.
func (p pair) ends(clientFirst bool) (first, second *net.TCPConn) {
	if clientFirst {
		return p.client, p.origin
	}
	return p.origin, p.client
}

// eachEnd runs f for each family, with the client and with the origin as the end that acts.
func eachEnd(t *testing.T, change func(*settings.Service), f func(t *testing.T, acts, other *net.TCPConn)) {
	eachFamily(t, func(t *testing.T, family family) {
		for _, who := range []string{"client", "origin"} {
			t.Run(who, func(t *testing.T) {
				acts, other := newPair(t, family, change).ends(who == "client")
				f(t, acts, other)
			})
		}
	})
}

func TestHalfClose(t *testing.T) {
	eachEnd(t, nil, func(t *testing.T, acts, other *net.TCPConn) {
		if _, err := acts.Write([]byte("that is all")); err != nil {
			t.Fatal(err)
		}
		if err := acts.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(other); err != nil || string(got) != "that is all" {
			t.Fatalf("got %q (%v), want all that was sent and the end", got, err)
		}
		// The other direction is as open as before.
		for _, message := range []string{"but I", " go on"} {
			if _, err := other.Write([]byte(message)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(message))
			if _, err := io.ReadFull(acts, got); err != nil || string(got) != message {
				t.Fatalf("got %q (%v), want %q", got, err, message)
			}
		}
		if err := other.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(acts); err != nil || len(got) > 0 {
			t.Errorf("got %q (%v), want the end", got, err)
		}
	})
}

// TestResetArrivesAsReset: an end that breaks off must not look as if it had finished.
func TestResetArrivesAsReset(t *testing.T) {
	eachEnd(t, nil, func(t *testing.T, acts, other *net.TCPConn) {
		if err := acts.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		if err := acts.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %d bytes and %v, want a reset", n, err)
		}
	})
}

// TestOriginThatResetsAtOnce: the reset may arrive in one event with the connect, and looked like a clean end.
func TestOriginThatResetsAtOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 53)
		accepting(listen(t, lab.Origin, netip.AddrPortFrom(own, 502)), func(c *net.TCPConn) { _ = c.SetLinger(0) })
		apply(t, document([]settings.Pool{pool("games", own)}, service("streams", "502")))
		for range 50 {
			c, err := dialTCP(f.at(502))
			if err == nil {
				_, err = c.Read(make([]byte, 1))
				_ = c.Close()
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("got %v, want a reset", err)
			}
		}
	})
}

func TestServerSpeaksFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := newPair(t, f, nil)
		if _, err := p.origin.Write([]byte("220 ready")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 9)
		if _, err := io.ReadFull(p.client, got); err != nil || string(got) != "220 ready" {
			t.Errorf("got %q (%v), want what the server said", got, err)
		}
	})
}

// TestServerSpeaksAndHangsUpAtOnce: what such a server says may arrive in one event with its connect, and was lost.
func TestServerSpeaksAndHangsUpAtOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 53)
		named(t, netip.AddrPortFrom(own, 501), "no room")
		apply(t, document([]settings.Pool{pool("games", own)}, service("streams", "501")))
		onlyFrom(t, f, 501, "no room", 50)
	})
}

// pattern is what bulk tests send: no byte repeats at a distance that a lost or doubled buffer could hide in.
var pattern = func() []byte {
	b := make([]byte, 1<<20-17)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(b)
	return b
}()

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// send writes size bytes and returns their checksum.
func send(to io.Writer, size int) (sum uint32, err error) {
	for size > 0 {
		b := pattern[:min(size, len(pattern))]
		if _, err := to.Write(b); err != nil {
			return sum, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		size -= len(b)
	}
	return sum, nil
}

// drain reads to the end and returns how much there was and its checksum.
func drain(from io.Reader) (size int, sum uint32, err error) {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		sum = crc32.Update(sum, castagnoli, buf[:n])
		size += n
		if errors.Is(err, io.EOF) {
			return size, sum, nil
		}
		if err != nil {
			return size, sum, err
		}
	}
}

// TestGibibyteEachWay moves both directions of one session at the same time.
func TestGibibyteEachWay(t *testing.T) {
	const size = 1 << 30
	eachFamily(t, func(t *testing.T, f family) {
		p := newPair(t, f, nil)
		var moving sync.WaitGroup
		move := func(from, to *net.TCPConn) {
			sent := make(chan uint32, 1)
			for _, c := range []*net.TCPConn{from, to} {
				if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			moving.Go(func() {
				sum, err := send(from, size)
				if err = errors.Join(err, from.CloseWrite()); err != nil {
					t.Error(err)
				}
				sent <- sum
			})
			moving.Go(func() {
				n, got, err := drain(to)
				if want := <-sent; err != nil || n != size || got != want {
					t.Errorf("got %d bytes with the checksum %08x (%v), want %d with %08x", n, got, err, size, want)
				}
			})
		}
		move(p.client, p.origin)
		move(p.origin, p.client)
		moving.Wait()
	})
}

// TestStalledEndPushesBack: one end does not read; the other is stopped, nothing is lost, and others go on.
func TestStalledEndPushesBack(t *testing.T) {
	eachEnd(t, nil, func(t *testing.T, acts, stalled *net.TCPConn) {
		const size = 128 << 20
		sent := fill(t, acts, size)
		if sent >= size {
			t.Fatalf("%d bytes went into a session that nobody reads", sent)
		}
		rest := make(chan error, 1)
		go func() {
			if err := acts.SetWriteDeadline(time.Now().Add(patience)); err != nil {
				rest <- err
				return
			}
			for left := size - sent; left > 0; {
				n, err := acts.Write(pattern[:min(left, len(pattern))])
				if err != nil {
					rest <- err
					return
				}
				left -= n
			}
			rest <- acts.CloseWrite()
		}()
		setDeadline(t, stalled)
		n, _, err := drain(stalled)
		if err != nil || n != size {
			t.Errorf("got %d bytes (%v), want all %d", n, err, size)
		}
		if err := receive(t, rest); err != nil {
			t.Error(err)
		}
	})
}

// fill writes until nothing was taken for a while, at most size bytes, and returns how many were.
func fill(t *testing.T, c *net.TCPConn, size int) (sent int) {
	t.Helper()
	for sent < size {
		if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Write(pattern[:min(size-sent, len(pattern))])
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 {
			return sent
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	return sent
}

// TestStalledForTooLong: an end that takes nothing for the time of the service costs a session, not the box.
func TestStalledForTooLong(t *testing.T) {
	impatient := func(s *settings.Service) { s.Timeouts.WriteStall = settings.Duration(time.Second) }
	eachEnd(t, impatient, func(t *testing.T, acts, stalled *net.TCPConn) {
		before := reasons(t, plan.TCP)[status.WriteStall]
		setDeadline(t, acts)
		for {
			if _, err := acts.Write(pattern); err != nil {
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("got %v, want a reset", err)
				}
				break
			}
		}
		counted(t, plan.TCP, status.WriteStall, before, 1)
	})
}
