//go:build e2e

package e2e

import (
	"errors"
	"math/bits"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// spoofer sends datagrams to one port of the box with any source address.
type spoofer struct {
	fd int
	to unix.Sockaddr
}

func newSpoofer(t *testing.T, f family, port uint16) *spoofer {
	t.Helper()
	domain, level, option := unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT
	var to unix.Sockaddr
	if f.edge.Is4() {
		to = &unix.SockaddrInet4{Port: int(port), Addr: f.edge.As4()}
	} else {
		domain, level, option = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		to = &unix.SockaddrInet6{Port: int(port), Addr: f.edge.As16()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM, 0)
	if err == nil {
		t.Cleanup(func() { _ = unix.Close(fd) })
		err = unix.SetsockoptInt(fd, level, option, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &spoofer{fd, to}
}

// send sends one datagram. What the own machine has no room for is lost, as in any flood.
func (s *spoofer) send(t *testing.T, from netip.Addr, payload []byte) {
	var control []byte
	if from.Is4() {
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()})
	} else {
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})
	}
	if err := unix.Sendmsg(s.fd, payload, control, s.to, 0); err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("send from %s: %v", from, err)
	}
}

// wire sees the UDP packets between the client and the box as they pass the interface, fragments one by one.
type wire struct {
	fd       int
	version  byte
	protocol int // where an IP header of that version tells the next protocol
}

func newWire(t *testing.T, f family) *wire {
	t.Helper()
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{version: 4, protocol: 9}
	if f.edge.Is6() {
		w.version, w.protocol = 6, 6
	}
	all := bits.ReverseBytes16(unix.ETH_P_ALL) // outgoing packets come to sockets of this kind only
	w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, int(all))
	if err == nil {
		t.Cleanup(func() { _ = unix.Close(w.fd) })
		err = errors.Join(
			unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20),
			unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// bytes adds up what has passed, as it is on an Ethernet: with preamble, header, checksum and gap, at least 84 bytes
// a frame (IEEE 802.3).
func (w *wire) bytes(t *testing.T) (sent, received int) {
	t.Helper()
	buf := make([]byte, 64)
	for {
		n, from, err := unix.Recvfrom(w.fd, buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) {
			return sent, received
		}
		if err != nil {
			t.Fatal(err)
		}
		if n <= w.protocol || buf[0]>>4 != w.version || buf[w.protocol] != unix.IPPROTO_UDP {
			continue
		}
		frame := max(n+38, 84)
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			sent += frame
		} else {
			received += frame
		}
	}
}
