package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
)

// maxDatagram is the largest payload of a UDP datagram over IPv4.
const maxDatagram = 65507

// receive answers datagrams until conn is closed. One loop is enough: it answers some 100,000 a second.
func (o *origin) receive(conn *net.UDPConn) error {
	buf, oob := make([]byte, 1<<16), make([]byte, 256)
	remembered := newMemory()
	for {
		n, oobn, _, peer, err := conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // an ICMP error for an earlier reply, say
			o.log.Warn("receive", "err", err)
			continue
		}
		local, err := originalDestination(oob[:oobn])
		if err != nil {
			o.log.Warn("receive", "client", peer, "err", err)
			continue
		}
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		if err := reply(local, peer, o.replyTo(flow{peer, local}, buf[:n], remembered)); err != nil {
			o.log.Warn("reply", "client", peer, "err", err)
		}
	}
}

// replyTo words the reply to one datagram: the line, then the payload; behind an SPP header when one came.
// What goes beyond the largest datagram is cut off.
func (o *origin) replyTo(f flow, datagram []byte, remembered *memory) []byte {
	a := o.answerTo(f.peer, f.local)
	if src, dst, payload, ok := header.ParseSPP(datagram); ok {
		a.Header, a.Source, a.Destination = "spp", src, dst
		spp := header.SPP(src, dst)
		return limit(append(append(spp[:], a.line()...), payload...))
	}
	payload := datagram
	if h, p, err := header.ParseDatagram(datagram); err == nil {
		payload = p
		remembered.put(f, h)
		a.saw(h)
	} else if h, ok := remembered.get(f); ok {
		a.saw(h)
	}
	return limit(append(a.line(), payload...))
}

func limit(datagram []byte) []byte { return datagram[:min(len(datagram), maxDatagram)] }

// reply sends from the address that the client wrote to, which any port may be, so each reply has a socket of its
// own. It is never connected: TPROXY gives datagrams to connected sockets before the listener.
func reply(local, peer netip.AddrPort, datagram []byte) error {
	lc := net.ListenConfig{Control: transparent}
	conn, err := lc.ListenPacket(context.Background(), "udp", local.String())
	if err != nil {
		return fmt.Errorf("bind %s: %w", local, err)
	}
	defer conn.Close() //nolint:errcheck // sent or not is known by then
	_, err = conn.WriteTo(datagram, net.UDPAddrFromAddrPort(peer))
	return err
}

// originalDestination finds where a datagram that TPROXY redirected was sent to (IP_RECVORIGDSTADDR, ip(7)).
func originalDestination(oob []byte) (netip.AddrPort, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the control messages of a datagram: %w", err)
	}
	for i := range messages {
		sa, err := unix.ParseOrigDstAddr(&messages[i])
		if err != nil {
			continue // another message
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
		case *unix.SockaddrInet6:
			return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
		}
	}
	return netip.AddrPort{}, errors.New("a datagram without its original destination")
}

// flow is a peer and what it dialled.
type flow struct{ peer, local netip.AddrPort }

// memory keeps the header of flows that send it on their first datagram only. It holds two generations of at most
// maxRemembered flows and forgets the older when the younger is full or forgetAfter old.
type memory struct {
	young, old map[flow]header.Header
	since      time.Time
}

const (
	maxRemembered = 1 << 16
	forgetAfter   = 5 * time.Minute // longer than flows live without traffic
)

func newMemory() *memory { return &memory{young: make(map[flow]header.Header), since: time.Now()} }

func (m *memory) put(f flow, h header.Header) {
	if len(m.young) >= maxRemembered || time.Since(m.since) > forgetAfter {
		m.old, m.young, m.since = m.young, make(map[flow]header.Header), time.Now()
	}
	m.young[f] = h
}

// get finds the header of a flow and keeps it young.
func (m *memory) get(f flow) (header.Header, bool) {
	h, ok := m.young[f]
	if !ok {
		if h, ok = m.old[f]; ok {
			m.put(f, h)
		}
	}
	return h, ok
}
