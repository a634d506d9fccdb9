//go:build e2e

package torture

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"breakwater/test/lab"
	"breakwater/test/torture/loss"
)

// wires are the places with the addresses of both ends of the link, those of the box itself and no edge addresses.
var wires = []struct{ from, name, to, peer, fromAddr, toAddr string }{
	{lab.Client, "eth0", lab.Edge, "wan0", "198.18.1.2", "198.18.1.1"},
	{lab.Edge, "wan0", lab.Client, "eth0", "2001:db8:1::1", "2001:db8:1::2"},
	{lab.Edge, "lan0", lab.Origin, "eth0", "198.18.2.1", "198.18.2.2"},
	{lab.Origin, "eth0", lab.Edge, "lan0", "2001:db8:2::2", "2001:db8:2::1"},
}

// TestLossHappens: what is counted as lost, doubled and late is what the other end sees.
func TestLossHappens(t *testing.T) {
	const datagrams = 20000
	for _, w := range wires {
		t.Run(w.from+" "+w.name, func(t *testing.T) {
			order := loss.Weather{Drop: 50, Duplicate: 20, Reorder: 10}
			l, err := loss.Attach(w.from, w.name, order)
			if err != nil {
				t.Fatal(err)
			}
			got := number(t, w.from, w.to, addr(w.fromAddr), addr(w.toAddr), datagrams)
			c, err := l.Counts()
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if c.Passed+c.Dropped+c.Duplicated+c.Reordered < datagrams {
				t.Errorf("counted fewer packets than %d: %v", datagrams, c)
			}
			if got.distinct != datagrams-int(c.Dropped) || got.double != int(c.Duplicated) || min(c.Dropped, c.Duplicated) == 0 {
				t.Errorf("got %+v of %d, want what was counted: %v", got, datagrams, c)
			}
			// Those behind which nothing is sent any more are not overtaken.
			if late := int(c.Reordered); got.late > late || got.late < late*9/10 || late == 0 {
				t.Errorf("got %d late, want nearly all of %d", got.late, late)
			}
			// Afterwards nothing is lost.
			if got := number(t, w.from, w.to, addr(w.fromAddr), addr(w.toAddr), 1000); got != (arrivals{distinct: 1000}) {
				t.Errorf("in fine weather: got %+v of 1000", got)
			}
		})
	}
}

// arrivals are datagrams as they came. A late one came behind one that was sent after it.
type arrivals struct{ distinct, double, late int }

// number sends numbered datagrams.
func number(t *testing.T, fromNS, toNS string, from, to netip.Addr, count int) (got arrivals) {
	t.Helper()
	var sender, receiver *net.UDPConn
	err := lab.Inside(toNS, func() (err error) {
		receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	must(t, lab.Roomy(receiver))
	err = lab.Inside(fromNS, func() (err error) {
		sender, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), receiver.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	done := make(chan arrivals)
	go func() { done <- arrive(receiver, count) }()
	for n := range count {
		if n%50 == 0 {
			time.Sleep(time.Millisecond) // the box keeps up, and nothing is lost but what we lose
		}
		if _, err := sender.Write(binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
			t.Error(err)
		}
	}
	return <-done
}

// arrive takes datagrams until none came for a while.
func arrive(c *net.UDPConn, count int) (got arrivals) {
	seen, newest, buf := make([]bool, count), -1, make([]byte, 64)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		size, err := c.Read(buf)
		if err != nil {
			return got
		}
		n := int(binary.BigEndian.Uint32(buf[:size]))
		switch {
		case seen[n]:
			got.double++
			continue
		case n < newest:
			got.late++
		}
		got.distinct++
		seen[n], newest = true, max(n, newest)
	}
}

// TestPlainPackets: packets of a stream are large and without checksums, unless they are to be as on a wire. TCP sends
// again what is lost: the sending socket does not learn of it at once.
func TestPlainPackets(t *testing.T) {
	const size = 4 << 20
	allowLarge(t, streamsDocument(engines[0]))
	for i, w := range wires {
		t.Run(w.from+" "+w.name, func(t *testing.T) {
			for _, plain := range []bool{false, true} {
				if plain {
					undo, err := loss.Plain(w.from, w.name)
					if err != nil {
						t.Fatal(err)
					}
					defer func() {
						if err := undo(); err != nil {
							t.Error(err)
						}
					}()
				}
				frames := watch(t, w.to, w.peer)
				move(t, w.from, w.to, netip.AddrPortFrom(addr(w.toAddr), uint16(9000+i)), size)
				got := frames()
				if plain && (got.large > 0 || got.unfinished > 0) {
					t.Errorf("as on a wire: got %+v, want none that is large or unfinished", got)
				}
				if !plain && (got.large == 0 || got.unfinished < got.all*9/10) {
					t.Errorf("got %+v, want large ones, and nearly all of them unfinished", got)
				}
			}
			l, err := loss.Attach(w.from, w.name, loss.Weather{Drop: 20})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			before := again(t, w.from)
			move(t, w.from, w.to, netip.AddrPortFrom(addr(w.toAddr), uint16(9010+i)), size)
			c, err := l.Counts()
			if err != nil {
				t.Fatal(err)
			}
			// Some of what is lost carries nothing, and need not be sent again.
			if sent := again(t, w.from) - before; sent < c.Dropped*9/10 || c.Dropped < size/1500/100 {
				t.Errorf("%d segments were sent again, %d lost", sent, c.Dropped)
			}
		})
	}
}

// move carries a stream over one link.
func move(t *testing.T, fromNS, toNS string, to netip.AddrPort, size int64) {
	t.Helper()
	l := listen(t, toNS, to)
	defer l.Close()
	var from *net.TCPConn
	err := lab.Inside(fromNS, func() (err error) {
		from, err = net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := carry(&stream{name: "over the link", from: from, to: peer, seed: 1, size: size}); err != nil {
		t.Error(err)
	}
}

// frames are what an interface received from a stream.
type frames struct {
	all        int
	large      int // beyond the MTU
	unfinished int // with a checksum that is still to be computed (CHECKSUM_PARTIAL)
}

// watch looks at what arrives at an interface until the function it returns is called (packet(7)).
func watch(t *testing.T, ns, interfaceName string) (end func() frames) {
	t.Helper()
	var fd int
	err := lab.Inside(ns, func() (err error) {
		device, err := net.InterfaceByName(interfaceName)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network byte order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, all&0xffff); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: device.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() (f frames) {
		defer unix.Close(fd)
		buf, oob := make([]byte, 256), make([]byte, 256)
		for {
			n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
			if err != nil {
				return f
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype != unix.PACKET_HOST || n < 100 {
				continue // ours, or without a payload to speak of
			}
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(messages) != 1 || len(messages[0].Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
				t.Fatalf("got %d messages (%v), want one with struct tpacket_auxdata", len(messages), err)
			}
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&messages[0].Data[0]))
			f.all++
			if aux.Len > 1514 {
				f.large++
			}
			if aux.Status&unix.TP_STATUS_CSUMNOTREADY != 0 {
				f.unfinished++
			}
		}
	}
}

// again is how many TCP segments a network namespace has sent once more (Tcp: RetransSegs of proc/net/snmp).
func again(t *testing.T, ns string) (segments uint64) {
	t.Helper()
	var text []byte
	err := lab.Inside(ns, func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case fields[0] != "Tcp:":
		case names == nil:
			names = fields
		default:
			for i, name := range names {
				if name == "RetransSegs" {
					_, err = fmt.Sscan(fields[i], &segments)
				}
			}
		}
	}
	if err != nil || names == nil {
		t.Fatalf("read the counters of TCP: %v", err)
	}
	return segments
}
