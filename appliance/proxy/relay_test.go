package proxy

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestBulkBothWays moves enough for splicing in both directions at once and compares checksums.
func TestBulkBothWays(t *testing.T) {
	const size = 32 << 20
	up := make(chan [32]byte, 1)
	down := random(size, 2)
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		var running sync.WaitGroup
		running.Go(func() { _, _ = c.Write(down); _ = c.CloseWrite() })
		h := sha256.New()
		_, _ = io.Copy(h, c)
		up <- [32]byte(h.Sum(nil))
		running.Wait()
	}), nil)
	c := dial(t, b.edge4)
	sent := random(size, 1)
	var running sync.WaitGroup
	running.Go(func() { _, _ = c.Write(sent); _ = c.CloseWrite() })
	h := sha256.New()
	if _, err := io.Copy(h, c); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if got, want := [32]byte(h.Sum(nil)), sha256.Sum256(down); got != want {
		t.Error("the client got other bytes than the origin sent")
	}
	if got, want := <-up, sha256.Sum256(sent); got != want {
		t.Error("the origin got other bytes than the client sent")
	}
	eventually(t, "a normal end", func() bool { return b.count(plan.TCP, status.Normal) == 1 })
}

func random(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func TestHalfCloseKeepsTheOtherDirection(t *testing.T) {
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		request, _ := io.ReadAll(c) // until the client's FIN
		time.Sleep(100 * time.Millisecond)
		_, _ = c.Write([]byte("got " + string(request)))
	}), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("all of it"))
	_ = c.CloseWrite()
	reply, err := io.ReadAll(c)
	if err != nil || string(reply) != "got all of it" {
		t.Errorf("reply %q, %v", reply, err)
	}
}

func TestDataAndFINAtOnce(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	var running sync.WaitGroup
	for range 300 {
		running.Go(func() {
			c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(b.edge4))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = c.Write([]byte("now"))
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != "now" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	running.Wait()
	eventually(t, "300 normal ends", func() bool { return b.count(plan.TCP, status.Normal) == 300 })
}

func TestResetReachesTheOtherSide(t *testing.T) {
	origins := make(chan *net.TCPConn, 1)
	release := make(chan struct{})
	defer close(release)
	b := start(t, serveTCP(t, func(c *net.TCPConn) { origins <- c; <-release }), nil)

	client := dial(t, b.edge4)
	o := <-origins
	mustWrite(t, client, []byte("x"))
	mustRead(t, o, "x")
	_ = client.SetLinger(0)
	_ = client.Close()
	if _, err := o.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin saw %v of the client's reset", err)
	}

	client = dial(t, b.edge4)
	o = <-origins
	_ = o.SetLinger(0)
	_ = o.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v of the origin's reset", err)
	}
	eventually(t, "both are counted", func() bool {
		return b.count(plan.TCP, status.ClientReset) == 1 && b.count(plan.TCP, status.OriginReset) == 1
	})
}

// TestAnOriginThatHangsUp is one that ends a session soon, before its client does, and has said nothing.
func TestAnOriginThatHangsUp(t *testing.T) {
	hungUp := func(b *box) uint64 { return b.pools.Status()[0].Origins[0].HungUp }
	for _, test := range []struct {
		name   string
		origin func(*net.TCPConn)
		client func(*net.TCPConn)
		want   uint64
	}{
		{"it closes", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)) }, func(*net.TCPConn) {}, 1},
		{"it resets", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)); _ = c.SetLinger(0) }, func(*net.TCPConn) {}, 1},
		{"it says why", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)); _, _ = c.Write([]byte("no")) }, func(*net.TCPConn) {}, 0},
		{"the client leaves first", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, func(c *net.TCPConn) { _ = c.CloseWrite() }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, serveTCP(t, test.origin), nil)
			client := dial(t, b.edge4)
			mustWrite(t, client, []byte("hello"))
			test.client(client)
			_, _ = io.Copy(io.Discard, client)
			_ = client.Close()
			eventually(t, "the session ends", func() bool { return len(b.all()) == 0 })
			if got := hungUp(b); got != test.want {
				t.Errorf("it hung up %d times, want %d", got, test.want)
			}
		})
	}
}

// TestStalledClientPushesBack sends to a client that does not read: the origin must be stopped by back-pressure, not
// by our memory, and everything arrive once the client reads.
func TestStalledClientPushesBack(t *testing.T) {
	const size = 64 << 20
	data := random(size, 3)
	var sent sync.WaitGroup
	sent.Add(1)
	var before time.Time
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		defer sent.Done()
		_, _ = c.Write(data)
		before = time.Now()
	}), nil)
	c := dial(t, b.edge4)
	_ = c.SetReadBuffer(64 << 10)
	time.Sleep(300 * time.Millisecond)
	reading := time.Now()
	h := sha256.New()
	if n, err := io.Copy(h, c); err != nil || n != size {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	sent.Wait()
	if before.Before(reading) {
		t.Error("the origin got rid of everything before the client read a byte")
	}
	if [32]byte(h.Sum(nil)) != sha256.Sum256(data) {
		t.Error("the client got other bytes than the origin sent")
	}
}
