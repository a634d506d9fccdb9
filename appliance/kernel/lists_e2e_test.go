//go:build e2e

package kernel

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// ask gives a question to the program class_lookup.
func (r *rig) ask(t testing.TB, q bpfListQuery) bpfListQuery {
	t.Helper()
	data := unsafe.Slice((*byte)(unsafe.Pointer(&q)), unsafe.Sizeof(q))
	r.must(t, func() error {
		o := &ebpf.RunOptions{Data: data, DataOut: r.output}
		if verdict, err := r.path.objects.ClassLookup.Run(o); err != nil || verdict != 2 {
			return fmt.Errorf("look an address up: verdict %d, %w", verdict, err)
		}
		copy(data, o.DataOut)
		return nil
	})
	return q
}

// classOf is the class of an address, as the program says.
func (r *rig) classOf(t testing.TB, a netip.Addr) uint32 {
	t.Helper()
	q := bpfListQuery{Address: a.As16()}
	if a.Is4() {
		q.V4 = 1
	}
	return uint32(r.ask(t, q).Found)
}

// randomEntries are prefixes of all lengths, close enough to be within each other.
func randomEntries(r *rand.Rand, n int) []lists.Entry {
	list := make([]lists.Entry, n)
	for i := range list {
		class := uint8(lists.First + r.IntN(20))
		if r.IntN(10) == 0 {
			class = 255 // exempt
		}
		list[i] = lists.Entry{Prefix: randomPrefix(r), Class: class}
	}
	return list
}

func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(2) == 0 {
		a := [4]byte{byte(r.IntN(3)), byte(r.IntN(4)), byte(r.IntN(4)), byte(r.Uint32())}
		if r.IntN(5) == 0 {
			binary.BigEndian.PutUint32(a[:], r.Uint32())
		}
		return netip.PrefixFrom(netip.AddrFrom4(a), r.IntN(33)).Masked()
	}
	var a [16]byte
	for i := range a {
		a[i] = byte(r.IntN(3))
		if r.IntN(20) == 0 {
			a[i] = byte(r.Uint32())
		}
	}
	a[0] = 0x20 | byte(r.IntN(2)*255)
	bits := 16 * (1 + r.IntN(8))
	if r.IntN(2) == 0 {
		bits = r.IntN(129)
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
}

// near is an address in or beside a prefix.
func near(r *rand.Rand, p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= byte(r.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(raw)
	switch r.IntN(4) {
	case 0:
		a = p.Addr()
	case 1:
		if before := p.Addr().Prev(); before.IsValid() {
			a = before
		}
	}
	return a
}

// TestListsModel: the program and the table agree about every address.
func TestListsModel(t *testing.T) {
	r := newRig(t, vectorPlan())
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		n := 1 << random.IntN(12)
		entries := randomEntries(random, n)
		b := lists.NewBuilder()
		for i := range 20 {
			b.Class(lists.Class{Kind: lists.KindList, Name: fmt.Sprint(i)})
		}
		b.Layer(entries[:n/2])
		b.Layer(entries[n/2:])
		table := b.Table()
		r.must(t, func() error { return r.path.SetLists(table) })
		for range 1000 {
			a := near(random, entries[random.IntN(n)].Prefix)
			if a.Is4In6() {
				continue
			}
			got := r.classOf(t, a)
			if got&255 != uint32(table.Lookup(a)) {
				t.Fatalf("round %d, %d entries: %s has class %d, want %d", round, n, a, got, table.Lookup(a))
			}
		}
	}
	r.must(t, func() error { return r.path.SetLists(&lists.Table{}) })
	if got := r.classOf(t, netip.MustParseAddr("1.1.1.1")); got != 0 {
		t.Errorf("without lists an address has class %d", got)
	}
}

// manyEntries are n prefixes as block lists have them, spread over all addresses.
func manyEntries(n int) []lists.Entry {
	random := rand.New(rand.NewPCG(uint64(n), 5))
	list := make([]lists.Entry, n)
	for i := range list {
		var p netip.Prefix
		if i%4 == 0 {
			a := netip.AddrFrom16([16]byte{0x20, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
			p = netip.PrefixFrom(a, 32+random.IntN(17)).Masked()
		} else {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], random.Uint32())
			p = netip.PrefixFrom(netip.AddrFrom4(a), []int{32, 32, 24, 24, 22, 20, 27}[random.IntN(7)]).Masked()
		}
		list[i] = lists.Entry{Prefix: p, Class: lists.First}
	}
	return list
}

// TestListsGrowth: ten times as many prefixes take no more than some ten times the work, and no lookup gets slow by it. How long
// it takes is told and not judged.
func TestListsGrowth(t *testing.T) {
	r := newRig(t, vectorPlan())
	var former time.Duration
	var lookup [2]float64
	for _, n := range []int{1000, 100_000, 1_000_000} {
		entries := manyEntries(n)
		began := work(t)
		b := lists.NewBuilder()
		b.Class(lists.Class{Kind: lists.KindList, Name: "many"})
		b.Layer(entries)
		table := b.Table()
		built := work(t)
		r.must(t, func() error { return r.path.SetLists(table) })
		loaded := work(t)
		t.Logf("%7d prefixes: built in %v, in force %v later; encoded %d kB", n, built-began, loaded-built, len(table.Encode())/1000)
		if took := loaded - began; n == 1_000_000 && took > 40*former {
			t.Errorf("%d prefixes took %v of a processor, a tenth of them %v", n, took, former)
		}
		former = loaded - began
		for v4 := range uint32(2) {
			best := 1e9
			for range 7 {
				const times = 500_000
				q := r.ask(t, bpfListQuery{V4: v4, Repeat: times, Seed: 88172645463325252})
				best = min(best, float64(q.Took)/times)
				if q.Found == 0 && n == 1_000_000 {
					t.Error("no random address has a class")
				}
			}
			t.Logf("  IPv4 %d: %.1f ns a lookup", v4, best)
			if n == 1_000_000 && best > 10*lookup[v4] {
				t.Errorf("among %d a lookup takes %.1f ns, among a tenth of them %.1f", n, best, lookup[v4])
			}
			lookup[v4] = best
		}
	}
}

// work is the processor time that this process had.
func work(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestListsChange: one more ban among thousands costs a small part of all of them, and so does its end.
func TestListsChange(t *testing.T) {
	r := newRig(t, vectorPlan())
	var list []plan.Ban
	for i := range 9000 {
		list = append(list, plan.Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 1}), 32)})
	}
	began := work(t)
	if err := r.path.SetBans(list); err != nil {
		t.Fatal(err)
	}
	all := work(t) - began
	one := netip.MustParsePrefix("198.51.100.7/32")
	wanted := ruleSet{}
	maps.Copy(wanted, r.path.rules.entered)
	wanted[one] = lists.Banned
	best := time.Hour
	for range 20 {
		for _, banned := range []bool{true, false} {
			if banned {
				wanted[one] = lists.Banned
			} else {
				delete(wanted, one)
			}
			began := work(t)
			if err := r.path.putRules(wanted); err != nil {
				t.Fatal(err)
			}
			best = min(best, work(t)-began)
			if got := r.classOf(t, one.Addr()) == lists.Banned; got != banned {
				t.Fatalf("banned: %v, want %v", got, banned)
			}
		}
	}
	t.Logf("one change among %d rules: %v; all of them: %v", len(wanted), best, all)
	if best > all/10 {
		t.Errorf("one change took %v of CPU, all of them took %v", best, all)
	}
}

// TestListsAreFilledBesides: a table is drawn and written while others work; only to put it in force has to wait for them.
func TestListsAreFilledBesides(t *testing.T) {
	r := newRig(t, vectorPlan())
	table := func(prefix string) *lists.Table {
		b := lists.NewBuilder()
		b.Layer(lists.Entries(prefixList(prefix), b.Class(lists.Class{Kind: lists.KindList, Name: "drop"})))
		return b.Table()
	}
	if err := r.path.SetLists(table("203.0.113.0/24")); err != nil {
		t.Fatal(err)
	}
	var state bpfListState
	if err := r.path.objects.ListStates.Lookup(uint32(0), &state); err != nil {
		t.Fatal(err)
	}
	was, next := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.1")
	r.path.mu.Lock()
	done := make(chan error, 1)
	go func() { done <- r.path.SetLists(table("198.51.100.0/24")) }()
	var id ebpf.MapID
	for end := time.Now().Add(30 * time.Second); r.path.objects.ListTables.Lookup(state.Generation^1, &id) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no table is made while something else is going on")
		}
	}
	if r.classOf(t, was) == 0 || r.classOf(t, next) != 0 {
		t.Error("it is in force before its time")
	}
	state.Rules = 7 // by whoever holds the lock
	if err := r.path.objects.ListStates.Put(uint32(0), state); err != nil {
		t.Fatal(err)
	}
	r.path.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r.classOf(t, was) != 0 || r.classOf(t, next) == 0 {
		t.Error("it is not in force")
	}
	if err := r.path.objects.ListStates.Lookup(uint32(0), &state); err != nil || state.Rules != 7 {
		t.Errorf("what changed meanwhile is gone: %+v, %v", state, err)
	}
}

// TestListsAtOnce: tables, bans and status do not get into each other's way.
func TestListsAtOnce(t *testing.T) {
	r := newRig(t, vectorPlan())
	b := lists.NewBuilder()
	b.Layer(lists.Entries(prefixList("203.0.113.0/24"), b.Class(lists.Class{Kind: lists.KindList, Name: "drop"})))
	some := b.Table()
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error {
			for n := range 25 {
				table := some
				if (n+i)%3 == 0 {
					table = &lists.Table{}
				}
				if err := r.path.SetLists(table); err != nil {
					return err
				}
				if err := r.path.SetBans([]plan.Ban{{Prefix: netip.PrefixFrom(client4, 8+n)}}); err != nil {
					return err
				}
				var seen status.Edge
				if err := r.path.Status(&seen); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := r.path.SetLists(some); err != nil {
		t.Fatal(err)
	}
	if got := r.classOf(t, netip.MustParseAddr("203.0.113.1")) & (listClasses - 1); got != lists.First {
		t.Errorf("the class is %d, want %d", got, lists.First)
	}
}
