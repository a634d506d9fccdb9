package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
)

// prepare writes the tables beside those in force.
func (k *Path) prepare(t tables) (generation uint32, err error) {
	var c bpfConfiguration
	if err := k.objects.Config.Lookup(uint32(0), &c); err != nil {
		return 0, fmt.Errorf("read the configuration of the kernel path: %w", err)
	}
	generation = c.Generation ^ 1
	if err := k.objects.LimitTables.Put(generation, t.limits); err != nil {
		return 0, fmt.Errorf("put the limits of sources in place: %w", err)
	}
	return generation, errors.Join(
		k.publishAddresses(generation, t.addresses),
		fill(k.objects.Sets, generation, "sets", flatten(t.sets)),
		fill(k.objects.Pages, generation, "pages", flatten(t.pages)),
		fill(k.objects.Routes, generation, "routes", t.routes),
		fill(k.objects.Services, generation, "services", t.services),
		fill(k.objects.Guards, generation, "guards", t.guards),
		fill(k.objects.PacketRules, generation, "packet_rules", t.rules),
		fill(k.objects.Pools, generation, "pools", t.pools),
		fill(k.objects.Members, generation, "members", t.members),
		fill(k.objects.Turns, generation, "turns", t.turns),
	)
}

// flip says that the tables of a generation count from now on.
func (k *Path) flip(generation uint32, t tables) error {
	k.tables = t
	k.crowds.Store(&t.crowds)
	k.adopt()
	k.keepRules()
	return k.configure(func(c *bpfConfiguration) { c.Generation, c.Off = generation, flag(k.blocked) })
}

// publish is both.
func (k *Path) publish(t tables) error {
	generation, err := k.prepare(t)
	if err != nil {
		return err
	}
	return k.flip(generation, t)
}

func flatten[A portSet | portPage](list []A) []uint32 {
	var flat []uint32
	for _, a := range list {
		switch a := any(a).(type) {
		case portSet:
			flat = append(flat, a[:]...)
		case portPage:
			flat = append(flat, a[:]...)
		}
	}
	return flat
}

// fill makes a table of exactly these entries and puts it where the generation has it.
func fill[E any](table *ebpf.Map, generation uint32, name string, entries []E) error {
	var one E
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: sizeOf(one), MaxEntries: uint32(max(len(entries), 1)), //nolint:gosec // far fewer
		Flags: unix.BPF_F_INNER_MAP,
	})
	if err != nil {
		return fmt.Errorf("make the table %s: %w", name, err)
	}
	defer func() { _ = m.Close() }() // the table has it
	if len(entries) > 0 {
		keys := make([]uint32, len(entries))
		for i := range keys {
			keys[i] = uint32(i) //nolint:gosec // far fewer
		}
		if _, err := m.BatchUpdate(keys, entries, nil); err != nil {
			return fmt.Errorf("fill the table %s: %w", name, err)
		}
	}
	if err := table.Put(generation, m); err != nil {
		return fmt.Errorf("put the table %s in place: %w", name, err)
	}
	return nil
}

func (k *Path) publishAddresses(generation uint32, list map[netip.Prefix]uint32) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "addresses", Type: ebpf.LPMTrie, KeySize: sizeOf(bpfAddressKey{}), ValueSize: 4, MaxEntries: 16384, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return fmt.Errorf("make the table of addresses: %w", err)
	}
	defer func() { _ = m.Close() }()
	for prefix, set := range list {
		if err := m.Put(addressKey(prefix), set); err != nil {
			return fmt.Errorf("enter %s in the table of addresses: %w", prefix, err)
		}
	}
	if err := k.objects.Addresses.Put(generation, m); err != nil {
		return fmt.Errorf("put the table of addresses in place: %w", err)
	}
	return k.publishCovers(generation, slices.Collect(maps.Keys(list)))
}

// publishCovers tells what holds all addresses of an IP version.
func (k *Path) publishCovers(generation uint32, all []netip.Prefix) error {
	for at, is := range []func(netip.Prefix) bool{isIPv6, isIPv4} {
		c := bpfCover{Mask: [2]uint64{math.MaxUint64, math.MaxUint64}} // ::, which is nobody's
		if list := slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return !is(p) }); len(list) > 0 {
			c = coverEntry(addressKey(plan.Cover(list)))
		}
		if err := k.objects.Covers.Put(generation*2+uint32(at), c); err != nil { //nolint:gosec // 0 or 1
			return fmt.Errorf("put what holds all addresses in place: %w", err)
		}
	}
	return nil
}

func isIPv4(p netip.Prefix) bool { return p.Addr().Is4() }
func isIPv6(p netip.Prefix) bool { return !isIPv4(p) }

func coverEntry(k bpfAddressKey) bpfCover {
	var mask [16]byte
	copy(mask[:], net.CIDRMask(int(k.Prefixlen), 8*len(mask)))
	words := func(b [16]byte) [2]uint64 {
		return [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
	}
	return bpfCover{Address: words(k.Address), Mask: words(mask)}
}

func addressKey(p netip.Prefix) bpfAddressKey {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return bpfAddressKey{Prefixlen: uint32(bits), Address: p.Addr().As16()} //nolint:gosec // at most 128
}

// configure changes what is true for all.
func (k *Path) configure(change func(*bpfConfiguration)) error {
	var c bpfConfiguration
	if err := k.objects.Config.Lookup(uint32(0), &c); err != nil {
		return fmt.Errorf("read the configuration of the kernel path: %w", err)
	}
	c.Layout, c.Slots = layout, k.objects.slots
	change(&c)
	if err := k.objects.Config.Put(uint32(0), &c); err != nil {
		return fmt.Errorf("write the configuration of the kernel path: %w", err)
	}
	return nil
}
