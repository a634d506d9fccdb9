package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// A program of another layout, of an older or newer version, keeps its sessions until they end by themselves: it is told to
// begin no more, and is removed when none is left. It needs no process for that. These offsets are the same in every layout.
const (
	offsetOff      = 8 // of configuration.off
	offsetSessions = 8 // of total.sessions, then total.flows
)

// retire looks at the programs of other layouts and removes those that have nothing to do. It tells how many sessions and
// flows are left with the others.
func (k *Path) retire() (left uint64, err error) {
	dirs, err := filepath.Glob(filepath.Join(k.options.Dir, "*"))
	if err != nil {
		return 0, fmt.Errorf("look for programs of other versions: %w", err)
	}
	for _, dir := range dirs {
		if dir == k.objects.dir || filepath.Base(dir) == shieldDir {
			continue
		}
		n, old := retireOne(dir)
		left, err = left+n, errors.Join(err, old)
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
		value, err := totals.LookupBytes(uint32(0))
		if err != nil || len(value) < offsetSessions+16 {
			return 0, fmt.Errorf("read the sessions of another version in %s: %w", dir, err)
		}
		for i := range 16 {
			left += uint64(value[offsetSessions+i]) << (i % 8 * 8)
		}
		if left > 0 {
			return left, nil
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
