//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/health"
	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// tunnel joins two namespaces by interfaces without Ethernet, until the test ends. addresses are those of each end.
func tunnel(t *testing.T, name string, addresses map[string][]string) {
	t.Helper()
	var ends []*os.File
	for ns, list := range addresses {
		end := openTUN(t, ns, name)
		t.Cleanup(func() { _ = end.Close() }) // the interface goes with it
		ends = append(ends, end)
		for _, a := range list {
			option := ""
			if strings.Contains(a, ":") {
				option = " nodad"
			}
			inside(t, ns, strings.Fields("ip addr add "+a+" dev "+name+option)...)
		}
		inside(t, ns, "ip", "link", "set", name, "up")
	}
	for i, from := range ends {
		go func() {
			_, _ = io.CopyBuffer(struct{ io.Writer }{ends[1-i]}, struct{ io.Reader }{from}, make([]byte, 1<<16))
		}()
	}
}

func openTUN(t *testing.T, ns, name string) (end *os.File) {
	t.Helper()
	err := lab.Inside(ns, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		end = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// TestTunnels: who comes in by a tunnel, and whose origin is behind one, is on the user path, and conditions say why.
func TestTunnels(t *testing.T) {
	tunnel(t, "clients0", map[string][]string{lab.Client: {"198.18.4.2/24", "2001:db8:4::2/64"}, lab.Edge: {"198.18.4.1/24", "2001:db8:4::1/64"}})
	tunnel(t, "origins0", map[string][]string{lab.Origin: {"198.18.3.2/24", "2001:db8:3::2/64"}, lab.Edge: {"198.18.3.1/24", "2001:db8:3::1/64"}})
	for i, f := range []struct{ edge, origin netip.Addr }{
		{netip.MustParseAddr("198.18.4.10"), netip.MustParseAddr("198.18.3.2")},
		{netip.MustParseAddr("2001:db8:4::10"), netip.MustParseAddr("2001:db8:3::2")},
	} {
		t.Run(families[i].name, func(t *testing.T) {
			accepting(listen(t, lab.Origin, netip.AddrPortFrom(f.origin, 4101)), func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
			answering(listenUDP(t, lab.Origin, netip.AddrPortFrom(f.origin, 4101)), func(d []byte, _ netip.AddrPort) []byte { return d })
			near, far := onKernelPath(service("near", "4100")), onKernelPath(service("far", "4101"))
			far.Pool = "tunnelled"
			s := document([]settings.Pool{pool("games", families[i].origin), pool("tunnelled", f.origin)}, near, far)
			s.Edge.Interfaces = append(s.Edge.Interfaces, "clients0")
			s.Edge.Addresses = append(s.Edge.Addresses, settings.Prefix{Prefix: netip.PrefixFrom(f.edge, f.edge.BitLen())})
			apply(t, s)

			if _, err := askTCP(connect(t, netip.AddrPortFrom(f.edge, 4100)), "hello"); err != nil {
				t.Errorf("by a tunnel: %v", err)
			}
			if _, err := askUDP(connectUDP(t, netip.AddrPortFrom(f.edge, 4100)), "hello"); err != nil {
				t.Errorf("by a tunnel: %v", err)
			}
			echoes(t, connect(t, families[i].at(4101)), "to a tunnel")
			echoes(t, connectUDP(t, families[i].at(4101)), "to a tunnel")
			echoes(t, connect(t, netip.AddrPortFrom(f.edge, 4101)), "from one to the other")
			seen := map[string]bool{}
			for _, s := range sessions(t) {
				if s.Service != "near" && s.Service != "far" {
					continue // a flow of another test
				}
				seen[fmt.Sprint(s.Service, " ", s.Protocol, " ", s.Path)] = true
			}
			want := map[string]bool{"near tcp user": true, "near udp user": true, "far tcp user": true, "far udp user": true}
			if !maps.Equal(seen, want) {
				t.Errorf("the sessions are %v, want %v", slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(want)))
			}
			for name, severity := range map[string]health.Severity{"clients0": health.Warning, "origins0": health.Info} {
				eventually(t, func() error {
					if c, is := raised(t, "no-ethernet", name); !is || c.Severity != severity {
						return fmt.Errorf("the condition about %s is %+v, %t", name, c, is)
					}
					return nil
				})
			}
		})
	}
	apply(t, document([]settings.Pool{pool("games", families[0].origin)}, service("games", "4100")))
	eventually(t, func() error {
		for _, name := range []string{"clients0", "origins0"} {
			if c, is := raised(t, "no-ethernet", name); is {
				return fmt.Errorf("there is still %+v", c)
			}
		}
		return nil
	})
}
