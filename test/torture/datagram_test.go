//go:build e2e

package torture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/test/lab"
)

// datagrams are exchanged with each kind of header. One that is lost is sent again: in the end each is answered, with
// the bytes that were sent.
func datagrams(t *testing.T, c torture) {
	const flows, each = 5, 50
	for _, h := range datagramHeaders {
		at := netip.AddrPortFrom(c.family.edge, h.from+c.dialled.Port()%1000)
		end := echoDatagrams(t, c.family, h.name, at.Port(), c.calm)
		err := together(flows, func(i int) error {
			s, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
			if err != nil {
				return err
			}
			defer s.Close()
			for number := range uint32(each) {
				err := errors.New("not sent")
				for limit := now(patience); err != nil && !errors.Is(err, errWrong) && !errors.Is(err, errStranger) && time.Now().Before(limit); {
					err = exchange(s, uint64(i), number, firstWait)
				}
				if err != nil {
					return fmt.Errorf("header %s, flow %d, datagram %d: %w", h.name, i, number, err)
				}
			}
			return nil
		})
		must(t, errors.Join(err, end()))
	}
}

// mirror sends back the payload of datagrams whose header names a client of the lab and the address that was dialled.
type mirror struct {
	socket  *net.UDPConn
	kind    string // of header
	calm    bool   // nothing is lost, so that v2-first can be checked to the letter
	client  netip.Addr
	dialled netip.AddrPort

	echoing sync.WaitGroup
	wrong   error                   // the first
	known   map[netip.AddrPort]bool // with v2-first: where datagrams came from
}

// echoDatagrams echoes at the origin. The function that it returns ends that and tells the first error.
func echoDatagrams(t *testing.T, f family, kind string, port uint16, calm bool) (end func() error) {
	t.Helper()
	m := &mirror{kind: kind, calm: calm, known: make(map[netip.AddrPort]bool), client: f.client, dialled: netip.AddrPortFrom(f.edge, port)}
	err := lab.Inside(lab.Origin, func() (err error) {
		m.socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.origin, port)))
		return err
	})
	must(t, err)
	must(t, lab.Roomy(m.socket))
	m.echoing.Go(m.run)
	return func() error {
		_ = m.socket.Close()
		m.echoing.Wait()
		return m.wrong
	}
}

func (m *mirror) run() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := m.socket.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the ICMP error of an earlier echo
		}
		reply, err := m.reply(buf[:n], from)
		if err != nil {
			if m.wrong == nil {
				m.wrong = fmt.Errorf("a datagram of %d bytes with the header %s from %s: %w", n, m.kind, from, err)
			}
			continue
		}
		_, _ = m.socket.WriteToUDPAddrPort(reply, from) // what is lost is the client's to notice
	}
}

// reply takes the header off, or for spp leaves it, as that goes both ways.
func (m *mirror) reply(datagram []byte, from netip.AddrPort) ([]byte, error) {
	switch m.kind {
	case "none":
		return datagram, nil
	case "spp":
		source, destination, _, ok := header.ParseSPP(datagram)
		if !ok {
			return nil, errors.New("it is not there")
		}
		return datagram, m.expect(source, destination)
	case "v2-first":
		h, payload, err := header.ParseDatagram(datagram)
		headed, first := err == nil, !m.known[from]
		m.known[from] = true
		switch {
		case m.calm && headed != first:
			return nil, fmt.Errorf("on the first datagram: %t, with the header: %t", first, headed)
		case !headed:
			return datagram, nil
		}
		return payload, m.expect(h.Source, h.Destination)
	default:
		h, payload, err := header.ParseDatagram(datagram)
		if err != nil {
			return nil, err
		}
		return payload, m.expect(h.Source, h.Destination)
	}
}

func (m *mirror) expect(source, destination netip.AddrPort) error {
	if source.Addr() != m.client || destination != m.dialled {
		return fmt.Errorf("it names %s and %s, want %s and %s", source, destination, m.client, m.dialled)
	}
	return nil
}
