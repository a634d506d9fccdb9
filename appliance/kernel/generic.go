package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// shieldFor is the program of the shield for a mode.
func (o *objects) shieldFor(mode string) (*ebpf.Program, error) {
	if mode == native {
		return o.Shield, nil
	}
	if o.generic != nil {
		return o.generic, nil
	}
	p, err := o.loadGeneric()
	if err != nil {
		return nil, fmt.Errorf("load the shield for interfaces whose driver cannot do it: %w", err)
	}
	o.generic = p
	return p, nil
}

// loadGeneric loads the shield once more, with the same maps, but not for packets in parts (xdp.frags). For one that takes those the kernel
// copies a packet with little room in front, as nearly all have, into a new buffer, and forgets how long its Ethernet header is
// (skb_pp_cow_data leaves mac_len 0, from 6.9 on): the program at tc ingress would read everything 14 bytes behind where it is. For this one it
// makes room in the buffer that is there, and nothing comes in parts. The driver's own mode has no such buffers yet.
func (o *objects) loadGeneric() (*ebpf.Program, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, err
	}
	if _, err := setSlots(spec, o.dir); err != nil {
		return nil, err
	}
	maps, err := mapsOf(&o.bpfMaps)
	if err != nil {
		return nil, err
	}
	spec.Programs["shield"].Flags &^= unix.BPF_F_XDP_HAS_FRAGS
	var loaded struct {
		Shield *ebpf.Program `ebpf:"shield"`
	}
	err = spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: maps})
	return loaded.Shield, err
}
