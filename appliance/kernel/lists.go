package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/lists"
	"breakwater/appliance/status"
)

// What becomes of a class, as in bpf/lists.h.
const (
	classPass = 1
	classDrop = 2
)

// classes are the rules that packets are counted under.
type classes struct {
	table []lists.Class          // of the lists in force
	past  map[lists.Class]uint64 // what those counted whose numbers are others' by now
}

// SetLists makes t the lists in force, all at once; an empty one has none. An error leaves the former ones. A large table takes
// most of a second to draw and write; whatever else there is to do does not wait for that.
func (k *Path) SetLists(t *lists.Table) error {
	k.listing.Lock()
	defer k.listing.Unlock()
	var state bpfListState
	if err := k.objects.ListStates.Lookup(uint32(0), &state); err != nil {
		return fmt.Errorf("read which lists are in force: %w", err)
	}
	old := state.Generation & 1
	next := old
	if !t.Empty() {
		next = old ^ 1
		if err := k.putTable(next, t); err != nil {
			return err
		}
	}
	if err := k.swapLists(old, next, t); err != nil {
		return err
	}
	if err := k.objects.ListTables.Delete(old); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("give back the former lists: %w", err)
	}
	return nil
}

// swapLists puts a table in force that is all there.
func (k *Path) swapLists(old, next uint32, t *lists.Table) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var state bpfListState
	if err := k.objects.ListStates.Lookup(uint32(0), &state); err != nil { // rules may have changed meanwhile
		return fmt.Errorf("read which lists are in force: %w", err)
	}
	state.Generation, state.Present = next, flag(!t.Empty())
	if err := k.objects.ListStates.Put(uint32(0), state); err != nil {
		return fmt.Errorf("put the lists in force: %w", err)
	}
	err := k.forgetClasses(old)
	k.classes.table = nil // of a table with nothing in it, whose classes are not entered
	if !t.Empty() {
		k.classes.table = t.Classes
	}
	return err
}

// putTable writes a table and its classes beside those in force.
func (k *Path) putTable(generation uint32, t *lists.Table) error {
	words, err := draw(t)
	if err != nil {
		return err
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "list_table", Type: ebpf.Array, KeySize: 4, ValueSize: sizeOf(bpfListLine{}), MaxEntries: uint32(len(words) / lineWords),
		Flags: unix.BPF_F_INNER_MAP | unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return fmt.Errorf("make the table of lists (%d MB): %w", len(words)*8>>20, err)
	}
	defer func() { _ = m.Close() }() // the tables have it
	if err := writeWords(m, words); err != nil {
		return err
	}
	if err := k.putClasses(generation, t.Classes); err != nil {
		return err
	}
	if err := k.objects.ListTables.Put(generation, m); err != nil {
		return fmt.Errorf("put the table of lists in place: %w", err)
	}
	return nil
}

// writeWords fills an array that is shared memory.
func writeWords(m *ebpf.Map, words []uint64) error {
	memory, err := m.Memory()
	if err != nil {
		return fmt.Errorf("map the table of lists: %w", err)
	}
	if _, err := memory.WriteAt(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8), 0); err != nil {
		return fmt.Errorf("write the table of lists: %w", err)
	}
	return nil
}

// putClasses says what becomes of the classes of a table, and begins to count them.
func (k *Path) putClasses(generation uint32, table []lists.Class) error {
	verdicts := make([]bpfListVerdict, len(table))
	keys := make([]uint32, len(table))
	for i, c := range table {
		keys[i] = generation*listClasses + lists.First + uint32(i)
		verdicts[i] = bpfListVerdict{Verdict: classDrop, Reason: uint8(ruleReason(c.Kind))}
		if c.Pass {
			verdicts[i] = bpfListVerdict{Verdict: classPass}
		}
		if err := k.objects.ClassHits.Put(keys[i], make([]uint64, ebpf.MustPossibleCPU())); err != nil {
			return fmt.Errorf("begin to count the packets of a list: %w", err)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if _, err := k.objects.Classes.BatchUpdate(keys, verdicts, nil); err != nil {
		return fmt.Errorf("enter what becomes of the addresses of lists: %w", err)
	}
	return nil
}

func ruleReason(kind lists.Kind) status.Reason {
	switch kind {
	case lists.KindNetwork:
		return status.Network
	case lists.KindCountry:
		return status.Country
	}
	return status.Denied
}

// forgetClasses remembers what the classes of a generation have counted.
func (k *Path) forgetClasses(generation uint32) error {
	for i, c := range k.classes.table {
		n, err := sum(k.objects.ClassHits, generation*listClasses+lists.First+uint32(i))
		if err != nil {
			return err
		}
		k.classes.past[c] += n
	}
	return nil
}

// openClasses says what becomes of the classes that no table has.
func (k *Path) openClasses() error {
	k.classes.past = make(map[lists.Class]uint64)
	for class, v := range map[uint32]bpfListVerdict{
		lists.Protected: {Verdict: classPass},
		lists.Allowed:   {Verdict: classPass},
		lists.Banned:    {Verdict: classDrop, Reason: uint8(status.Banned)},
		lists.Denied:    {Verdict: classDrop, Reason: uint8(status.Denied)},
	} {
		if err := k.objects.Classes.Put(class, v); err != nil {
			return fmt.Errorf("enter what becomes of the addresses of rules: %w", err)
		}
	}
	return nil
}

// addAddresses adds how many packets came from the addresses of each rule.
func (k *Path) addAddresses(into *status.Edge) error {
	var list []status.SourceCounter
	for class, name := range map[uint32]string{lists.Protected: "protected", lists.Allowed: "allow", lists.Banned: "bans", lists.Denied: "deny"} {
		n, err := sum(k.objects.ClassHits, class)
		if err != nil {
			return err
		}
		list = append(list, status.SourceCounter{Kind: status.SourceOwn, Name: name, Packets: n})
	}
	var state bpfListState
	if err := k.objects.ListStates.Lookup(uint32(0), &state); err != nil {
		return fmt.Errorf("read which lists are in force: %w", err)
	}
	for i, c := range k.classes.table {
		n, err := sum(k.objects.ClassHits, state.Generation*listClasses+lists.First+uint32(i))
		if err != nil {
			return err
		}
		list = append(list, status.SourceCounter{Kind: sourceKinds[c.Kind], Name: c.Name, Packets: n + k.classes.past[c]})
	}
	status.SortSources(list)
	into.Shield.Addresses = list
	return nil
}

var sourceKinds = map[lists.Kind]status.SourceKind{
	lists.KindList: status.SourceList, lists.KindNetwork: status.SourceNetwork, lists.KindCountry: status.SourceCountry,
}
