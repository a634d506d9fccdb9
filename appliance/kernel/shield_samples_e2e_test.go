//go:build e2e

package kernel

import (
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"breakwater/appliance/status"
)

// TestShieldSamples: whoever looks sees packets, with what became of them.
func TestShieldSamples(t *testing.T) {
	r := newRig(t, shieldPlan())
	reader, err := ringbuf.NewReader(r.path.objects.Samples)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	reader.SetDeadline(time.Unix(1, 0))
	take := func(t *testing.T) (list []bpfSample) {
		t.Helper()
		for reader.AvailableBytes() > 0 {
			record, err := reader.Read()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, *(*bpfSample)(unsafe.Pointer(&record.RawSample[0])))
		}
		return list
	}
	r.bothFamilies(t, "of one packet", func(t *testing.T, f family) {
		for _, v := range []struct {
			frame []byte
			want  bpfSample
		}{
			{aSYN(f).frame(), bpfSample{Service: r.numberOf(t, "plain", f), Vector: vectorSYN}},
			{udpTo(f, 53, portPlain, text(500)).frame(), bpfSample{Service: r.numberOf(t, "plain", f), Vector: vectorReflection, Reason: uint32(status.Reflection)}},
			{udpTo(f, 40000, portNothing, text(9000)).frame(), bpfSample{Service: noService, Vector: vectorUDP}},
			{tagged(body(f, protocolESP, make([]byte, 16)...), 0x8100, 3), bpfSample{Service: noService, Vector: vectorOther, Reason: uint32(status.OtherProtocol)}},
		} {
			before := now()
			r.shieldRun(t, v.frame)
			list := take(t)
			if len(list) != 1 {
				t.Fatalf("there are %d samples", len(list))
			}
			got := list[0]
			v.want.Length, v.want.Size = uint32(len(v.frame)), uint32(min(len(v.frame), 128))
			copy(v.want.Bytes[:], v.frame)
			if got.Time < before || got.Time > now() {
				t.Errorf("the packet came at %d, want %d to now", got.Time, before)
			}
			got.Time, got.Ifindex = 0, 0
			if got != v.want {
				t.Errorf("the sample is\n%+v, want\n%+v", got, v.want)
			}
		}
	})
	r.bothFamilies(t, "of 50 a second", func(t *testing.T, f family) {
		frame := udpTo(f, 53, portPlain, "answer").frame()
		r.trickle(t, trickleSamples+vectorReflection, 49)
		r.must(t, func() error { return nil })
		r.shieldRun(t, frame)
		r.trickle(t, trickleSamples+vectorReflection, 50)
		r.shieldRun(t, frame)
		if n := len(take(t)); n != 1 {
			t.Errorf("there are %d samples, want 1", n)
		}
		r.shieldRun(t, aSYN(f).frame()) // of another vector
		if n := len(take(t)); n != 1 {
			t.Errorf("there are %d samples, want 1", n)
		}
	})
	r.bothFamilies(t, "a session is not shown", func(t *testing.T, f family) {
		r.passes(t, aSYN(f).frame(), arrival{})
		r.shieldRun(t, tcpTo(f, portPlain, flagACK).frame())
		if list := take(t); len(list) != 0 {
			t.Errorf("there are %d samples", len(list))
		}
	})
}
