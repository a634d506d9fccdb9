//go:build e2e

package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const xdpTX = 3 // linux/bpf.h

const cookieMark = 0xb7c00c1e // bpf/admit.h

// The services of these vectors.
const (
	portArmed = portPlain // cookies are always armed
	portAuto  = portV1    // armed by autoRate
	portNever = portV2
	autoRate  = 20
)

// cookieRig is a rig with services that have cookies, and with listeners for them.
func cookieRig(t *testing.T) *rig {
	t.Helper()
	p := shieldPlan()
	for i := range p.Services {
		switch s := &p.Services[i]; s.Name {
		case "plainIPv4", "plainIPv6":
			s.Shield.SYNCookies = plan.SYNCookiesOn
		case "v1IPv4", "v1IPv6":
			s.Shield.SYNRate = autoRate
		default:
			s.Shield.SYNCookies = plan.SYNCookiesOff
		}
	}
	r := newRig(t, p)
	r.must(t, func() error { return r.cookieListener(t) })
	return r
}

// cookieListener gives the path a listener for each IP version.
func (r *rig) cookieListener(t *testing.T) error {
	var fds [2][]int
	for i, at := range []string{"127.0.0.1:61000", "[::1]:61000"} {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), "tcp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = append(fds[i], int(fd)) }); err != nil {
			return err
		}
	}
	return r.path.Listen(fds[0], fds[1])
}

// shielded gives a frame to the shield: its verdict, what became of the frame, and whether it bears the mark.
func (r *rig) shielded(t testing.TB, frame []byte) (verdict int, out []byte, marked bool) {
	t.Helper()
	r.must(t, func() error {
		in := xdpContext{xdpDataEnd: uint32(len(frame)), xdpIfindex: uint32(r.edge)}
		var after [6]uint32 // as xdpContext
		o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, 2048), Context: &in, ContextOut: &after}
		result, err := r.path.objects.Shield.Run(o)
		if err != nil {
			return fmt.Errorf("run the shield with %d bytes: %w", len(frame), err)
		}
		verdict, out = int(result), o.DataOut
		if meta := after[0] - after[2]; meta > 0 {
			marked = binary.NativeEndian.Uint32(out) == cookieMark
			out = out[meta:]
		}
		return nil
	})
	return verdict, out, marked
}

// withTags puts tags of 802.1Q into a frame.
func withTags(frame []byte, tags ...uint16) []byte {
	for _, tag := range tags {
		frame = slices.Insert(frame, 12, 0x81, 0x00, byte(tag>>8), byte(tag))
	}
	return frame
}

// untagged takes them away.
func untagged(frame []byte) []byte {
	for frame[12] == 0x81 {
		frame = slices.Delete(slices.Clone(frame), 12, 16)
	}
	return frame
}

var (
	optionSACKPermitted = []byte{4, 2}
	nops                = []byte{1, 1, 1, 1}
	usual               = options(optionMSS(1460), optionSACKPermitted, optionTimestamps(0x11223344, 0), []byte{1}, optionScale(9))
)

// answered is what the shield writes for a SYN: its options, and the lower bits of the cookie.
type answered struct {
	sack, stamped, scaled bool
	data                  uint8 // without the epoch
}

func (a answered) options(f family, p packet, stamp uint32) []byte {
	b := optionMSS(uint16(interfaceMTU - f.ip - tcpSize))
	if a.sack {
		b = append(b, optionSACKPermitted...)
	} else {
		b = append(b, 1, 1)
	}
	if a.stamped {
		b = append(b, optionTimestamps(stamp, 0x11223344)...)
	} else {
		b = append(append(append(b, 1, 1), nops...), nops...)
	}
	if a.scaled {
		return append(append(b, 1), optionScale(7)...)
	}
	return append(b, nops...)
}

// mssBits are those of the largest size in the program's table that is not above mss.
func mssBits(f family, mss int) (index uint8) {
	table := []int{536, 1300, 1440, 1460}
	if f.client.Is6() {
		table = []int{1220, 1420, 1440, 8940}
	}
	for i, size := range table {
		if mss >= size {
			index = uint8(i)
		}
	}
	return index << 5
}

// epochOf is the epoch of a cookie that was made between two moments.
func epochOf(before, after uint64, data uint8) uint64 {
	if epoch := before >> epochShift; uint8(epoch&1) == data>>7 {
		return epoch
	}
	return after >> epochShift
}

// TestCookie: a SYN is answered exactly as it should be, whatever it asks for.
func TestCookie(t *testing.T) {
	r := cookieRig(t)
	for _, v := range []struct {
		name    string
		options []byte
		payload []byte
		flags   uint8
		tags    []uint16
		mss     int
		want    answered
	}{
		{name: "without options", want: answered{data: 15}},
		{name: "as Linux sends it", options: usual, mss: 1460, want: answered{sack: true, stamped: true, scaled: true, data: 16 | 9}},
		{name: "with a size alone", options: optionMSS(1400), mss: 1400, want: answered{data: 15}},
		{name: "with a tiny size", options: optionMSS(88), mss: 88, want: answered{data: 15}},
		{name: "with a jumbo size", options: optionMSS(8960), mss: 8960, want: answered{data: 15}},
		{name: "with SACK alone", options: options(optionSACKPermitted), want: answered{sack: true, data: 16 | 15}},
		{name: "with timestamps alone", options: options(optionTimestamps(0x11223344, 0)), want: answered{stamped: true, data: 15}},
		{name: "with a scale alone", options: options(optionScale(0)), want: answered{scaled: true, data: 0}},
		{name: "with a scale that is too large", options: options(optionScale(15)), want: answered{scaled: true, data: 14}},
		{name: "with an option that ends behind the header", options: []byte{2, 40, 1, 1}, want: answered{data: 15}},
		{name: "with an option without a length", options: []byte{1, 1, 1, 2}, want: answered{data: 15}},
		{name: "with the end of options in front", options: append([]byte{0, 0, 0, 0}, optionMSS(1460)...), want: answered{data: 15}},
		{name: "with the most options", options: append(bytes.Repeat(nops, 9), optionMSS(1460)...), mss: 1460, want: answered{data: 15}},
		{name: "with data", options: usual, mss: 1460, payload: make([]byte, 500), want: answered{sack: true, stamped: true, scaled: true, data: 16 | 9}},
		{name: "with ECN", options: usual, mss: 1460, flags: 0xc0, want: answered{sack: true, stamped: true, scaled: true, data: 16 | 9}},
		{name: "in a VLAN", options: usual, mss: 1460, tags: []uint16{7}, want: answered{sack: true, stamped: true, scaled: true, data: 16 | 9}},
		{name: "in a VLAN of a VLAN", tags: []uint16{7, 8}, want: answered{data: 15}},
	} {
		for _, f := range families {
			t.Run(v.name+"/"+f.name, func(t *testing.T) {
				in := f.opening(protocolTCP, 40000, portArmed)
				in.options, in.payload, in.flags = v.options, v.payload, in.flags|v.flags
				before, sent := now(), r.cookies(t)
				verdict, out, _ := r.shielded(t, withTags(in.frame(), v.tags...))
				if verdict != xdpTX {
					t.Fatalf("the verdict is %d, want %d", verdict, xdpTX)
				}
				if got := r.cookies(t); got.Sent != sent.Sent+1 {
					t.Errorf("%d cookies were sent, then %d", sent.Sent, got.Sent)
				}
				if want := len(withTags(make([]byte, etherSize), v.tags...)) + f.ip + 40; len(out) != want {
					t.Errorf("the frame has %d bytes, want %d", len(out), want)
				}
				got, err := readFrame(untagged(out))
				if err != nil {
					t.Fatal(err)
				}
				data := v.want.data | mssBits(f, v.mss) | uint8(got.seq)&0x80
				cookie, stamp := cookieOf(&r.path.cookies, in, epochOf(before, now(), data), data, v.want.stamped)
				same(t, got, packet{
					from: in.to, to: in.from, protocol: protocolTCP, flags: flagSYN | flagACK, seq: cookie, ack: in.seq + 1, window: 60000,
					options: v.want.options(f, in, stamp),
				})
			})
		}
	}
}

// cookies are the counts of status.
func (r *rig) cookies(t testing.TB) status.Cookies {
	t.Helper()
	var s status.Edge
	if err := r.path.cookieStatus(&s); err != nil {
		t.Fatal(err)
	}
	return s.Shield.Cookies
}

// TestCookiePassed: SYNs that the shield leaves to others.
func TestCookiePassed(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		for name, port := range map[string]uint16{"cookies are off": portNever, "there are few": portAuto, "no service": portNothing} {
			t.Run(name+"/"+f.name, func(t *testing.T) {
				in := f.opening(protocolTCP, 40000, port)
				r.passesShield(t, in.frame())
			})
		}
		t.Run("a session of the kernel path/"+f.name, func(t *testing.T) {
			in := f.opening(protocolTCP, 40001, portArmed)
			r.passes(t, in.frame(), arrival{})
			r.trust(t)
			r.passesShield(t, in.frame())
			r.wipe(t)
		})
	}
	t.Run("a header of IP with options", func(t *testing.T) {
		in := families[0].opening(protocolTCP, 40002, portArmed)
		frame := slices.Insert(in.frame(), etherSize+ip4Size, 1, 1, 1, 1)
		frame[etherSize] = 0x46
		frame[etherSize+3] += 4
		r.passesShield(t, frame)
	})
}

// TestCookieToOurselves: a SYN that claims to come from an edge address gets no answer.
func TestCookieToOurselves(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		in := f.opening(protocolTCP, 40000, portArmed)
		in.from = netip.AddrPortFrom(f.idle(), 40000)
		sent := r.cookies(t).Sent
		if verdict, _, _ := r.shielded(t, in.frame()); verdict != xdpDrop {
			t.Errorf("%s: the verdict is %d, want %d", f.name, verdict, xdpDrop)
		}
		if got := r.cookies(t).Sent; got != sent {
			t.Errorf("%s: %d cookies were sent", f.name, got-sent)
		}
	}
}

// passesShield gives a frame that nothing is done to.
func (r *rig) passesShield(t *testing.T, frame []byte) {
	t.Helper()
	verdict, out, marked := r.shielded(t, frame)
	if verdict != xdpPass || marked || !bytes.Equal(out, frame) {
		t.Errorf("the verdict is %d, marked %t, and the frame\n%x, was\n%x", verdict, marked, out, frame)
	}
}

// TestCookieOfSocket: a SYN between addresses and ports that a socket has goes to the socket.
func TestCookieOfSocket(t *testing.T) {
	r := cookieRig(t)
	for i, from := range []netip.AddrPort{netip.AddrPortFrom(source4, 41000), netip.AddrPortFrom(source6, 41000)} {
		f := families[i]
		to := netip.AddrPortFrom(f.edge, portArmed)
		var ends []interface{ Close() error }
		r.must(t, func() error {
			l, err := net.Listen("tcp", to.String())
			if err != nil {
				return err
			}
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
			d.SetMultipathTCP(false)
			c, err := d.Dial("tcp", to.String())
			ends = append(ends, c, l)
			return err
		})
		r.trust(t)
		syn := packet{from: from, to: to, protocol: protocolTCP, flags: flagSYN, seq: 1, window: 1000}
		r.passesShield(t, syn.frame())
		ack := syn
		ack.flags, ack.ack = flagACK, 1
		r.passesShield(t, ack.frame())
		syn.from = netip.AddrPortFrom(from.Addr(), 41001)
		if verdict, _, _ := r.shielded(t, syn.frame()); verdict != xdpTX {
			t.Errorf("a SYN of no socket has the verdict %d", verdict)
		}
		for _, c := range ends {
			_ = c.Close()
		}
	}
}

// TestNoListener: without the user path there are no cookies.
func TestNoListener(t *testing.T) {
	r := cookieRig(t)
	in := families[0].opening(protocolTCP, 40000, portArmed)
	for _, at := range []uint32{0, maxListeners} {
		if err := r.path.objects.Listeners.Delete(at); err != nil {
			t.Fatal(err)
		}
	}
	r.passesShield(t, in.frame())
}

// TestNoListenerIsTold: that cookies rest because no listener takes their connections is a condition, until one does.
func TestNoListenerIsTold(t *testing.T) {
	r := newRig(t, shieldPlan())
	told := func(text string) {
		t.Helper()
		list := r.conditions.List()
		if len(list) != 1 || list[0].Code != noCookies || !strings.Contains(list[0].Detail, text) {
			t.Errorf("the conditions are %+v, want %s with %q", list, noCookies, text)
		}
	}
	if err := r.path.Listen(nil, nil); err == nil {
		t.Error("no listener is no error")
	}
	told("0 listeners of IPv4")
	r.must(t, func() error {
		file, err := os.Open("/dev/null")
		if err != nil {
			return err
		}
		fd := []int{int(file.Fd())}
		if r.path.Listen(fd, fd) == nil {
			t.Error("what is no socket was taken for a listener")
		}
		return file.Close()
	})
	told("for every service")
	r.must(t, func() error { return r.cookieListener(t) })
	if list := r.conditions.List(); len(list) != 0 {
		t.Errorf("with listeners the conditions are %+v", list)
	}
}

// TestListenersComeBack: the programs get listeners that they did not take at first, or that were taken from them.
func TestListenersComeBack(t *testing.T) {
	r := newRig(t, shieldPlan())
	var fds [2][]int // sockets that have a port and do not listen yet
	r.must(t, func() error {
		for i, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
			fds[i] = []int{fd}
		}
		return nil
	})
	again := func() error {
		err := r.path.ListenAgain(fds[0], fds[1])
		if there := r.path.listens(); there != (err == nil) || there != (len(r.conditions.List()) == 0) {
			t.Errorf("there is a listener: %v; the error is %v, the conditions are %+v", there, err, r.conditions.List())
		}
		return err
	}
	if r.path.Listen(fds[0], fds[1]) == nil || again() == nil {
		t.Error("sockets that do not listen were taken for listeners")
	}
	r.must(t, func() error { return errors.Join(unix.Listen(fds[0][0], 1), unix.Listen(fds[1][0], 1)) })
	if err := again(); err != nil {
		t.Error(err)
	}
	if err := r.path.objects.Listeners.Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := again(); err != nil {
			t.Error(err)
		}
	}
}
