package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// A program of another layout, of an older or newer version, keeps its sessions until they end by themselves: it is told to
// begin no more, and is removed when none is left. It needs no process for that. These offsets are the same in every layout.
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

// elders tells how many sessions and flows the programs of other layouts carry.
func (k *Path) elders() (n uint64, err error) {
	dirs, err := k.others()
	for _, dir := range dirs {
		totals, failed := ebpf.LoadPinnedMap(filepath.Join(dir, "totals"), nil)
		if failed != nil {
			continue // it is no program, or is being removed
		}
		left, failed := sessionsIn(totals)
		n, err = n+left, errors.Join(err, failed, totals.Close())
	}
	return n, err
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
		n, failed := retireOne(dir)
		left, err = left+n, errors.Join(err, failed)
	}
	return left, err
}

func retireOne(dir string) (left uint64, err error) {
	config, errConfig := ebpf.LoadPinnedMap(filepath.Join(dir, "config"), nil)
	totals, errTotals := ebpf.LoadPinnedMap(filepath.Join(dir, "totals"), nil)
	if err := errors.Join(errConfig, errTotals); err == nil {
		defer func() { err = errors.Join(err, config.Close(), totals.Close()) }()
		if err := switchOff(config); err != nil {
			return 0, err
		}
		left, err := sessionsIn(totals)
		if err != nil || left > 0 {
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
	pins, err := filepath.Glob(filepath.Join(dir, "*", "config"))
	if err != nil {
		return fmt.Errorf("look for programs of the last process: %w", err)
	}
	for _, pin := range pins {
		config, old := ebpf.LoadPinnedMap(pin, nil)
		if old == nil {
			old = errors.Join(switchOff(config), config.Close())
		}
		err = errors.Join(err, old)
	}
	return err
}
