package kernel

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// objects are the programs and maps, with the array of sessions in our memory.
type objects struct {
	bpfObjects
	generic *ebpf.Program // nil: no interface has needed it yet
	dir     string        // of the pinned maps of this layout
	memory  *ebpf.Memory  // of the sessions
	totals  *ebpf.Memory
	bloom   *ebpf.Memory
	slots   uint32
}

const (
	// minSlots and maxSlots bound the sessions that there may be. A slot and its tuples take half a KiB.
	minSlots, maxSlots = 1 << 16, 1 << 19
	// memoryOfSlot is how much of the box's memory there has to be for each slot.
	memoryOfSlot = 8 << 10
	sessionSize  = 264 // bytes; TestLayout
	offsetOthers = 56  // of total.other_sessions, then other_flows; TestLayout
)

// perProcess are the maps that a process makes for itself: nothing that lives is in them.
var perProcess = []string{"scratch"}

// ofSessions are the maps that sessions are in. As long as these have the same layout, sessions go on under a new program; all
// others it makes anew when they have changed, and fills them.
var ofSessions = []string{
	"sessions", "tuples", "spare", "totals", "events", "names", "service_counts", "origin_counts", "turn_counts", "sources", "fragments",
	"holders",
}

// bpfFS is where a file system of type bpf belongs (systemd mounts it there).
const bpfFS = "/sys/fs/bpf"

// mountBPF mounts it where nobody has. Where dir is in another file system, an error of the first pin says so.
func mountBPF(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(bpfFS, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", bpfFS, err)
	}
	if fs.Type == unix.BPF_FS_MAGIC || !strings.HasPrefix(dir, bpfFS+"/") {
		return nil
	}
	if err := unix.Mount("bpf", bpfFS, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a file system of type bpf on %s: %w", bpfFS, err)
	}
	return nil
}

// load loads the program, with the maps that are pinned in dir, or new ones.
func load(dir string) (*objects, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("ask for memory for eBPF maps: %w", err)
	}
	if err := mountBPF(dir); err != nil {
		return nil, err
	}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the programs of the kernel path: %w", err)
	}
	dir = filepath.Join(dir, shape(spec))
	if err := os.MkdirAll(filepath.Join(dir, linksDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of pinned maps (is a file system of type bpf mounted?): %w", err)
	}
	slots, err := setSlots(spec, dir)
	if err != nil {
		return nil, err
	}
	kept, err := pinMaps(spec, dir)
	if err != nil {
		return nil, err
	}
	o := &objects{dir: dir, slots: slots}
	err = spec.LoadAndAssign(&o.bpfObjects, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: dir}, MapReplacements: kept})
	for _, m := range kept {
		err = errors.Join(err, m.Close()) // the programs have copies
	}
	if err != nil {
		return nil, fmt.Errorf("load the kernel path: %w", err)
	}
	if err := o.pinOthers(spec); err != nil {
		return nil, errors.Join(err, o.close())
	}
	if o.memory, err = o.Sessions.Memory(); err != nil {
		return nil, errors.Join(fmt.Errorf("map the sessions: %w", err), o.close())
	}
	if o.totals, err = o.Totals.Memory(); err != nil {
		return nil, errors.Join(fmt.Errorf("map the totals: %w", err), o.close())
	}
	if o.bloom, err = o.Bloom.Memory(); err != nil {
		return nil, errors.Join(fmt.Errorf("map the filter of sessions: %w", err), o.close())
	}
	return o, nil
}

// setSlots gives the maps of sessions their sizes: those that pinned ones have, otherwise by the machine's memory.
func setSlots(spec *ebpf.CollectionSpec, dir string) (slots uint32, err error) {
	if slots, err = wantedSlots(); err != nil {
		return 0, err
	}
	if old, err := ebpf.LoadPinnedMap(filepath.Join(dir, "sessions"), nil); err == nil {
		slots = old.MaxEntries()
		if err := old.Close(); err != nil {
			return 0, fmt.Errorf("close a map: %w", err)
		}
	}
	spec.Maps["sessions"].MaxEntries = slots
	spec.Maps["tuples"].MaxEntries = 2 * slots
	spec.Maps["spare"].MaxEntries = slots
	spec.Maps["holders"].MaxEntries = 4 * slots // address and network, of both engines
	return slots, nil
}

func (o *objects) close() error { return errors.Join(o.bpfObjects.Close(), o.generic.Close()) }

// pinMaps lets the maps of sessions be pinned by their names, and finds those of the others that an earlier process has left in
// the same layout.
func pinMaps(spec *ebpf.CollectionSpec, dir string) (kept map[string]*ebpf.Map, err error) {
	kept = make(map[string]*ebpf.Map)
	for name, m := range spec.Maps {
		switch {
		case slices.Contains(ofSessions, name):
			m.Pinning = ebpf.PinByName
		case isOther(name):
			old, failed := ebpf.LoadPinnedMap(filepath.Join(dir, pinOf(name, m)), nil)
			if failed == nil {
				kept[name] = old
			} else if !errors.Is(failed, os.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("open the pinned map %s: %w", name, failed))
			}
		}
	}
	return kept, err
}

// isOther tells whether a map is pinned, and none of sessions.
func isOther(name string) bool {
	return !slices.Contains(ofSessions, name) && !slices.Contains(perProcess, name) && !strings.HasPrefix(name, ".")
}

// pinOf is the name under which such a map is pinned: with a hash of its layout.
func pinOf(name string, m *ebpf.MapSpec) string {
	hash := fnv.New32a()
	_, _ = fmt.Fprintln(hash, others, m.Type, m.KeySize, m.ValueSize, m.Flags, m.MaxEntries) // a hash takes everything
	if i := m.InnerMap; i != nil {
		_, _ = fmt.Fprintln(hash, i.Type, i.KeySize, i.ValueSize, i.Flags)
	}
	return fmt.Sprintf("%s-%08x", name, hash.Sum32())
}

// pinOthers pins those that are new.
func (o *objects) pinOthers(spec *ebpf.CollectionSpec) error {
	all, err := mapsOf(&o.bpfMaps)
	if err != nil {
		return err
	}
	for name, m := range spec.Maps {
		if !isOther(name) {
			continue
		}
		pin := filepath.Join(o.dir, pinOf(name, m))
		if _, err := os.Stat(pin); err == nil {
			continue
		}
		if err := all[name].Pin(pin); err != nil {
			return fmt.Errorf("pin the map %s: %w", name, err)
		}
	}
	return nil
}

// mapsOf lists maps by the names that they have in C.
func mapsOf(m *bpfMaps) (map[string]*ebpf.Map, error) {
	list := make(map[string]*ebpf.Map)
	fields := reflect.ValueOf(m).Elem()
	for i := range fields.NumField() {
		entry, is := reflect.TypeAssert[*ebpf.Map](fields.Field(i))
		if !is {
			return nil, fmt.Errorf("the field %s is no map", fields.Type().Field(i).Name)
		}
		list[fields.Type().Field(i).Tag.Get("ebpf")] = entry
	}
	return list, nil
}

// forgetOthers removes the pins of maps that the program of another version had. Links lead to this one's by now.
func (o *objects) forgetOthers() error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("read the programs of the kernel path: %w", err)
	}
	pins, err := filepath.Glob(filepath.Join(o.dir, "*-*"))
	if err != nil {
		return fmt.Errorf("look for maps of another version: %w", err)
	}
	for _, pin := range pins {
		name, _, _ := strings.Cut(filepath.Base(pin), "-")
		if m := spec.Maps[name]; m != nil && pinOf(name, m) == filepath.Base(pin) {
			continue
		}
		if err := os.Remove(pin); err != nil {
			return fmt.Errorf("remove a map of another version: %w", err)
		}
	}
	return nil
}

// shape names the layout of the maps of sessions. Programs of another layout keep directories of their own (old.go).
func shape(spec *ebpf.CollectionSpec) string {
	hash := fnv.New64a()
	for _, name := range ofSessions {
		m := spec.Maps[name]
		_, _ = fmt.Fprintln(hash, layout, name, m.Type, m.KeySize, m.ValueSize, m.Flags) // a hash takes everything
		if name != "sessions" && name != "tuples" && name != "spare" && name != "holders" {
			_, _ = fmt.Fprintln(hash, m.MaxEntries)
		}
	}
	return fmt.Sprintf("%016x", hash.Sum64())
}

// wantedSlots is how many sessions the box's memory is enough for.
func wantedSlots() (uint32, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask how much memory there is: %w", err)
	}
	total := info.Totalram * uint64(info.Unit)
	return uint32(min(max(total/memoryOfSlot, minSlots), maxSlots)), nil //nolint:gosec // bounded
}

// linksDir holds the pinned links, each under the index of its interface.
const linksDir = "links"

// attachment is the program at one interface.
type attachment struct {
	link link.Link
	pin  string
}

// attachTo puts the program at the ingress of an interface: in place of an older one at once, if there is one.
func (k *Path) attachTo(index int) error {
	pin := filepath.Join(k.objects.dir, linksDir, strconv.Itoa(index))
	if old, err := link.LoadPinnedLink(pin, nil); err == nil {
		if attached(old, index) && old.Update(k.objects.Path) == nil {
			k.links[index] = &attachment{old, pin}
			return nil
		}
		// Of an interface that is gone: its index was used again.
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return fmt.Errorf("remove a program from an interface that is gone: %w", err)
		}
	}
	// In front of a program of another layout, which has old sessions only.
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: k.objects.Path, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if err != nil {
		return fmt.Errorf("attach the kernel path to interface %d: %w", index, err)
	}
	if err := l.Pin(pin); err != nil {
		return errors.Join(fmt.Errorf("pin the kernel path at interface %d: %w", index, err), l.Close())
	}
	k.links[index] = &attachment{l, pin}
	return nil
}

// adoptLinks puts this program in the place of an older one of the same layout at interfaces where it stays for its sessions.
func (k *Path) adoptLinks() error {
	pins, err := filepath.Glob(filepath.Join(k.objects.dir, linksDir, "*"))
	if err != nil {
		return fmt.Errorf("look for pinned programs: %w", err)
	}
	for _, pin := range pins {
		index, err := strconv.Atoi(filepath.Base(pin))
		if err != nil || k.links[index] != nil {
			continue
		}
		old, err := link.LoadPinnedLink(pin, nil)
		if err != nil {
			return fmt.Errorf("open the program at interface %d: %w", index, err)
		}
		if !attached(old, index) || old.Update(k.objects.Path) != nil { // of an interface that is gone
			if err := errors.Join(old.Unpin(), old.Close()); err != nil {
				return fmt.Errorf("remove a program from an interface that is gone: %w", err)
			}
			continue
		}
		k.links[index] = &attachment{old, pin}
	}
	return nil
}

// attached tells whether l is at the interface still.
func attached(l link.Link, index int) bool {
	info, err := l.Info()
	if err != nil {
		return false
	}
	tcx := info.TCX()
	return tcx != nil && int(tcx.Ifindex) == index
}

func (a *attachment) detach() error { return errors.Join(a.link.Unpin(), a.link.Close()) }

// Clear removes the programs and maps that are pinned in dir, with all sessions in them.
func Clear(dir string) error {
	links, err := filepath.Glob(filepath.Join(dir, "*", linksDir, "*"))
	if err != nil {
		return fmt.Errorf("look for pinned programs: %w", err)
	}
	shields, err := filepath.Glob(filepath.Join(dir, shieldDir, "*"))
	if err != nil {
		return fmt.Errorf("look for pinned programs: %w", err)
	}
	for _, pin := range append(links, shields...) {
		if l, err := link.LoadPinnedLink(pin, nil); err == nil {
			if err := errors.Join(l.Unpin(), l.Close()); err != nil {
				return fmt.Errorf("remove the program %s: %w", pin, err)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the pinned maps: %w", err)
	}
	return nil
}
