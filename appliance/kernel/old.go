package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// A program of another layout, of an older or newer version, keeps its sessions until they end by themselves: it is told to
// begin no more, and is removed when none is left. It needs no process for that, but without one nothing ends what is idle, so
// at last it is removed all the same. Meanwhile this program leaves alone what the tuples of the other lead to.
//
// These offsets are the same in every layout.
const (
	offsetOff      = 8 // of configuration.off
	offsetSessions = 8 // of total.sessions, then total.flows
)

// others are the directories of programs of other layouts.
func (k *Path) others() ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(k.options.Dir, "*"))
	if err != nil {
		return nil, fmt.Errorf("look for programs of other versions: %w", err)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return dir == k.objects.dir || filepath.Base(dir) == shieldDir }), nil
}

// respectElders lets the programs leave alone what one of another layout carries. Of more than one, or one whose tuples are
// of another kind, the program cannot know, so it must begin nothing: then the user path takes what is new.
func (k *Path) respectElders() error {
	dirs, err := k.others()
	found, blocked := false, false
	for _, dir := range dirs {
		tuples, failed := ebpf.LoadPinnedMap(filepath.Join(dir, "tuples"), nil)
		if failed != nil {
			continue // it is no program, or is being removed
		}
		if found || k.objects.Elders.Put(uint32(0), tuples) != nil {
			blocked = true
		}
		found = true
		err = errors.Join(err, tuples.Close())
	}
	if !found {
		if failed := k.objects.Elders.Delete(uint32(0)); failed != nil && !errors.Is(failed, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("forget the sessions of a former version: %w", failed))
		}
	}
	if blocked && !k.blocked {
		k.options.Log.Warn("sessions of former versions cannot be told from others: what is new goes by the user path until they end")
	}
	k.blocked = blocked
	return err
}

// sessionsIn tells how many sessions and flows the totals of a layout have.
func sessionsIn(totals *ebpf.Map) (n uint64, err error) {
	value, err := totals.LookupBytes(uint32(0))
	if err != nil || len(value) < offsetSessions+16 {
		return 0, fmt.Errorf("read the sessions of another version: %w", err)
	}
	for i := range 16 {
		n += uint64(value[offsetSessions+i]) << (i % 8 * 8)
	}
	return n, nil
}

// retire looks at the programs of other layouts and removes those that have nothing to do. It tells how many sessions and
// flows are left with the others.
func (k *Path) retire() (left uint64, err error) {
	dirs, err := k.others()
	for _, dir := range dirs {
		n, failed := k.retireOne(dir)
		left, err = left+n, errors.Join(err, failed)
	}
	return left, err
}

func (k *Path) retireOne(dir string) (left uint64, err error) {
	if err := switchOffIn(dir); err != nil {
		return 0, err
	}
	if totals, err := ebpf.LoadPinnedMap(filepath.Join(dir, "totals"), nil); err == nil {
		left, err := sessionsIn(totals)
		if err := errors.Join(err, totals.Close()); err != nil || left > 0 && !k.tooOld(dir, left) {
			return left, err
		}
	}
	links, err := filepath.Glob(filepath.Join(dir, linksDir, "*"))
	if err != nil {
		return 0, fmt.Errorf("look for programs of another version: %w", err)
	}
	for _, pin := range links {
		if l, err := link.LoadPinnedLink(pin, nil); err == nil {
			if err := errors.Join(l.Unpin(), l.Close()); err != nil {
				return 0, fmt.Errorf("remove a program of another version: %w", err)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return 0, fmt.Errorf("remove the maps of another version: %w", err)
	}
	return 0, nil
}

// eldersEnd is how long sessions of a former version may go on after an upgrade.
const eldersEnd = 24 * time.Hour

// tooOld tells whether a program of another layout has had its time, and says what is cut with it.
func (k *Path) tooOld(dir string, left uint64) bool {
	if k.elderSince == nil {
		k.elderSince = make(map[string]time.Time)
	}
	since, known := k.elderSince[dir]
	if !known {
		since = time.Now()
		k.elderSince[dir] = since
	}
	if time.Since(since) < eldersEnd {
		return false
	}
	k.options.Log.Warn("sessions of a former version are cut", "sessions", left, "after", eldersEnd)
	return true
}

// switchOffIn lets the programs of a layout begin nothing new.
func switchOffIn(dir string) error {
	pins, err := filepath.Glob(filepath.Join(dir, "config*"))
	if err != nil {
		return fmt.Errorf("look for programs of another version: %w", err)
	}
	for _, pin := range pins {
		config, failed := ebpf.LoadPinnedMap(pin, nil)
		if failed == nil {
			failed = errors.Join(switchOff(config), config.Close())
		}
		err = errors.Join(err, failed)
	}
	return err
}

// switchOff lets a program of another layout begin nothing new.
func switchOff(config *ebpf.Map) error {
	value, err := config.LookupBytes(uint32(0))
	if err != nil {
		return fmt.Errorf("read the configuration of another version: %w", err)
	}
	if len(value) < offsetOff+4 || value[offsetOff] != 0 {
		return nil
	}
	value[offsetOff] = 1
	if err := config.Put(uint32(0), value); err != nil {
		return fmt.Errorf("tell another version to begin nothing new: %w", err)
	}
	return nil
}

// switchAllOff lets no program of dir begin anything new.
func switchAllOff(dir string) error {
	dirs, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return fmt.Errorf("look for programs of the last process: %w", err)
	}
	for _, d := range dirs {
		err = errors.Join(err, switchOffIn(d))
	}
	return err
}
