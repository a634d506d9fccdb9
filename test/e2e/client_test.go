//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/test/lab"
)

func dialTCP(at netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: patience}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", at.String())
	if err != nil {
		return nil, err
	}
	conn := c.(*net.TCPConn)
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// connect dials the box as a player; the connection ends with the test.
func connect(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := dialTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// udpPorts counts the sockets of dialUDP.
var udpPorts atomic.Uint32

// dialUDP takes a port that no test had before it, below those of the kernel. A flow lives on after its socket: who is
// given the port of one by chance is a player that the box knows, and stays with the origin of that.
func dialUDP(at netip.AddrPort) (*net.UDPConn, error) {
	const first, ports = 10_000, 20_000
	for {
		from := &net.UDPAddr{Port: first + int(udpPorts.Add(1)%ports)}
		c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(at))
		if !errors.Is(err, unix.EADDRINUSE) {
			return c, err
		}
	}
}

func connectUDP(t *testing.T, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := dialUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func local(c net.Conn) netip.AddrPort { return addrPort(c.LocalAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// askTCP sends a message and reads the origin's line and the echo.
func askTCP(c net.Conn, message string) (a lab.Answer, err error) {
	if _, err := c.Write([]byte(message)); err != nil {
		return a, err
	}
	return readAnswer(bufio.NewReader(c), message)
}

func readAnswer(in *bufio.Reader, message string) (a lab.Answer, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("read the origin's line: %w (got %q)", err, line)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("read the origin's line %q: %w", line, err)
	}
	echo := make([]byte, len(message))
	if _, err := readFull(in, echo); err != nil || string(echo) != message {
		return a, fmt.Errorf("got the echo %q (%w), want %q", echo, err, message)
	}
	return a, nil
}

func readFull(in *bufio.Reader, b []byte) (int, error) {
	for n := 0; n < len(b); {
		got, err := in.Read(b[n:])
		n += got
		if err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// udpTries is how often a datagram is sent until it is answered: datagrams may be lost.
const udpTries = 5

// askUDP is askTCP with datagrams.
func askUDP(c net.Conn, message string) (a lab.Answer, err error) {
	buf := make([]byte, 1<<16)
	for range udpTries {
		if _, err = c.Write([]byte(message)); err != nil {
			continue // the ICMP error of an earlier one
		}
		if err = c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return a, err
		}
		n, e := c.Read(buf)
		if err = e; err != nil {
			continue
		}
		line, echo, _ := bytes.Cut(buf[:n], []byte("\n"))
		if err := json.Unmarshal(line, &a); err != nil {
			return a, fmt.Errorf("read the origin's line %q: %w", line, err)
		}
		if string(echo) != message {
			return a, fmt.Errorf("got the echo %q, want %q", echo, message)
		}
		return a, nil
	}
	return a, fmt.Errorf("no answer to %d datagrams: %w", udpTries, err)
}

func setDeadline(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

// receive waits for the next of a channel.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("got nothing within %s", patience)
		panic("not reached")
	}
}

// connectFrom connects as a player with an address of a crowd.
func connectFrom(t *testing.T, network string, from netip.Addr, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := dialFrom(network, from, at, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	setDeadline(t, c)
	return c
}

func dialFrom(network string, from netip.Addr, at netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, Control: freebind, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	d.SetMultipathTCP(false)
	return d.Dial(network, at.String())
}

// freebind lets a socket have an address that is only routed here: for IPv6 that is not enough.
func freebind(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		level, option := unix.SOL_IP, unix.IP_FREEBIND
		if network == "tcp6" || network == "udp6" {
			level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
		}
		failed = unix.SetsockoptInt(int(fd), level, option, 1)
	})
	return errors.Join(err, failed)
}
