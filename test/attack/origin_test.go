//go:build e2e

package attack

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"breakwater/test/lab"
)

// startOrigins echoes at both origins of the lab until the test ends: streams to their end, and datagrams.
func startOrigins(t *testing.T) {
	t.Helper()
	for _, f := range families {
		var l *net.TCPListener
		var s, talker *net.UDPConn
		err := lab.Inside(lab.Origin, func() (err error) {
			if l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.origin, tcpPort))); err != nil {
				return err
			}
			if s, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.origin, udpPort))); err != nil {
				return err
			}
			talker, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.origin, talkerPort)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = errors.Join(l.Close(), s.Close(), talker.Close()) })
		must(t, lab.Roomy(s)) // for what the box lets through of a flood in half a second
		go echoStreams(l)
		go echoDatagrams(s)
		go talk(talker)
	}
}

func echoStreams(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 4096))
		}()
	}
}

// echoDatagrams answers what players send, and like a game nothing else: the first word says which is which.
func echoDatagrams(s *net.UDPConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= len(hello) && string(buf[:len(hello)]) == hello {
			_, _ = s.WriteToUDPAddrPort(buf[:n], from) // what is lost is the player's to notice
		}
	}
}

// talk answers each datagram with one of 1,400 bytes, as a list of players would be.
func talk(s *net.UDPConn) {
	buf, answer := make([]byte, 1<<16), make([]byte, 1400)
	for {
		_, from, err := s.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = s.WriteToUDPAddrPort(answer, from)
		}
	}
}
