package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"breakwater/appliance/status"
)

// takeSamples gives the packets that the shield has picked out to whoever keeps them.
func (k *Path) takeSamples() error {
	if k.samples.AvailableBytes() == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	interfaces := make(map[uint32]string)
	for k.samples.AvailableBytes() > 0 {
		err := k.samples.ReadInto(&k.sample)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrClosed) {
			return nil // one is being written
		}
		if err != nil {
			return fmt.Errorf("read the samples of the shield: %w", err)
		}
		if len(k.sample.RawSample) < int(unsafe.Sizeof(bpfSample{})) {
			continue
		}
		s := (*bpfSample)(unsafe.Pointer(&k.sample.RawSample[0])) // the size was looked at, the program wrote it
		if int(s.Vector) < len(vectorNames) {
			k.options.Sample(k.sampleOf(s, interfaces))
		}
	}
	return nil
}

// sampleOf is a packet as status tells it. interfaces are the names that were asked for already.
func (k *Path) sampleOf(s *bpfSample, interfaces map[uint32]string) status.Sample {
	name, known := interfaces[s.Ifindex]
	if !known {
		if i, err := net.InterfaceByIndex(int(s.Ifindex)); err == nil {
			name = i.Name
		}
		interfaces[s.Ifindex] = name
	}
	out := status.Sample{
		Time: wallTime(s.Time), Interface: name, Vector: vectorNames[s.Vector], Verdict: status.SamplePass,
		Length: int(s.Length), Bytes: slices.Clone(s.Bytes[:min(int(s.Size), len(s.Bytes))]),
	}
	if s.Service != noService {
		out.Service = k.names.service(s.Service)
	}
	if s.Reason != 0 && s.Reason < uint32(status.ReasonCount) {
		out.Reason, out.Verdict = status.Reason(s.Reason), status.SampleDrop
		if s.Would != 0 {
			out.Verdict = status.SampleWould
		}
	}
	return out
}
