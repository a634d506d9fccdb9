//go:build e2e

package kernel

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// send puts a frame on the wire of an interface, so that it really comes in.
func (r *rig) send(t testing.TB, name string, frame []byte) {
	t.Helper()
	r.must(t, func() error {
		i, err := net.InterfaceByName(name + "-peer")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
}

// sniffsTag is as sniffs, with the tag that the packet has on the wire.
func (r *rig) sniffsTag(t testing.TB, to netip.AddrPort) (p packet, tag uint16, tagged bool) {
	t.Helper()
	if err := unix.SetsockoptInt(r.sniff, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		t.Fatal(err)
	}
	buffer, control := make([]byte, 4096), make([]byte, 256)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		poll := []unix.PollFd{{Fd: int32(r.sniff), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 100); err != nil || n == 0 {
			continue
		}
		n, size, _, _, err := unix.Recvmsg(r.sniff, buffer, control, unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		p, err := readFrame(buffer[:n])
		if err != nil || p.to != to {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(control[:size])
		if err != nil || len(messages) != 1 {
			t.Fatalf("what is told of a packet: %v, %v", messages, err)
		}
		m := messages[0].Data // struct tpacket_auxdata of linux/if_packet.h
		return p, binary.NativeEndian.Uint16(m[16:]), binary.NativeEndian.Uint32(m)&unix.TP_STATUS_VLAN_VALID != 0
	}
	t.Fatalf("no packet to %s left", to)
	return packet{}, 0, false
}

// TestVLANs: a packet in a VLAN of a port is for the interface of that VLAN, where it comes again: at the port it is left alone, whether
// it would begin a session or is of one. A tag of VLAN 0 is none, and does not go on with the packet.
func TestVLANs(t *testing.T) {
	r := newRig(t, withInterfaces("edge0"))
	for _, f := range families {
		first := udpTo(f, 40001, portPlain, "first")
		leaves := func(frame []byte) {
			t.Helper()
			want := r.counts(t)
			want.left[0]++ // LEFT_OTHER
			r.send(t, "edge0", frame)
			var got counts
			for end := time.Now().Add(5 * time.Second); got != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
				got = r.counts(t)
			}
			if got != want {
				t.Errorf("the counts are\n%v, want\n%v", got, want)
			}
		}
		leaves(tagged(first.frame(), 0x8100, 5))
		leaves(tagged(first.frame(), 0x88a8, 5))
		leaves(tagged(tagged(first.frame(), 0x8100, 5), 0x8100, 0))
		for _, tags := range [][]uint16{{0x6000}, {0x6000, 0}, nil} {
			frame := first.frame()
			for _, control := range tags {
				frame = tagged(frame, 0x8100, control)
			}
			r.send(t, "edge0", frame)
			if p, tag, tagged := r.sniffsTag(t, netip.AddrPortFrom(f.origin, portPlain)); string(p.payload) != "first" || tagged || tag != 0 {
				t.Errorf("tags %x: %s left with tag %x, %t; want it without", tags, p, tag, tagged)
			}
		}
		leaves(tagged(first.frame(), 0x8100, 5)) // now it is of a flow
		leaves(tagged(udpTo(f, 40002, portPlain, "other").frame(), 0x8100, 0x6fff))
		if _, s := r.slot(t, protocolUDP, first.from, first.to); s.Side[client].Packets != 3 {
			t.Errorf("%d packets were carried, want 3", s.Side[client].Packets)
		}
	}
}
