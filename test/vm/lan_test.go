//go:build vm

package vm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
)

// lan is a network behind a trunk: a network namespace with a TAP, whose TCP is that of this machine.
type lan struct {
	tag   uint16 // of 802.1Q; 0: none
	tap   *os.File
	mac   net.HardwareAddr
	calls chan func() // for the thread that lives in the namespace
}

// trunk is what a switch does with the cables of a port, or of a bond: it takes a frame to the network of its tag and back.
type trunk struct {
	cables []*cable
	lans   map[uint16]*lan

	mu     sync.Mutex
	astray []string // what had the tag of another network than its receiver's
}

// newLAN makes a network with these addresses, from which the box, a neighbour, is the way to all others.
func newLAN(t *testing.T, tag uint16, addresses []string, box ...string) *lan {
	t.Helper()
	l := &lan{tag: tag, calls: make(chan func())}
	go func() {
		runtime.LockOSThread() // it is never unlocked: the thread ends with its namespace
		for call := range l.calls {
			call()
		}
	}()
	t.Cleanup(func() { close(l.calls) })
	l.inside(t, func() error { return l.build(addresses, box) })
	t.Cleanup(func() { _ = l.tap.Close() })
	return l
}

// inside calls something in the namespace, which sockets made there belong to.
func (l *lan) inside(t *testing.T, call func() error) {
	t.Helper()
	done := make(chan error)
	l.calls <- func() { done <- call() }
	if err := <-done; err != nil {
		t.Fatalf("in the network with tag %d: %v", l.tag, err)
	}
}

func (l *lan) build(addresses, box []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	const name = "lan0"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("make a TAP: %w", err)
	}
	l.tap = os.NewFile(uintptr(fd), name)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	l.mac = link.Attrs().HardwareAddr
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD // listeners want it at once
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s: %w", text, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, router := range box {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(router)}); err != nil {
			return fmt.Errorf("make %s the router: %w", router, err)
		}
	}
	return nil
}

func newTrunk(t *testing.T, cables []*cable, lans ...*lan) *trunk {
	k := &trunk{cables: cables, lans: map[uint16]*lan{}}
	for _, l := range lans {
		k.lans[l.tag] = l
	}
	for _, c := range cables {
		go c.listen(t, k.out)
	}
	for _, l := range lans {
		go k.in(t, l)
	}
	return k
}

// out takes a frame from the box to the network of its tag.
func (k *trunk) out(frame []byte) error {
	if len(frame) < 18 {
		return nil
	}
	tag, bare := uint16(0), frame
	if binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_8021Q {
		tag = binary.BigEndian.Uint16(frame[14:]) & 0xfff
		bare = slices.Concat(frame[:12], frame[16:])
	}
	l := k.lans[tag]
	if frame[0]&1 == 0 && (l == nil || l.mac.String() != net.HardwareAddr(frame[:6]).String()) {
		k.mu.Lock()
		k.astray = append(k.astray, fmt.Sprintf("tag %d: % x", tag, frame[:min(len(frame), 78)]))
		k.mu.Unlock()
		return nil
	}
	if l == nil {
		return nil // a router is looked for
	}
	if _, err := l.tap.Write(bare); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, syscall.EIO) {
		return err
	}
	return nil
}

// in takes frames of a network to the box. A bond takes what comes by the member in use.
func (k *trunk) in(t *testing.T, l *lan) {
	buffer := make([]byte, 4096)
	for {
		n, err := l.tap.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("read the network with tag %d: %v", l.tag, err)
			return
		}
		frame := buffer[:n]
		if l.tag != 0 {
			frame = slices.Concat(buffer[:12], []byte{0x81, 0}, binary.BigEndian.AppendUint16(nil, l.tag), buffer[12:n])
		}
		for _, c := range k.cables {
			_ = c.send(frame) // it is lost while the machine is not there
		}
	}
}

// strays are frames that went astray since the last time.
func (k *trunk) strays() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.astray
	k.astray = nil
	return all
}

// dial connects from an address of the network.
func (l *lan) dial(t *testing.T, network, from string, to netip.AddrPort) (conn net.Conn, err error) {
	t.Helper()
	var local net.Addr
	switch network {
	case "tcp":
		local = &net.TCPAddr{IP: net.ParseIP(from)}
	case "udp":
		local = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	dialer := net.Dialer{LocalAddr: local, Timeout: answerWait}
	dialer.SetMultipathTCP(false)
	l.inside(t, func() error {
		conn, err = dialer.Dial(network, to.String())
		return nil
	})
	return conn, err
}

// serve is an origin: it tells what the PROXY header told it, and then sends back whatever it is sent. resets has the players
// whose connections were reset.
func (l *lan) serve(t *testing.T, address string, resets chan<- string) {
	t.Helper()
	var listener net.Listener
	var socket net.PacketConn
	l.inside(t, func() (err error) {
		at := netip.AddrPortFrom(netip.MustParseAddr(address), portOrigin).String()
		if listener, err = net.Listen("tcp", at); err != nil {
			return err
		}
		socket, err = net.ListenPacket("udp", at)
		return err
	})
	t.Cleanup(func() { _, _ = listener.Close(), socket.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go echo(conn, resets)
		}
	}()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			if h, payload, err := header.ParseDatagram(buffer[:n]); err == nil {
				_, _ = socket.WriteTo(fmt.Appendf(nil, "%s to %s\n%s", h.Source, h.Destination, payload), from) // the player sees what is missing
			}
		}
	}()
}

func echo(conn net.Conn, resets chan<- string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for n := 16; n <= 512; n++ {
		whole, err := r.Peek(n)
		if err != nil {
			return
		}
		h, size, err := header.Parse(whole)
		if err != nil || size == 0 {
			continue
		}
		_, _ = r.Discard(size)
		_, _ = fmt.Fprintf(conn, "%s to %s\n", h.Source, h.Destination) // the player sees what is missing
		if _, err = io.Copy(conn, r); errors.Is(err, syscall.ECONNRESET) {
			resets <- h.Source.String()
		}
		return
	}
}
