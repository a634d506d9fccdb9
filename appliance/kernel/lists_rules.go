package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"breakwater/appliance/health"
	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
)

// rules are those of hand, which change one by one: a class for prefixes. Of those that hold an address the longest counts, so
// what a rule of more weight holds is left out.
type rules struct {
	plan    *plan.Plan     // whose rules they are; nil: none came yet, and those of the last process stay
	own     []netip.Prefix // of this box: its addresses and its routers
	origins []netip.Prefix
	bans    []netip.Prefix
	failed  bool // not all are in force
	entered map[netip.Prefix]uint32
	marks   [3 * markWords]uint64
}

// markWords is how many words each of the three tables of marks has (bpf/lists.h).
const markWords = 1024

// SetOwn tells what is this box's: its addresses and its routers. They are always let in.
func (k *Path) SetOwn(own []netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Equal(own, k.rules.own) {
		return
	}
	k.rules.own = slices.Clone(own)
	k.followRules()
}

// enterRules brings the rules of hand up to date.
func (k *Path) enterRules() error {
	wanted := make(ruleSet)
	wanted.add(lists.Protected, k.rules.own)
	k.rules.origins = k.originAddresses()
	wanted.add(lists.Protected, k.rules.origins)
	protected, allowed, denied := k.rules.ofPlan()
	wanted.add(lists.Protected, protected)
	wanted.add(lists.Allowed, allowed)
	wanted.add(lists.Banned, k.rules.bans)
	wanted.add(lists.Denied, denied)
	return k.putRules(wanted)
}

func (r *rules) ofPlan() (protected, allowed, denied []netip.Prefix) {
	if r.plan == nil {
		return r.of(lists.Protected), r.of(lists.Allowed), r.of(lists.Denied)
	}
	return protectedBy(r.plan), r.plan.Shield.Allow, r.plan.Shield.Deny
}

// of are the prefixes that have a class by now.
func (r *rules) of(class uint32) (list []netip.Prefix) {
	for p, has := range r.entered {
		if has == class {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// followRules does so after what they are made of has changed. Should it fail, those that are in force stay.
func (k *Path) followRules() {
	const code = "rules-not-in-force"
	err := k.enterRules()
	k.rules.failed = err != nil
	if err != nil {
		k.options.Log.Error("rules of the shield", "err", err)
		k.options.Conditions.Raise(health.Condition{Code: code, Severity: health.Critical, Title: "Not all rules about addresses are in force",
			Detail: err.Error() + ". It is tried again every few seconds; a restart of edge enters all of them."})
		return
	}
	k.options.Conditions.Clear(code, "")
}

// keepRules follows the origins, which change by themselves, and tries again what failed.
func (k *Path) keepRules() {
	if k.rules.failed || !slices.Equal(k.rules.origins, k.originAddresses()) {
		k.followRules()
	}
}

// originAddresses are the addresses of origins: those of the plan in whatever state, those that names lead to, and those that sessions
// still have. Where the box dials from an edge address, a rule about one of them would take the answers away.
func (k *Path) originAddresses() []netip.Prefix {
	all := k.options.Pools.Addresses()
	for number, sessions := range k.ledger.perOrigin {
		if sessions <= 0 {
			continue
		}
		_, _, text := k.names.originAt(number)
		if a, err := netip.ParseAddr(text); err == nil { // it is one: sessions have numbers of addresses
			all = append(all, a)
		}
	}
	list := make([]netip.Prefix, len(all))
	for i, a := range all {
		list[i] = netip.PrefixFrom(a, a.BitLen())
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// protectedBy are the addresses of a plan that are always let in, besides origins.
func protectedBy(p *plan.Plan) []netip.Prefix {
	list := slices.Concat(p.Shield.Protected, p.Steering.Addresses)
	for _, r := range p.Resolvers {
		list = append(list, netip.PrefixFrom(r.Addr(), r.Addr().BitLen()))
	}
	for _, s := range p.Services {
		list = append(list, s.Upstreams...)
	}
	return list
}

// ruleSet is the class of prefixes. Classes are added from the one of most weight to the one of least.
type ruleSet map[netip.Prefix]uint32

func (s ruleSet) add(class uint32, prefixes []netip.Prefix) {
	lengths := make(map[int]bool) // of those that are there, IPv4 negative
	for p := range s {
		lengths[lengthOf(p)] = true
	}
	for _, p := range prefixes {
		if p = plan.NormalPrefix(p); p.IsValid() && !s.covers(p, lengths) {
			s[p] = class
			lengths[lengthOf(p)] = true
		}
	}
}

func lengthOf(p netip.Prefix) int {
	if p.Addr().Is4() {
		return -1 - p.Bits()
	}
	return p.Bits()
}

func (s ruleSet) covers(p netip.Prefix, lengths map[int]bool) bool {
	for bits := range p.Bits() + 1 {
		outer := netip.PrefixFrom(p.Addr(), bits)
		if !lengths[lengthOf(outer)] {
			continue
		}
		if _, there := s[outer.Masked()]; there {
			return true
		}
	}
	return false
}

// putRules makes wanted the rules in force, changing what differs. Marks are there before what they lead to, and after.
func (k *Path) putRules(wanted ruleSet) error {
	marks := marksOf(wanted)
	both := marks
	for i := range both {
		both[i] |= k.rules.marks[i]
	}
	failed := k.putMarks(&both)
	for p, class := range wanted {
		if was, there := k.rules.entered[p]; there && was == class {
			continue
		}
		if err := k.objects.ListRules.Put(addressKey(p), class); err != nil {
			failed = errors.Join(failed, fmt.Errorf("enter the rule for %s: %w", p, err))
			continue
		}
		k.rules.entered[p] = class
	}
	for p := range k.rules.entered {
		if _, there := wanted[p]; there {
			continue
		}
		if err := k.objects.ListRules.Delete(addressKey(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			failed = errors.Join(failed, fmt.Errorf("take out the rule for %s: %w", p, err))
			continue
		}
		delete(k.rules.entered, p)
	}
	var state bpfListState
	if err := k.objects.ListStates.Lookup(uint32(0), &state); err != nil {
		return errors.Join(failed, fmt.Errorf("read which lists are in force: %w", err))
	}
	if n := uint32(len(k.rules.entered)); state.Rules != n {
		state.Rules = n
		failed = errors.Join(failed, k.objects.ListStates.Put(uint32(0), state))
	}
	return errors.Join(failed, k.putMarks(&marks))
}

func (k *Path) putMarks(marks *[3 * markWords]uint64) error {
	for i, word := range marks {
		if word == k.rules.marks[i] {
			continue
		}
		if err := k.objects.ListMarks.Put(uint32(i), word); err != nil {
			return fmt.Errorf("mark where there are rules: %w", err)
		}
		k.rules.marks[i] = word
	}
	return nil
}

// marksOf are the marks of bpf/lists.h for these rules.
func marksOf(s ruleSet) (marks [3 * markWords]uint64) {
	set := func(table int, bit uint32) { marks[table*markWords+int(bit/64)] |= 1 << (bit % 64) }
	for p := range s {
		first, table := firstWord(p.Addr()), 1
		if p.Addr().Is4() {
			table = 0
		} else if p.Bits() >= 32 {
			set(2, first*0x9e3779b1>>16)
			continue
		}
		for n := range uint32(1) << max(16-p.Bits(), 0) {
			set(table, first>>16+n)
		}
	}
	return marks
}

// firstWord is the first 32 bits of an address.
func firstWord(a netip.Addr) uint32 { return binary.BigEndian.Uint32(a.AsSlice()) }

// loadRules finds what the last process entered.
func (k *Path) loadRules() error {
	k.rules.entered = make(map[netip.Prefix]uint32)
	var key bpfAddressKey
	var class uint32
	all := k.objects.ListRules.Iterate()
	for all.Next(&key, &class) {
		p := plan.NormalPrefix(netip.PrefixFrom(netip.AddrFrom16(key.Address), int(key.Prefixlen)))
		k.rules.entered[p] = class
		if class == lists.Banned {
			k.rules.bans = append(k.rules.bans, p)
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read the rules of hand: %w", err)
	}
	for i := range k.rules.marks {
		if err := k.objects.ListMarks.Lookup(uint32(i), &k.rules.marks[i]); err != nil {
			return fmt.Errorf("read where there are rules: %w", err)
		}
	}
	return nil
}
