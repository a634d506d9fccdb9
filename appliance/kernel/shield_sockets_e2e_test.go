//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/status"
)

// TestShieldSockets: what is for a socket of the box itself passes, whatever presses.
func TestShieldSockets(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, port := range []uint16{portPlain, portNothing} {
		r.bothFamilies(t, fmt.Sprintf("a connection from port %d", port), func(t *testing.T, f family) {
			lost := dropped(status.NoService, vectorACK, noService, countTCP)
			if port == portPlain {
				number := r.numberOf(t, "plain", f)
				lost = dropped(status.NoSession, vectorACK, number, countTCP)
				r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}})
			}
			r.exhaustTrickles(t)
			p := f.opening(protocolTCP, 8080, port)
			p.flags = flagSYN | flagACK
			r.judges(t, p.frame(), lost)
			r.socket(t, f, unix.SOCK_STREAM, port, 8080)
			r.judges(t, p.frame(), untouched)
			p.flags = flagRST | flagACK
			r.judges(t, p.frame(), untouched)
			other := p
			other.from = netip.AddrPortFrom(f.client, 8081)
			other.flags = flagACK
			r.judges(t, other.frame(), lost)
		})
		r.bothFamilies(t, fmt.Sprintf("a question from port %d", port), func(t *testing.T, f family) {
			r.exhaustTrickles(t)
			lost := dropped(status.NoService, vectorUDP, noService, countUDP)
			if port == portPlain {
				lost = dropped(status.Reflection, vectorReflection, r.numberOf(t, "plain", f), countUDP)
			}
			p := udpTo(f, 53, port, "answer")
			r.judges(t, p.frame(), lost)
			r.socket(t, f, unix.SOCK_DGRAM, port, 0)
			r.judges(t, p.frame(), lost) // it asked nobody
			r.socket(t, f, unix.SOCK_DGRAM, port, 53)
			r.judges(t, p.frame(), untouched)
			p.from = netip.AddrPortFrom(f.router(), 53)
			r.judges(t, p.frame(), lost)
		})
	}
	r.bothFamilies(t, "a listener has no sessions", func(t *testing.T, f family) {
		number := r.numberOf(t, "plain", f)
		r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}})
		r.listen(t, f, portPlain)
		r.judges(t, tcpTo(f, portPlain, flagACK).frame(), dropped(status.NoSession, vectorACK, number, countTCP))
		r.judges(t, tcpTo(f, portPlain, flagSYN).frame(), passed(vectorSYN, number))
	})
}

func sockaddr(a netip.Addr, port uint16) (family int, s unix.Sockaddr) {
	if a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
}

// bound opens a socket at an edge address of the box, until the test ends.
func (r *rig) bound(f family, kind int, port uint16) (fd int, err error) {
	domain, local := sockaddr(f.edge, port)
	if fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fd, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	return fd, errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, local))
}

// socket connects a socket to a port of the client; 0: to nobody.
func (r *rig) socket(t *testing.T, f family, kind int, port, to uint16) {
	t.Helper()
	var fd int
	r.must(t, func() (err error) {
		if fd, err = r.bound(f, kind, port); err != nil || to == 0 {
			return err
		}
		_, remote := sockaddr(f.client, to)
		if err := unix.Connect(fd, remote); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		return nil
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
}

func (r *rig) listen(t *testing.T, f family, port uint16) {
	t.Helper()
	var fd int
	r.must(t, func() (err error) {
		if fd, err = r.bound(f, unix.SOCK_STREAM, port); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
}

// TestShieldSessions: what is of a session of the kernel path passes, while all else is dropped.
func TestShieldSessions(t *testing.T) {
	r := newRig(t, shieldPlan())
	r.each(t, "a session", func(t *testing.T, f family, protocol uint8) {
		r.calm(t)
		r.exhaustTrickles(t)
		number := r.numberOf(t, "plain", f)
		r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}, Reflections: bpfGauge{Second: later(), Until: later()}})
		r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Fragments, c.Bogons = fragmentsDrop, 1 })
		defer r.shieldMode(t, func(c *bpfShieldConfiguration) { c.Fragments, c.Bogons = fragmentsLimit, 0 })
		p := f.opening(protocol, 11211, portPlain) // by a port that a reflector could have
		r.passes(t, p.frame(), arrival{})
		r.trust(t)
		p.payload = []byte("\xff\xff\xff\xff")
		for _, flags := range []uint8{flagACK, flagACK | flagFIN, flagRST, flagSYN} {
			p.flags = flags
			r.judges(t, p.frame(), untouched)
			r.judges(t, tagged(p.frame(), 0x8100, 7), untouched)
		}
		p.from = netip.AddrPortFrom(f.client, 11212)
		if protocol == protocolTCP {
			p.flags = flagFIN | flagSYN
		} else {
			p.to = netip.AddrPortFrom(f.edge, 0)
		}
		if verdict, _ := r.shieldRun(t, p.frame()); verdict != xdpDrop {
			t.Error("another packet passes")
		}
	})
}
