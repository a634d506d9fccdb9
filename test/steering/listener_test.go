//go:build e2e

package steering

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/steering"
)

// listen is the smallest transparent listener: it answers with the address and port that the client dialled.
func listen(t *testing.T) (stop func()) {
	t.Helper()
	lc := net.ListenConfig{Control: transparent}
	lc.SetMultipathTCP(false)
	var closers []interface{ Close() error }
	for _, host := range []string{"127.0.0.1", "::1"} {
		address := net.JoinHostPort(host, fmt.Sprint(steering.ListenPort))
		tcp, err := lc.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		udp, err := lc.ListenPacket(t.Context(), "udp", address)
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, tcp, udp)
		go accept(tcp, func(c net.Conn) string { return "listener at " + c.LocalAddr().String() })
		go answerDatagrams(udp.(*net.UDPConn))
	}
	return func() {
		for _, c := range closers {
			c.Close()
		}
	}
}

// answerDatagrams answers each from the address that it was sent to.
func answerDatagrams(c *net.UDPConn) {
	b, control := make([]byte, 512), make([]byte, 128)
	for {
		_, n, _, from, err := c.ReadMsgUDPAddrPort(b, control)
		if err != nil {
			return
		}
		to, err := originalDestination(control[:n])
		if err != nil {
			continue // the client's silence fails the test
		}
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(to), Control: transparent}
		if reply, err := d.Dial("udp", from.String()); err == nil {
			_, _ = reply.Write([]byte("listener at " + to.String()))
			reply.Close()
		}
	}
}

// originalDestination reads IP_ORIGDSTADDR (a sockaddr_in) or IPV6_ORIGDSTADDR (a sockaddr_in6).
func originalDestination(control []byte) (netip.AddrPort, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, m := range messages {
		at, length := 4, 4
		if m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_ORIGDSTADDR {
			at, length = 8, 16
		} else if m.Header.Level != unix.SOL_IP || m.Header.Type != unix.IP_ORIGDSTADDR {
			continue
		}
		a, _ := netip.AddrFromSlice(m.Data[at : at+length])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(m.Data[2:])), nil
	}
	return netip.AddrPort{}, fmt.Errorf("no original destination")
}
