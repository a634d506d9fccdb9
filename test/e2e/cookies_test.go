//go:build e2e

package e2e

import (
	"bufio"
	big "encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// cookied is a service whose clients all come by SYN cookies.
func cookied(name string, ports ...string) settings.Service {
	s := service(name, ports...)
	s.TCPHeader, s.Shield.SYNCookies = "v2", "on"
	return s
}

func cookies(t *testing.T) status.Cookies {
	t.Helper()
	return boxStatus(t).Edge.Shield.Cookies
}

// TestCookies: clients that come by cookies see no difference, whoever speaks first, and the origin hears who they are.
func TestCookies(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, cookied("games", "1800")))
		before := cookies(t)
		for n := range 200 {
			if err := throughCookie(f.at(1800), n%2 == 0); err != nil {
				t.Errorf("connection %d: %v", n, err)
			}
		}
		after := cookies(t)
		if n := after.Accepted - before.Accepted; n != 200 || after.Sent-before.Sent < 200 {
			t.Errorf("%d cookies were accepted and %d sent, want 200", n, after.Sent-before.Sent)
		}
	})
}

// throughCookie is one client, which speaks first or waits for the origin to do so.
func throughCookie(at netip.AddrPort, first bool) error {
	c, err := dialTCP(at)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it was read to the end
	message := ""
	if first {
		message = "hello"
		if _, err := c.Write([]byte(message)); err != nil {
			return err
		}
	}
	a, err := readAnswer(bufio.NewReader(c), message)
	if err != nil {
		return err
	}
	if a.Header != "v2" || a.Source != local(c) || a.Destination != at {
		return fmt.Errorf("the origin heard %+v of %s", a, local(c))
	}
	return nil
}

// TestCookieOptions: what both ends have offered is in force, and megabytes go both ways.
func TestCookieOptions(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, cookied("games", "1800")))
		c := connect(t, f.at(1800))
		in := bufio.NewReader(c)
		if _, err := readAnswer(in, ""); err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		const timestamps, sack, scale = 1, 2, 4 // linux/tcp.h, TCPI_OPT_*
		if want := uint8(timestamps | sack | scale); info.Options&want != want {
			t.Errorf("the options in force are %#x, want %#x", info.Options, want)
		}
		if size := uint32(1500 - 40 - 12); f.edge.Is4() && info.Snd_mss != size {
			t.Errorf("segments have %d bytes, want %d", info.Snd_mss, size)
		}
		const much = 16 << 20
		go func() {
			_, _ = io.CopyN(c, rand.NewChaCha8([32]byte{1}), much) // what does not arrive is missed below
		}()
		want, got, block := rand.NewChaCha8([32]byte{1}), make([]byte, 1<<16), make([]byte, 1<<16)
		for range much / len(got) {
			_, _ = want.Read(block)
			if _, err := io.ReadFull(in, got); err != nil {
				t.Fatal(err)
			}
			if string(got) != string(block) {
				t.Fatal("the echo is not what was sent")
			}
		}
	})
}

// TestCookiePortReuse: a client comes again from the same port at once, while the box remembers it in TIME_WAIT.
func TestCookiePortReuse(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own, s := ownAddress(t, f, 77), cookied("games", "1801")
		s.TCPHeader = "none" // nobody reads it
		apply(t, document([]settings.Pool{pool("games", own)}, s))
		accepting(listen(t, lab.Origin, netip.AddrPortFrom(own, 1801)), func(c *net.TCPConn) { _, _ = io.WriteString(c, "bye\n") })
		for n := range 10 {
			// Below the ports that the kernel gives by itself.
			d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.client, 28000)), Control: again}
			d.SetMultipathTCP(false)
			c, err := d.Dial("tcp", f.at(1801).String())
			if err != nil {
				t.Fatalf("connection %d: %v", n+1, err)
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			if got, err := io.ReadAll(c); err != nil || string(got) != "bye\n" {
				t.Errorf("connection %d: got %q, %v", n+1, got, err)
			}
			_ = c.Close()
		}
	})
}

// again lets a port be used although a connection of it has just ended.
func again(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }); e != nil {
		return e
	}
	return err
}

// flood sends SYNs from everywhere in 198.19.0.0/16, or 2001:db8:ff::/48, until stop.
type flood struct {
	fd    int
	frame []byte
	v4    bool
	sent  int
}

// newFlood prepares a SYN to a port of the box.
func newFlood(t *testing.T, f family, port uint16) *flood {
	t.Helper()
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	fl := &flood{v4: f.edge.Is4()}
	fl.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fl.fd) })
	if err := unix.Bind(fl.fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		t.Fatal(err)
	}
	fl.frame = append(fl.frame, boxMAC(t)...)
	fl.frame = append(fl.frame, link.HardwareAddr...)
	if fl.v4 {
		fl.frame = append(fl.frame, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 19, 0, 0)
	} else {
		fl.frame = append(fl.frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64)
		from := netip.MustParseAddr("2001:db8:ff::").As16()
		fl.frame = append(fl.frame, from[:]...)
	}
	fl.frame = append(fl.frame, f.edge.AsSlice()...)
	fl.frame = append(fl.frame, 0, 0, byte(port>>8), byte(port), 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
	return fl
}

// boxMAC finds the hardware address of the box.
func boxMAC(t *testing.T) net.HardwareAddr {
	t.Helper()
	c := connectUDP(t, families[0].at(9))
	var mac net.HardwareAddr
	eventually(t, func() error {
		_, _ = c.Write([]byte("where are you?")) // it is asked for before that leaves
		table, err := os.ReadFile("/proc/thread-self/net/arp")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[0] == families[0].edge.String() && fields[2] == "0x2" {
				mac, err = net.ParseMAC(fields[3])
				return err
			}
		}
		return fmt.Errorf("nobody knows where the box is:\n%s", table)
	})
	return mac
}

// send sends one SYN of somebody else, with its checksums.
func (f *flood) send() {
	ip := f.frame[14:]
	tcp := ip[20:]
	if !f.v4 {
		tcp = ip[40:]
		big.BigEndian.PutUint64(ip[16:], rand.Uint64())
		big.BigEndian.PutUint16(ip[12:], uint16(rand.Uint32())) //nolint:gosec // some bits of it
	} else {
		big.BigEndian.PutUint16(ip[14:], uint16(rand.Uint32())) //nolint:gosec // some bits of it
		ip[10], ip[11] = 0, 0
		big.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:20]))
	}
	big.BigEndian.PutUint16(tcp, 1024+uint16(rand.Uint32()%60000)) //nolint:gosec // bounded
	big.BigEndian.PutUint32(tcp[4:], rand.Uint32())
	tcp[16], tcp[17] = 0, 0
	addresses := ip[8:40]
	if f.v4 {
		addresses = ip[12:20]
	}
	big.BigEndian.PutUint16(tcp[16:], ^onesSum(addresses, []byte{0, 6, 0, 20}, tcp))
	if _, err := unix.Write(f.fd, f.frame); err == nil {
		f.sent++
	}
}

// onesSum is the sum of RFC 1071.
func onesSum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(big.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum) //nolint:gosec // bounded
}

// run sends until stop is closed.
func (f *flood) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			for range 64 {
				f.send()
			}
		}
	}
}

// TestSYNFlood: a flood arms cookies; clients get in as before, sessions go on, and no session is made of the flood. When it is over,
// clients take the kernel path again.
func TestSYNFlood(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := service("games", "1802")
		s.TCPHeader, s.Shield.SYNRate = "v2", 100
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		old := connect(t, f.at(1802))
		if _, err := askTCP(old, "before"); err != nil {
			t.Fatal(err)
		}
		fl, stop := newFlood(t, f, 1802), make(chan struct{})
		var flooding sync.WaitGroup
		flooding.Go(func() { fl.run(stop) })
		eventually(t, func() error { return armedIs(t, true) })
		before, begun := boxStatus(t).Edge, time.Now()
		failed := 0
		for range 200 {
			if err := throughCookie(f.at(1802), true); err != nil {
				failed++
				if failed == 1 {
					t.Log(err)
				}
			}
		}
		took := time.Since(begun)
		echoes(t, old, "meanwhile")
		close(stop)
		flooding.Wait()
		after := boxStatus(t).Edge
		t.Logf("%d of 200 clients in %v, %d SYNs were sent, %d answered", 200-failed, took, fl.sent, after.Shield.Cookies.Sent-before.Shield.Cookies.Sent)
		if failed > 0 {
			t.Errorf("%d of 200 clients did not get in; all that was refused: %+v", failed, after.Reasons)
		}
		if n := opened(after) - opened(before); n > 210 {
			t.Errorf("200 clients made %d sessions", n)
		}
		within(t, 30*time.Second, func() error { return armedIs(t, false) })
		accepted := cookies(t).Accepted
		if err := throughCookie(f.at(1802), true); err != nil {
			t.Error(err)
		}
		if n := cookies(t).Accepted; n != accepted {
			t.Error("after the flood, clients still come by cookies")
		}
	})
}

func armedIs(t *testing.T, want bool) error { return armedAgainst(t, status.VectorSYN, want) }

func armedAgainst(t *testing.T, vector status.Vector, want bool) error {
	for _, v := range boxStatus(t).Edge.Shield.Vectors {
		if v.Vector == vector && v.Service == "games" && v.Armed == want {
			return nil
		}
	}
	return fmt.Errorf("what is to be armed against %s: not %t", vector, want)
}

// TestKernelCookies: where the kernel answers SYNs with its own cookies, clients get in although what has no session is dropped.
func TestKernelCookies(t *testing.T) {
	const setting = "net.ipv4.tcp_syncookies="
	change(t, lab.Edge, "sysctl -qw "+setting+"2", "sysctl -qw "+setting+"1") // 2: for everybody
	eachFamily(t, func(t *testing.T, f family) {
		s := service("games", "1804")
		s.Path, s.TCPHeader, s.Shield.SYNCookies = "user", "v2", "off"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		fl, stop := newFlood(t, f, 1804), make(chan struct{})
		fl.frame[len(fl.frame)-7] = 16 // ACK
		var flooding sync.WaitGroup
		flooding.Go(func() { fl.run(stop) })
		defer flooding.Wait()
		defer close(stop)
		eventually(t, func() error { return armedAgainst(t, status.VectorACK, true) })
		before := kernelCookies(t)
		for n := range 50 {
			if err := throughCookie(f.at(1804), n%2 == 0); err != nil {
				t.Fatalf("client %d: %v; what is armed: %v", n, err, armedAgainst(t, status.VectorACK, true))
			}
		}
		if n := kernelCookies(t) - before; n < 50 {
			t.Errorf("50 clients came, %d by a cookie of the kernel", n)
		}
	})
}

// kernelCookies is how many cookies of its own the box's kernel was shown (SyncookiesRecv).
func kernelCookies(t *testing.T) int {
	t.Helper()
	names, values, found := strings.Cut(inside(t, lab.Edge, "grep", "^TcpExt", "/proc/net/netstat"), "\n")
	numbers := strings.Fields(values)
	for i, name := range strings.Fields(names) {
		if name == "SyncookiesRecv" && found && i < len(numbers) {
			n, err := strconv.Atoi(numbers[i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel does not count its cookies")
	return 0
}

// opened are all sessions that there ever were.
func opened(e *status.Edge) (n uint64) {
	for _, s := range e.Services {
		n += s.SessionsOpened
	}
	return n
}
