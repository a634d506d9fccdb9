package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// SetBans makes list the bans in force, and ends the sessions and flows of the banned. A client that is banned is left to the
// user path, which turns it away; so a ban that is over, and that control has not taken off the list yet, is its to see.
func (k *Path) SetBans(list []plan.Ban) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := k.putBans(list)
	k.rules.bans = slices.SortedFunc(maps.Keys(k.banned), netip.Prefix.Compare)
	k.followRules()
	failed = errors.Join(failed, k.configure(func(c *bpfConfiguration) { c.Bans = limit(len(list)) }))
	if len(list) == 0 {
		return failed
	}
	return errors.Join(failed, k.endBanned(list))
}

// putBans changes the table of bans to a list.
func (k *Path) putBans(list []plan.Ban) (failed error) {
	wanted := make(map[netip.Prefix]bool, len(list))
	for _, b := range list {
		p := plan.NormalPrefix(b.Prefix)
		wanted[p] = true
		if k.banned[p] {
			continue
		}
		if err := k.objects.Bans.Put(addressKey(p), uint64(1)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("enter the ban of %s: %w", p, err))
			delete(wanted, p) // tried again with the next list
		}
	}
	for p := range k.banned {
		if !wanted[p] {
			failed = errors.Join(failed, k.objects.Bans.Delete(addressKey(p)))
		}
	}
	k.banned = wanted
	return failed
}

// endBanned ends the sessions and flows of banned clients.
func (k *Path) endBanned(list []plan.Ban) (failed error) {
	banned := bannedAt(list, time.Now())
	err := k.each(func(slot uint32, s *bpfSession) {
		if (s.State == stateSYN || s.State == stateOpen) && banned(netip.AddrFrom16(s.Side[client].Address)) {
			failed = errors.Join(failed, k.end(slot, s, status.Banned, true))
		}
	})
	return errors.Join(failed, err)
}

// bannedAt tells who is banned at a time. It takes the same for any number of bans: all sessions are asked, and the box waits.
func bannedAt(list []plan.Ban, now time.Time) func(netip.Addr) bool {
	inForce := make(map[netip.Prefix]bool, len(list))
	var lengths plan.Lengths
	for _, b := range list {
		if !b.Over(now) {
			p := plan.NormalPrefix(b.Prefix)
			inForce[p] = true
			lengths.Add(p)
		}
	}
	return func(a netip.Addr) bool {
		return lengths.Within(a, func(p netip.Prefix) bool { return inForce[p] })
	}
}

// loadBans finds the bans that the last process entered.
func (k *Path) loadBans() error {
	k.banned = make(map[netip.Prefix]bool)
	var key bpfAddressKey
	var value uint64
	all := k.objects.Bans.Iterate()
	for all.Next(&key, &value) {
		p := netip.PrefixFrom(netip.AddrFrom16(key.Address), int(key.Prefixlen))
		k.banned[plan.NormalPrefix(p)] = true
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read the bans of the kernel path: %w", err)
	}
	return nil
}
