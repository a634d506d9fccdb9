//go:build e2e

package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/test/lab"
	"breakwater/test/torture/loss"
	"breakwater/test/torture/pattern"
)

// TestEveryPort opens sessions by ports all over the edge: by some hundred of them in fine weather and in loss, and by all, in each
// weather, when the streams are as large as somebody asked for. TestEveryTCPPort of test/e2e has all of them in any case.
func TestEveryPort(t *testing.T) {
	_, asked := os.LookupEnv(largeVariable)
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			s := document(service(families[0], "v2", engine, "1-65535"), service(families[1], "v1", engine, "1-65535"))
			for i, f := range families {
				s.Pools[i].Origins[0].Address = f.every.String()
			}
			apply(t, s)
			ways := []way{everyPort(t, families[0], "v2"), everyPort(t, families[1], "v1")}
			for i, w := range weathers {
				if !asked && (w.loss != (loss.Weather{}) && w.loss != (loss.Weather{Drop: 10})) {
					continue
				}
				t.Run(w.name, func(t *testing.T) {
					sky := w.begin(t, s)
					first, step := 1+i, 131
					if asked && i == 0 {
						step = 1
					}
					err := together(len(ways), func(n int) error { return ways[n].tryPorts(first, step) })
					if err != nil {
						t.Error(err, sky)
					}
				})
			}
		})
	}
}

// everyPort listens on all ports of an address of bw-origin: every packet to it is given to one listener, whose
// sessions have the port that was dialled.
func everyPort(t *testing.T, f family, header string) way {
	t.Helper()
	iptables, bits := "iptables", f.every.BitLen()
	if f.every.Is6() {
		iptables = "ip6tables"
	}
	inside(t, lab.Origin, fmt.Sprintf("ip addr add %s/%d dev eth0 nodad", f.every, bits))
	inside(t, lab.Origin, fmt.Sprintf("%s -t mangle -A PREROUTING -p tcp -d %s -j TPROXY --on-ip %s --on-port 1", iptables, f.every, f.every))
	lc := net.ListenConfig{Control: transparent}
	lc.SetMultipathTCP(false)
	var l net.Listener
	err := lab.Inside(lab.Origin, func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp", netip.AddrPortFrom(f.every, 1).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w := way{family: f, header: header, dialled: netip.AddrPortFrom(f.edge, 0), listener: l.(*net.TCPListener)}
	end := w.each(func(origin *net.TCPConn, _ netip.AddrPort) error {
		b := make([]byte, 8)
		n, err := read(origin, b)
		if err != nil {
			return fmt.Errorf("at the origin: %w", err)
		}
		_, err = write(origin, b[:n])
		return errors.Join(err, ended(origin))
	})
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// transparent lets TPROXY give a socket what is for other ports (IP_TRANSPARENT of ip(7)).
func transparent(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		level, option := unix.SOL_IP, unix.IP_TRANSPARENT
		if network == "tcp6" {
			level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		failed = unix.SetsockoptInt(int(fd), level, option, 1)
	})
	return errors.Join(err, failed)
}

// tryPorts opens a session by each step-th port, many at a time.
func (w way) tryPorts(first, step int) error {
	const clients = 100
	var next atomic.Int64
	return together(clients, func(int) error {
		for {
			port := first + step*int(next.Add(1)-1)
			if port > 65535 {
				return nil
			}
			at := netip.AddrPortFrom(w.dialled.Addr(), uint16(port))
			if err := w.tryPort(at); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
	})
}

func (w way) tryPort(at netip.AddrPort) error {
	client, err := dial(at, 0)
	if err != nil {
		return err
	}
	defer client.Close()
	b := make([]byte, 8)
	pattern.Fill(b, uint64(at.Port()), 0)
	if _, err := write(client, b); err != nil {
		return err
	}
	if err := client.CloseWrite(); err != nil {
		return err
	}
	s := stream{name: "the echo", to: client, seed: uint64(at.Port()), size: int64(len(b))}
	return s.receive()
}
