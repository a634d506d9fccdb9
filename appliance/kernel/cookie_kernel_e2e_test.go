//go:build e2e

package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"breakwater/appliance/status"
)

// kernelCookie is what the kernel answers a SYN when the listener is flooded, as far as an ACK needs it.
func kernelCookie(t testing.TB, in packet) packet {
	t.Helper()
	var probe probeObjects
	if err := loadProbeObjects(&probe, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = probe.Close() }()
	verdict, err := probe.Cookie.Run(&ebpf.RunOptions{Data: append(in.frame(), make([]byte, ip6Size-ip4Size)...)})
	if err != nil || verdict != xdpPass {
		t.Fatalf("the verdict is %d, %v", verdict, err)
	}
	memory, err := probe.Readings.Memory()
	if err != nil {
		t.Fatal(err)
	}
	var cookie [4]byte
	if _, err := memory.ReadAt(cookie[:], int64(unsafe.Offsetof(probeReading{}.Cookie))); err != nil {
		t.Fatal(err)
	}
	return packet{seq: binary.NativeEndian.Uint32(cookie[:])}
}

// TestKernelCookies: whoever got a cookie of the kernel has no socket, and is let in whatever is armed.
func TestKernelCookies(t *testing.T) {
	r := cookieRig(t)
	changes := []struct {
		name   string
		change func(*packet)
		right  bool
	}{
		{"as it was", func(*packet) {}, true},
		{"with data", func(p *packet) { p.payload = []byte("hello"); p.flags |= flagPSH }, true},
		{"with the end", func(p *packet) { p.flags |= flagFIN }, true},
		{"another acknowledgement", func(p *packet) { p.ack += 1 << 9 }, false},
		{"another sequence", func(p *packet) { p.seq++ }, false},
		{"another address", func(p *packet) { p.from = netip.AddrPortFrom(p.from.Addr().Next(), p.from.Port()) }, false},
		{"another port", func(p *packet) { p.from = netip.AddrPortFrom(p.from.Addr(), p.from.Port()+1) }, false},
		{"a reset", func(p *packet) { p.flags = flagRST | flagACK }, false},
		{"a SYN and ACK", func(p *packet) { p.flags = flagSYN | flagACK }, false},
	}
	for _, at := range []struct {
		name, service string
		port          uint16
		reason        status.Reason
	}{
		{"cookies are off", "v2", portNever, status.NoSession},
		{"cookies rest", "v1", portAuto, status.NoSession},
		{"cookies are armed", "plain", portArmed, status.BadCookie},
	} {
		for _, v := range changes {
			r.bothFamilies(t, at.name+"/"+v.name, func(t *testing.T, f family) {
				number := r.numberOf(t, at.service, f)
				in := f.opening(protocolTCP, 48000, at.port)
				p := reply(in, kernelCookie(t, in))
				v.change(&p)
				r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later(), Until: later()}})
				want := passed(vectorACK, number)
				if p.flags&flagFIN != 0 {
					want.vector = vectorFIN
				}
				if !v.right {
					vector, reason := vectorACK, at.reason
					if p.flags&flagRST != 0 {
						vector = vectorRST
					}
					if p.flags&(flagRST|flagSYN) != 0 {
						reason = status.NoSession
					}
					want = dropped(reason, vector, number, countTCP)
				}
				r.judges(t, p.frame(), want)
			})
		}
	}
	r.bothFamilies(t, "they are no strays", func(t *testing.T, f family) {
		number := r.numberOf(t, "v2", f)
		in := f.opening(protocolTCP, 48000, portNever)
		frame := reply(in, kernelCookie(t, in)).frame()
		r.press(t, number, bpfPressure{Strays: bpfGauge{Second: later()}})
		for range 320 { // one in 32 is looked at
			if verdict, _ := r.shieldRun(t, frame); verdict != xdpPass {
				t.Fatalf("the verdict is %d", verdict)
			}
		}
		if n := r.pressure(t, number).Strays.Count; n != 0 {
			t.Errorf("they count as %d strays", n)
		}
	})
}
