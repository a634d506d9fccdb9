package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Hops are whom an interface gives packets to: who is on the link itself, and for all others a gateway.
type Hops struct {
	OnLink  []netip.Prefix
	Gateway netip.Addr // invalid: there is none
}

const maxOnLink = 4 // bpf/hops.h; TestWhys

// tellHops tells the program the next hops of interfaces, where they can be told; of others it asks the kernel for each packet.
func (k *Path) tellHops(entries map[uint32]bpfInterface) error {
	wanted := make(map[uint32]bpfNextHops)
	for index := range entries {
		for version, v4 := range []bool{false, true} {
			h, simple, err := k.options.Hops(int(index), v4)
			if err != nil {
				k.options.Log.Warn("the next hops of an interface are asked for with each packet", "interface", index, "err", err)
			}
			if err == nil && simple && len(h.OnLink) <= maxOnLink {
				wanted[index<<1|uint32(version)] = hopsEntry(h) //nolint:gosec // 0 or 1
			}
		}
	}
	failed := k.forgetHops(wanted)
	for key, h := range wanted {
		failed = errors.Join(failed, k.objects.Hops.Put(key, h))
	}
	if failed != nil {
		return fmt.Errorf("tell the next hops of interfaces: %w", failed)
	}
	return nil
}

// forgetHops removes those that are not wanted any more.
func (k *Path) forgetHops(wanted map[uint32]bpfNextHops) error {
	var gone []uint32
	var key uint32
	var h bpfNextHops
	all := k.objects.Hops.Iterate()
	for all.Next(&key, &h) {
		if _, stays := wanted[key]; !stays {
			gone = append(gone, key)
		}
	}
	err := all.Err()
	for _, key := range gone {
		if failed := k.objects.Hops.Delete(key); !errors.Is(failed, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

func hopsEntry(h Hops) (e bpfNextHops) {
	for i, p := range h.OnLink {
		e.OnLink[i] = coverEntry(addressKey(p))
	}
	e.Count = uint32(len(h.OnLink)) //nolint:gosec // at most maxOnLink
	if h.Gateway.IsValid() {
		e.Gateway = h.Gateway.As16()
	}
	return e
}
