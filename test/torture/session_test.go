//go:build e2e

package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// way is from a client to an origin of the test, by a port that no other test uses.
type way struct {
	family   family
	header   string
	dialled  netip.AddrPort
	listener *net.TCPListener
}

// session has both ends of one TCP connection in the test's hands.
type session struct{ client, origin *net.TCPConn }

// open makes a session of which the origin has read and checked the header.
func (w way) open(t *testing.T) session {
	t.Helper()
	s, err := w.tryOpen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func (w way) tryOpen() (s session, err error) {
	if s.client, err = dial(w.dialled, 0); err != nil {
		return s, err
	}
	if err := w.listener.SetDeadline(now(patience)); err != nil {
		return s, err
	}
	if s.origin, err = w.listener.AcceptTCP(); err != nil {
		return s, fmt.Errorf("accept at the origin: %w", err)
	}
	return s, w.expectHeader(s.origin, addrPort(s.client.LocalAddr()))
}

// carriedBy expects that a session of a way is on an engine: a box that cannot use one may take another.
func (w way) carriedBy(t *testing.T, engine string) {
	t.Helper()
	s := w.open(t)
	client := addrPort(s.client.LocalAddr())
	eventually(t, func() error {
		out, err := exec.Command("../../build/breakwater", "sessions", "--json", "--client", client.Addr().String()).Output()
		var list []status.Session
		if err = errors.Join(err, json.Unmarshal(out, &list)); err != nil {
			return fmt.Errorf("list the sessions: %w", err)
		}
		for _, one := range list {
			if one.Client == client && string(one.Path) == engine {
				return nil
			}
		}
		return fmt.Errorf("no session of %s is on the %s path: %s", client, engine, out)
	})
	s.close()
}

func (s session) close() {
	for _, c := range []*net.TCPConn{s.client, s.origin} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// expectHeader reads the header of a session and compares it with the client's own address and what it dialled.
func (w way) expectHeader(origin *net.TCPConn, client netip.AddrPort) error {
	source, err := w.source(origin)
	if err == nil && w.header != "none" && source != client {
		err = fmt.Errorf("the header names the client %s, which is %s", source, client)
	}
	return err
}

// source reads the header, of the right kind and with the address that was dialled. Without one, source is nobody,
// and a header that comes all the same is found as wrong bytes of the stream.
func (w way) source(origin *net.TCPConn) (source netip.AddrPort, err error) {
	if w.header == "none" {
		return source, nil
	}
	// Origins without a port of their own have the one that was dialled.
	dialled := netip.AddrPortFrom(w.dialled.Addr(), addrPort(origin.LocalAddr()).Port())
	h, err := readHeader(origin)
	switch {
	case err != nil:
		return source, err
	case fmt.Sprintf("v%d", h.Version) != w.header || h.Local || h.Destination != dialled:
		return source, fmt.Errorf("got the header %+v, want %s to %s", h, w.header, dialled)
	}
	return h.Source, nil
}

// readHeader takes the header and not a byte more.
func readHeader(c *net.TCPConn) (h header.Header, err error) {
	var buf []byte
	for {
		h, n, err := header.Parse(buf)
		if err != nil || n > 0 {
			return h, err
		}
		buf = append(buf, 0)
		if _, err := read(c, buf[len(buf)-1:]); err != nil {
			return h, fmt.Errorf("read a header, of which %q came: %w", buf[:len(buf)-1], err)
		}
	}
}

// dial connects from a port; 0 is any.
func dial(to netip.AddrPort, port uint16) (*net.TCPConn, error) {
	return dialWithin(to, port, patience)
}

func dialWithin(to netip.AddrPort, port uint16, limit time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: limit}
	d.SetMultipathTCP(false)
	if port != 0 {
		d.Control = reusable
		d.LocalAddr = &net.TCPAddr{Port: int(port)}
	}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// reusable lets sockets have the port of others that are nearly gone.
func reusable(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, failed)
}

// each accepts sessions until the listener is closed, and gives each to serve with its client, in a goroutine of its
// own. The function that it returns closes the listener, waits, and tells the first error.
func (w way) each(serve func(origin *net.TCPConn, client netip.AddrPort) error) (end func() error) {
	var serving sync.WaitGroup
	var mu sync.Mutex
	var first error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}
	serving.Go(func() {
		for {
			_ = w.listener.SetDeadline(now(2 * patience))
			c, err := w.listener.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				note(fmt.Errorf("accept at the origin: %w", err))
				return
			}
			serving.Go(func() {
				defer c.Close()
				source, err := w.source(c)
				if err == nil {
					err = serve(c, source)
				}
				note(err)
			})
		}
	})
	return func() error {
		_ = w.listener.Close()
		serving.Wait()
		return first
	}
}

// together does something count times at the same time and returns the first error.
func together(count int, do func(i int) error) error {
	errs := make(chan error)
	for i := range count {
		go func() { errs <- do(i) }()
	}
	var first error
	for range count {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// ended expects the end of a stream.
func ended(c *net.TCPConn) error {
	n, err := read(c, make([]byte, 1))
	if n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("got %d bytes (%w), want the end", n, err)
	}
	return nil
}

// listen opens a TCP listener in a namespace of the lab until the test ends.
func listen(t *testing.T, ns string, at netip.AddrPort) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	err := lab.Inside(ns, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
