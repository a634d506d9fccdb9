//go:build e2e

package torture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/test/torture/pattern"
)

const crowd = 300

// letter is what one of a crowd sends: its number, then bytes that only it sends.
func letter(number int) []byte {
	b := make([]byte, 1000+7*number)
	binary.BigEndian.PutUint32(b, uint32(number))
	pattern.Fill(b[4:], uint64(number), 0)
	return b
}

// readLetter reads one to the end and returns its number.
func readLetter(c *net.TCPConn) (int, error) {
	var b []byte
	buf := make([]byte, 4096)
	for {
		n, err := read(c, buf)
		b = append(b, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("a letter of which %d bytes came: %w", len(b), err)
		}
	}
	if len(b) < 4 {
		return 0, fmt.Errorf("a letter of %d bytes", len(b))
	}
	number := int(binary.BigEndian.Uint32(b))
	if number >= crowd || len(b) != len(letter(number)) {
		return 0, fmt.Errorf("a letter of %d bytes from number %d", len(b), number)
	}
	return number, pattern.Check(b[4:], uint64(number), 0, make([]byte, len(b)))
}

// clientsGo: each sends and closes at once, and nobody waits for an answer.
func clientsGo(t *testing.T, c torture) {
	var mu sync.Mutex
	arrived := make(map[int]netip.AddrPort)
	all := make(chan struct{})
	end := c.each(func(origin *net.TCPConn, client netip.AddrPort) error {
		number, err := readLetter(origin)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := arrived[number]; ok {
			return fmt.Errorf("letter %d arrived twice", number)
		}
		arrived[number] = client
		if len(arrived) == crowd {
			close(all)
		}
		return nil
	})
	sent := make([]netip.AddrPort, crowd)
	err := together(crowd, func(i int) error {
		client, err := dial(c.dialled, 0)
		if err != nil {
			return err
		}
		sent[i] = addrPort(client.LocalAddr())
		_, err = write(client, letter(i))
		return errors.Join(err, client.Close())
	})
	select {
	case <-all:
	case <-time.After(patience):
	}
	if err := errors.Join(err, end()); err != nil || len(arrived) != crowd {
		t.Fatalf("%d of %d letters arrived: %v", len(arrived), crowd, err)
	}
	for i, client := range sent {
		if c.header != "none" && arrived[i] != client {
			t.Errorf("letter %d is from %s, and the header says %s", i, client, arrived[i])
		}
	}
}

// originsGo is the mirror image: the origin says all it has to say and closes before it hears anything.
func originsGo(t *testing.T, c torture) {
	numbers := make(chan int, crowd)
	for i := range crowd {
		numbers <- i
	}
	end := c.each(func(origin *net.TCPConn, _ netip.AddrPort) error {
		select {
		case number := <-numbers:
			_, err := write(origin, letter(number))
			return err
		default:
			return errors.New("more sessions than clients")
		}
	})
	var mu sync.Mutex
	arrived := make(map[int]bool)
	err := together(crowd, func(int) error {
		client, err := dial(c.dialled, 0)
		if err != nil {
			return err
		}
		defer client.Close()
		number, err := readLetter(client)
		mu.Lock()
		defer mu.Unlock()
		arrived[number] = arrived[number] || err == nil
		return err
	})
	if err := errors.Join(err, end()); err != nil || len(arrived) != crowd {
		t.Errorf("%d of %d letters arrived: %v", len(arrived), crowd, err)
	}
}

// trickle sends one byte at a time, each way, with pauses.
func trickle(t *testing.T, c torture) {
	const writers, letters = 20, 60
	end := c.each(func(origin *net.TCPConn, _ netip.AddrPort) error {
		_, err := io.Copy(struct{ io.Writer }{origin}, struct{ io.Reader }{patient{origin}})
		return err
	})
	err := together(writers, func(i int) error {
		client, err := dial(c.dialled, 0)
		if err != nil {
			return err
		}
		defer client.Close()
		for place := range int64(letters) {
			b := make([]byte, 1)
			pattern.Fill(b, uint64(i), place)
			if _, err := write(client, b); err != nil {
				return fmt.Errorf("writer %d, byte %d: %w", i, place, err)
			}
			if _, err := read(client, b); err != nil {
				return fmt.Errorf("writer %d, byte %d: %w", i, place, err)
			}
			if err := pattern.Check(b, uint64(i), place, make([]byte, 1)); err != nil {
				return fmt.Errorf("writer %d: %w", i, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		return errors.Join(client.CloseWrite(), ended(client))
	})
	must(t, errors.Join(err, end()))
}

// patient is a connection whose reads fail when nothing came for that long.
type patient struct{ *net.TCPConn }

func (p patient) Read(b []byte) (int, error) { return read(p.TCPConn, b) }

// clientsReusePorts lets a client take the port of its last session to the same address at once, as some games do and
// every client that has restarted may. Before Linux 6.14 it has to wait for a second.
func clientsReusePorts(t *testing.T) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0))
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse_delay", []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func clientClosesFirst(t *testing.T, c torture) { portAgain(t, c, true) }

func originClosesFirst(t *testing.T, c torture) { portAgain(t, c, false) }

// portAgain opens one session after the other from the same port of the client to the same port of the edge.
func portAgain(t *testing.T, c torture, clientFirst bool) {
	t.Helper()
	const times, size = 50, 777
	client := netip.AddrPortFrom(c.family.client, c.dialled.Port())
	end := c.each(func(origin *net.TCPConn, source netip.AddrPort) error {
		if c.header != "none" && source != client {
			return fmt.Errorf("the header names the client %s, which is %s", source, client)
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(patient{origin}, b); err != nil {
			return fmt.Errorf("at the origin: %w", err)
		}
		if _, err := write(origin, b); err != nil || !clientFirst {
			return err // and closes
		}
		return ended(origin)
	})
	var err error
	for i := range times {
		if err = again50(client, c.dialled, uint64(i), size, clientFirst); err != nil {
			err = fmt.Errorf("session %d: %w", i, err)
			break
		}
	}
	must(t, errors.Join(err, end()))
}

// again50 is one session from a port: it sends, gets the same back, and both ends close.
func again50(from, to netip.AddrPort, seed uint64, size int, closeFirst bool) error {
	client, err := dial(to, from.Port())
	for limit := now(patience); busy(err) && time.Now().Before(limit); client, err = dial(to, from.Port()) {
		time.Sleep(time.Millisecond) // the session before is not closed to the last
	}
	if err != nil {
		return err
	}
	defer client.Close()
	b := make([]byte, size)
	pattern.Fill(b, seed, 0)
	if _, err := write(client, b); err != nil {
		return err
	}
	if _, err := io.ReadFull(patient{client}, b); err != nil {
		return fmt.Errorf("at the client: %w", err)
	}
	if err := pattern.Check(b, seed, 0, make([]byte, size)); err != nil {
		return err
	}
	if closeFirst {
		if err := client.CloseWrite(); err != nil {
			return err
		}
	}
	return ended(client)
}

func busy(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}

// nobodyListens expects that a client learns at once that its port is closed at the origin: refused, or closed.
func nobodyListens(t *testing.T, c torture) {
	must(t, c.listener.Close())
	for range 20 {
		client, err := dial(c.dialled, 0)
		if err == nil {
			var n int
			n, err = read(client, make([]byte, 1))
			_ = client.Close()
			if n > 0 {
				t.Fatal("got a byte from nobody")
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want a closed port", err)
		}
	}
}
