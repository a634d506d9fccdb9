//go:build vm

package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cable leads into a port of the machine. Frames are datagrams of a socket.
type cable struct {
	arguments []string // for QEMU
	conn      *net.UnixConn
	box       *net.UnixAddr
}

// wire is a cable with a neighbour at its other end that sends whatever frame it likes and counts what it is answered.
type wire struct {
	*cable

	mu      sync.Mutex
	answers map[string]int
}

// The neighbour's addresses, and the port's.
var (
	neighbour  = netip.MustParseAddr("192.0.2.1")
	neighbour6 = netip.MustParseAddr("2001:db8:7::1")
	linkLocal4 = netip.MustParseAddr("169.254.0.1")
	linkLocal6 = netip.MustParseAddr("fe80::5054:ff:fe99:1")
	theirMAC   = net.HardwareAddr{0x52, 0x54, 0, 0x99, 0, 1}
	boxMAC     = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 3}
)

// Protocols of IP, and how far packets between neighbours go.
const (
	icmp4, tcp, udp, icmp6 = 1, 6, 17, 58
	hops                   = 255
)

// neighbourOf is the neighbour's address of the same family and scope.
func neighbourOf(a netip.Addr) netip.Addr {
	switch {
	case a.Is4() && a.IsLinkLocalUnicast():
		return linkLocal4
	case a.Is4():
		return neighbour
	case a.IsLinkLocalUnicast():
		return linkLocal6
	}
	return neighbour6
}

// isNeighbour tells whether an address, of 4 or 16 bytes, is one of the neighbour's.
func isNeighbour(address []byte) bool {
	a, _ := netip.AddrFromSlice(address)
	return a == neighbour || a == neighbour6 || a == linkLocal4 || a == linkLocal6
}

// newCable lets QEMU send and receive frames by a port with this MAC. id is a name for QEMU.
func newCable(t *testing.T, id, mac string) *cable {
	t.Helper()
	dir, err := os.MkdirTemp("", "wire") // t.TempDir can be longer than the 107 bytes of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	theirs, ours := filepath.Join(dir, "box"), filepath.Join(dir, "neighbour")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ours, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &cable{conn: conn, box: &net.UnixAddr{Name: theirs, Net: "unixgram"}, arguments: []string{
		"-netdev", "dgram,id=" + id + ",local.type=unix,local.path=" + theirs + ",remote.type=unix,remote.path=" + ours,
		"-device", "virtio-net-pci,netdev=" + id + ",romfile=,mac=" + mac}}
}

// listen gives every frame that comes out of the port to take, until the cable is gone.
func (c *cable) listen(t *testing.T, take func(frame []byte) error) {
	frame := make([]byte, 16384)
	for {
		n, err := c.conn.Read(frame)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("read the wire: %v", err)
			return
		}
		if err := take(frame[:n]); err != nil {
			t.Errorf("answer on the wire: %v", err)
		}
	}
}

func (c *cable) send(frame []byte) error {
	_, err := c.conn.WriteToUnix(frame, c.box)
	return err
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{cable: newCable(t, "wire", boxMAC.String()), answers: map[string]int{}}
	go w.listen(t, w.take)
	return w
}

// take answers who asks for the neighbour (RFC 826, RFC 4861), and counts what comes for it.
func (w *wire) take(f []byte) error {
	switch {
	case len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 1 && isNeighbour(f[38:42]):
		reply := append(ethernet(0x0806), f[14:20]...)
		reply = append(append(reply, 0, 2), theirMAC...)
		return w.send(append(append(reply, f[38:42]...), f[22:32]...))
	case len(f) >= 34 && f[12] == 8 && f[13] == 0 && isNeighbour(f[30:34]):
		return w.answered(netip.AddrFrom4([4]byte(f[26:30])), f[23], f[14+4*int(f[14]&15):])
	case len(f) >= 78 && f[12] == 0x86 && f[13] == 0xdd && f[20] == icmp6 && f[54] == 135:
		asks, wanted := netip.AddrFrom16([16]byte(f[22:38])), netip.AddrFrom16([16]byte(f[62:78]))
		if isNeighbour(f[62:78]) {
			return w.send(advertisement(wanted, asks))
		}
	case len(f) >= 54 && f[12] == 0x86 && f[13] == 0xdd && isNeighbour(f[38:54]):
		return w.answered(netip.AddrFrom16([16]byte(f[22:38])), f[20], f[54:])
	}
	return nil
}

// answered counts an answer, and ends what was opened: it would be repeated for a minute.
func (w *wire) answered(from netip.Addr, protocol byte, p []byte) error {
	answer := describe(from, protocol, p)
	w.mu.Lock()
	w.answers[answer]++
	w.mu.Unlock()
	if !strings.Contains(answer, "syn-ack") {
		return nil
	}
	return w.send(segment(from, binary.BigEndian.Uint16(p), rst, 2)) // the number that comes next
}

// describe names an answer: "192.0.2.10 syn-ack 443", "192.0.2.10 rst", "2001:db8:7::10 pong"; "192.0.2.10 dials 9" is
// none, but a connection to an origin.
func describe(from netip.Addr, protocol byte, p []byte) string {
	switch {
	case protocol == icmp4 && len(p) > 0 && p[0] == 0, protocol == icmp6 && len(p) > 0 && p[0] == 129:
		return fmt.Sprintf("%s pong", from)
	case (protocol == icmp4 || protocol == icmp6) && len(p) > 0:
		return fmt.Sprintf("%s icmp %d", from, p[0])
	case protocol == tcp && len(p) > 13 && p[13]&4 != 0:
		return fmt.Sprintf("%s rst", from)
	case protocol == tcp && len(p) > 13 && p[13]&18 == 18:
		return fmt.Sprintf("%s syn-ack %d", from, binary.BigEndian.Uint16(p))
	case protocol == tcp && len(p) > 13 && p[13]&18 == 2:
		return fmt.Sprintf("%s dials %d", from, binary.BigEndian.Uint16(p[2:]))
	}
	return fmt.Sprintf("%s protocol %d", from, protocol)
}

// drain returns the answers since the last time.
func (w *wire) drain() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.answers
	w.answers = map[string]int{}
	return all
}

func ethernet(kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, boxMAC...), theirMAC...), kind)
}

// packet is a frame with an IPv4 or IPv6 packet (RFC 791, RFC 8200) from the neighbour. sum is where the payload has the
// checksum that covers the addresses too; -1: it has none.
func packet(to netip.Addr, protocol byte, payload []byte, sum int) []byte {
	from := neighbourOf(to)
	if sum >= 0 {
		pseudo := append(append(from.AsSlice(), to.AsSlice()...), payload...)
		binary.BigEndian.PutUint16(payload[sum:], checksum(pseudo, uint32(protocol)+uint32(len(payload))))
	}
	if to.Is6() {
		head := make([]byte, 40)
		head[0], head[6], head[7] = 0x60, protocol, hops
		binary.BigEndian.PutUint16(head[4:], uint16(len(payload)))
		copy(head[8:], from.AsSlice())
		copy(head[24:], to.AsSlice())
		return append(append(ethernet(0x86dd), head...), payload...)
	}
	head := make([]byte, 20)
	head[0], head[8], head[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(payload)))
	copy(head[12:], from.AsSlice())
	copy(head[16:], to.AsSlice())
	binary.BigEndian.PutUint16(head[10:], checksum(head, 0))
	return append(append(ethernet(0x0800), head...), payload...)
}

// Flags of TCP.
const syn, rst, ack = 2, 4, 16

// segment is one of TCP without data (RFC 9293), with a sequence number.
func segment(to netip.Addr, port uint16, flags, number byte) []byte {
	p := make([]byte, 20)
	binary.BigEndian.PutUint16(p, 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	p[7], p[11], p[12], p[13], p[14] = number, 1, 5<<4, flags, 0xff
	return packet(to, tcp, p, 16)
}

func datagram(to netip.Addr, port uint16) []byte {
	p := make([]byte, 8)
	binary.BigEndian.PutUint16(p, 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	p[5] = 8 // its length
	return packet(to, udp, p, 6)
}

func ping(to netip.Addr) []byte {
	p := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	if to.Is6() {
		p[0] = 128
		return packet(to, icmp6, p, 2)
	}
	binary.BigEndian.PutUint16(p[2:], checksum(p, 0))
	return packet(to, icmp4, p, -1)
}

// advertisement tells an address of the port whose MAC an address of the neighbour's has (RFC 4861, 4.4): solicited, and
// to be believed.
func advertisement(of, to netip.Addr) []byte {
	p := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, of.AsSlice()...)
	return packet(to, icmp6, append(append(p, 2, 1), theirMAC...), 2)
}

// checksum is that of RFC 1071.
func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// probe sends a SYN and a stray ACK to each port of an address up to the last, datagrams to some, and a ping, and returns
// what came back until a ping to another address, which answers, was answered: the machine takes one after the other.
func (w *wire) probe(t *testing.T, m *machine, to netip.Addr, last int, answers netip.Addr) map[string]int {
	t.Helper()
	w.drain()
	send := func(frame []byte) {
		if err := w.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	for port := 1; port <= last; port++ {
		send(segment(to, uint16(port), syn, 1))
		send(segment(to, uint16(port), ack, 1))
		if port%16 == 0 {
			time.Sleep(4 * time.Millisecond) // slow enough for an emulated machine
		}
	}
	for _, port := range []uint16{1, 53, 67, 68, 123, 323, 443, 546, 5353, 5355, 61000} {
		send(datagram(to, port))
	}
	send(ping(to))
	if answers != to {
		send(ping(answers))
	}
	w.await(t, m, answers.String()+" pong")
	time.Sleep(time.Second) // what another core was given before
	got := w.drain()
	if answers != to {
		delete(got, answers.String()+" pong")
	}
	return got
}

// await waits until all of these were answered.
func (w *wire) await(t *testing.T, m *machine, answers ...string) {
	t.Helper()
	waitFor(t, m, 2*time.Minute, func() (string, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		lacks := slices.ContainsFunc(answers, func(a string) bool { return w.answers[a] == 0 })
		return fmt.Sprintf("answers %v, want %q", w.answers, answers), !lacks
	})
}

// knock sends a SYN to a port of each address, and a ping, ten times a second while something is done, and returns what
// was answered.
func (w *wire) knock(t *testing.T, port uint16, addresses []netip.Addr, do func()) map[string]int {
	t.Helper()
	w.drain()
	done := make(chan struct{})
	var knocking sync.WaitGroup
	knocking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			for _, a := range addresses {
				if err := errors.Join(w.send(segment(a, port, syn, 1)), w.send(ping(a))); err != nil {
					t.Errorf("knock at %s: %v", a, err)
					return
				}
			}
		}
	})
	func() {
		defer knocking.Wait()
		defer close(done)
		do()
	}()
	return w.drain()
}
