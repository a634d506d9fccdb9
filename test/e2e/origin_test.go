//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"breakwater/test/lab"
)

// ownAddress gives bw-origin another address until the test ends. The lab's origin does not answer there: what listens
// is the test's, and every other port refuses.
func ownAddress(t *testing.T, f family, n byte) netip.Addr {
	t.Helper()
	a := host(f.origin, n)
	address := fmt.Sprintf("%s/%d dev eth0", a, a.BitLen())
	option := ""
	if a.Is6() {
		option = " nodad"
	}
	change(t, lab.Origin, "ip addr add "+address+option, "ip addr del "+address)
	return a
}

// listen opens a TCP listener in a namespace of the lab. It is closed when the test ends, if not before.
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

// listenUDP opens a UDP socket in a namespace of the lab until the test ends.
func listenUDP(t *testing.T, ns string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := lab.Inside(ns, func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// accepting hands every connection of a listener to serve, in a goroutine of its own.
func accepting(l *net.TCPListener, serve func(*net.TCPConn)) {
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// answering sends every datagram to answer, and what that returns back to where it came from; nil is no reply.
func answering(c *net.UDPConn, answer func(datagram []byte, from netip.AddrPort) []byte) {
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if reply := answer(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())); reply != nil {
				_, _ = c.WriteToUDPAddrPort(reply, from) // a lost datagram is the client's to notice
			}
		}
	}()
}
