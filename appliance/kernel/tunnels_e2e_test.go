//go:build e2e

package kernel

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"breakwater/appliance/health"
)

// addTunnel adds an interface of layer 3, which lasts as long as the test.
func (r *rig) addTunnel(t testing.TB, name string) (index int) {
	t.Helper()
	r.must(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0) // for interfaces of this namespace
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return fmt.Errorf("make a TUN: %w", err)
		}
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		index = i.Index
		return setLink(name, true)
	})
	return index
}

// TestTunnels: packets without an Ethernet header are the user path's, whether clients come in by such an interface or origins are
// behind it, and a condition says so as long as it is like that.
func TestTunnels(t *testing.T) {
	r := newRig(t, withInterfaces("edge0"))
	tunnel := r.addTunnel(t, "tun0")
	conditions := func(want string) {
		t.Helper()
		var got []string
		for _, c := range r.conditions.List() {
			got = append(got, fmt.Sprintf("%s %s %s", c.Code, c.Subject, c.Severity))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("the conditions are %v, want %s", got, want)
		}
	}
	conditions("[]")

	r.apply(t, withInterfaces("edge0", "tun0", "lo"))
	conditions(fmt.Sprintf("[no-ethernet tun0 %s]", health.Warning))
	if got, want := fmt.Sprint(r.attachments(t)), "[edge0 native tun0 none]"; got != want {
		t.Errorf("status tells %s, want %s", got, want)
	}
	if err := r.path.objects.Interfaces.Lookup(uint32(tunnel), &bpfInterface{}); err == nil || r.path.links[tunnel] != nil {
		t.Error("the kernel path is at the tunnel")
	}

	r.apply(t, withInterfaces("edge0"))
	conditions("[]")
	if got, want := fmt.Sprint(r.attachments(t)), "[edge0 native]"; got != want {
		t.Errorf("status tells %s, want %s", got, want)
	}
	inner := r.inner
	r.inner = tunnel
	again := func() {
		t.Helper()
		r.must(t, r.path.reattach)
		r.must(t, r.path.refresh)
		r.must(t, r.path.reattach)
	}
	again()
	conditions(fmt.Sprintf("[no-ethernet tun0 %s]", health.Info))
	for _, f := range families {
		r.leaves(t, aSYN(f).frame(), arrival{}, 6) // LEFT_ORIGIN
		r.leaves(t, aDatagram(f).frame(), arrival{}, 6)
	}
	r.inner = inner
	again()
	conditions("[]")
	for _, f := range families {
		r.passes(t, aSYN(f).frame(), arrival{})
		r.passes(t, aDatagram(f).frame(), arrival{})
	}
}
