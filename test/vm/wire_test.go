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
	"sync"
	"testing"
	"time"
)

// wire is a cable into a port of the machine, with a neighbour at its other end that sends whatever frame it likes and
// counts what it is answered.
type wire struct {
	arguments []string // for QEMU
	conn      *net.UnixConn
	box       *net.UnixAddr

	mu      sync.Mutex
	answers map[string]int
}

// The neighbour's address, and the port's.
var (
	neighbour = netip.MustParseAddr("192.0.2.1")
	theirMAC  = net.HardwareAddr{0x52, 0x54, 0, 0x99, 0, 1}
	boxMAC    = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 3}
)

// newWire lets QEMU send and receive frames as datagrams of a socket.
func newWire(t *testing.T) *wire {
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
	w := &wire{conn: conn, box: &net.UnixAddr{Name: theirs, Net: "unixgram"}, answers: map[string]int{}, arguments: []string{
		"-netdev", "dgram,id=wire,local.type=unix,local.path=" + theirs + ",remote.type=unix,remote.path=" + ours,
		"-device", "virtio-net-pci,netdev=wire,romfile=,mac=" + boxMAC.String()}}
	go w.listen(t)
	return w
}

func (w *wire) listen(t *testing.T) {
	frame := make([]byte, 16384)
	for {
		n, err := w.conn.Read(frame)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("read the wire: %v", err)
			return
		}
		if err := w.take(frame[:n]); err != nil {
			t.Errorf("answer on the wire: %v", err)
		}
	}
}

// take answers who asks for the neighbour (RFC 826), and counts what comes for it.
func (w *wire) take(f []byte) error {
	switch {
	case len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 1 && [4]byte(f[38:42]) == neighbour.As4():
		reply := append(ethernet(0x0806), f[14:20]...)
		reply = append(append(reply, 0, 2), theirMAC...)
		return w.send(append(append(reply, f[38:42]...), f[22:32]...))
	case len(f) >= 34 && f[12] == 8 && f[13] == 0 && [4]byte(f[30:34]) == neighbour.As4():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.answers[describe(netip.AddrFrom4([4]byte(f[26:30])), f[23], f[14+4*int(f[14]&15):])]++
	}
	return nil
}

// describe names an answer: "192.0.2.10 syn-ack 443", "192.0.2.10 rst", "192.0.2.10 icmp 0".
func describe(from netip.Addr, protocol byte, p []byte) string {
	switch {
	case protocol == 1 && len(p) > 0:
		return fmt.Sprintf("%s icmp %d", from, p[0])
	case protocol == 6 && len(p) > 13 && p[13]&4 != 0:
		return fmt.Sprintf("%s rst", from)
	case protocol == 6 && len(p) > 13 && p[13]&18 == 18:
		return fmt.Sprintf("%s syn-ack %d", from, binary.BigEndian.Uint16(p))
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

func (w *wire) send(frame []byte) error {
	_, err := w.conn.WriteToUnix(frame, w.box)
	return err
}

func ethernet(kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, boxMAC...), theirMAC...), kind)
}

// packet is a frame with an IPv4 packet (RFC 791) from the neighbour.
func packet(to netip.Addr, protocol byte, payload []byte) []byte {
	head := make([]byte, 20)
	head[0], head[8], head[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(payload)))
	copy(head[12:], neighbour.AsSlice())
	copy(head[16:], to.AsSlice())
	binary.BigEndian.PutUint16(head[10:], checksum(head, 0))
	return append(append(ethernet(0x0800), head...), payload...)
}

// segment is one of TCP without data (RFC 9293).
func segment(to netip.Addr, port uint16, flags byte) []byte {
	p := make([]byte, 20)
	binary.BigEndian.PutUint16(p, 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	p[7], p[11], p[12], p[13], p[14] = 1, 1, 5<<4, flags, 0xff
	pseudo := append(neighbour.AsSlice(), to.AsSlice()...)
	binary.BigEndian.PutUint16(p[16:], checksum(append(append([]byte{}, pseudo...), p...), 6+20))
	return packet(to, 6, p)
}

func datagram(to netip.Addr, port uint16) []byte {
	p := make([]byte, 8)
	binary.BigEndian.PutUint16(p, 40000)
	binary.BigEndian.PutUint16(p[2:], port)
	p[5] = 8 // its length; no checksum is one that IPv4 takes
	return packet(to, 17, p)
}

func ping(to netip.Addr) []byte {
	p := []byte{8, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(p[2:], checksum(p, 0))
	return packet(to, 1, p)
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

// probe sends a SYN and a stray ACK to every port of an address, datagrams to some, and a ping, and returns what came
// back within a while. It is slow enough for an emulated machine.
func (w *wire) probe(t *testing.T, to netip.Addr) map[string]int {
	t.Helper()
	w.drain()
	const syn, ack = 2, 16
	send := func(frame []byte) {
		if err := w.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	for port := 1; port <= 65535; port++ {
		send(segment(to, uint16(port), syn))
		send(segment(to, uint16(port), ack))
		if port%16 == 0 {
			time.Sleep(4 * time.Millisecond)
		}
	}
	for _, port := range []uint16{1, 53, 67, 68, 123, 323, 443, 546, 5353, 5355, 61000} {
		send(datagram(to, port))
	}
	send(ping(to))
	time.Sleep(5 * time.Second)
	return w.drain()
}
