package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// setType holds prefixes of any length. One lookup hashes once for each length in use.
const setType = "hash:net"

// listSets reads the sets of ours that exist, by name: IpsetListAll would log every attribute of other
// programs' sets that it does not know.
func listSets(f family) (map[string][]netip.Prefix, error) {
	sets := make(map[string][]netip.Prefix)
	for _, s := range (familyWish{}).sets(f) {
		r, err := netlink.IpsetList(s.name)
		// ENOENT: no such set. EINVAL: the kernel has no ipset at all, so there is none of ours either.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the set %s: %w", s.name, err)
		}
		sets[s.name] = []netip.Prefix{}
		for _, e := range r.Entries {
			a, _ := netip.AddrFromSlice(e.IP)
			sets[s.name] = append(sets[s.name], netip.PrefixFrom(a, int(e.CIDR)))
		}
	}
	return sets, nil
}

// setSteps returns what opens and what closes.
func (s *Steering) setSteps(f family, have map[string][]netip.Prefix, w familyWish) (add, remove []step) {
	for _, want := range w.sets(f) {
		members, exists := have[want.name]
		if !w.wanted {
			if exists {
				remove = append(remove, destroySet(want.name))
			}
			continue
		}
		if !exists {
			add = append(add, createSet(f, want.name))
		}
		for _, p := range want.members {
			if !slices.Contains(members, p) {
				add = append(add, step{fmt.Sprintf("add %s to the set %s", p, want.name),
					func() error { return netlink.IpsetAdd(want.name, entry(p)) }})
			}
		}
		for _, p := range members {
			if !slices.Contains(want.members, p) {
				remove = append(remove, step{fmt.Sprintf("remove %s from the set %s", p, want.name),
					func() error { return netlink.IpsetDel(want.name, entry(p)) }})
			}
		}
	}
	return add, remove
}

func createSet(f family, name string) step {
	return step{"make the set " + name, func() error {
		return netlink.IpsetCreate(name, setType, netlink.IpsetCreateOptions{Family: uint8(f.number())})
	}}
}

// destroySet waits for the kernel to let go of the rules that named the set.
func destroySet(name string) step {
	return step{"destroy the set " + name, func() (err error) {
		for range busyTries {
			if err = netlink.IpsetDestroy(name); !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_BUSY)) {
				return err
			}
			time.Sleep(busyPause)
		}
		return err
	}}
}

// entry is p as ipset takes it. Replace makes adding what is there, and removing what is not, no error.
func entry(p netip.Prefix) *netlink.IPSetEntry {
	return &netlink.IPSetEntry{IP: p.Addr().AsSlice(), CIDR: uint8(p.Bits()), Replace: true}
}
