package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"breakwater/appliance/settings"
	"breakwater/appliance/whole"
)

// NetworkUnit brings the machine's network to what NetworkFile says. It runs when the machine starts, before
// systemd-networkd, and whenever control has written another file.
const NetworkUnit = "breakwater-network.service"

// NetworkFile is the part of the settings that is the machine's network, a document by itself. Control writes it, in a
// directory of its own; root reads it.
const NetworkFile = "/var/lib/breakwater-network/network.json"

// networkPart is what of the settings makes the network.
func networkPart(s settings.Settings) settings.Settings {
	return settings.Settings{Schema: settings.Schema, Edge: settings.Edge{Interfaces: s.Edge.Interfaces}, Management: s.Management, Host: s.Host, DNS: s.DNS}
}

// SameNetwork tells whether two settings make the same network.
func SameNetwork(a, b settings.Settings) bool {
	return bytes.Equal(settings.Encode(networkPart(a)), settings.Encode(networkPart(b)))
}

// ApplyNetwork brings the machine to the network and the name of the settings, and returns when it is there. The errors
// are a *Failed, in words for the operator, and those of the file and of D-Bus.
func (h *Host) ApplyNetwork(ctx context.Context, s settings.Settings) error {
	if err := errors.Join(whole.RemoveUnfinished(filepath.Dir(NetworkFile)), whole.Write(NetworkFile, settings.Encode(networkPart(s)), 0o644)); err != nil {
		return fmt.Errorf("write the network's part of the settings: %w", err)
	}
	if err := h.Start(ctx, NetworkUnit); err != nil {
		return err
	}
	return h.SetName(ctx, s.WithDefaults().Host.Name)
}

// ReadNetwork reads what ApplyNetwork wrote, as if a stranger had: a regular file of at most settings.MaxSize bytes
// that holds a whole document without problems. fs.ErrNotExist: there is none.
func ReadNetwork(path string) (settings.Settings, error) {
	// NONBLOCK: opening a pipe would wait for somebody who writes into it.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return settings.Settings{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return settings.Settings{}, fmt.Errorf("%s is not a plain file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, settings.MaxSize+1))
	if err != nil {
		return settings.Settings{}, err
	}
	s, problems := settings.Read(content)
	if len(problems) > 0 {
		return settings.Settings{}, fmt.Errorf("%s cannot be used: %s", path, problems[0])
	}
	return networkPart(s), nil
}

// Network makes the machine's network as root. The functions are those of the machine but in tests.
type Network struct {
	Root string // below which files are written: "/"
	// Firewall gives input to nft(8).
	Firewall func(ctx context.Context, input string) error
	// DeleteLink takes away a VLAN or bond; one that is not there is no error.
	DeleteLink func(name string) error
	// Ports are those of the machine.
	Ports func() []Port
	Units Units
}

// Units are what is told that its files have changed. Nothing is told before it runs.
type Units struct {
	// Network lets systemd-networkd read its files again, and waits until the interfaces are as they say.
	Network func(ctx context.Context, interfaces []Expected) error
	// Names lets systemd-resolved read its files again.
	Names func(ctx context.Context) error
	// Time lets chrony do so.
	Time func(ctx context.Context) error
}

// Expected is an interface that is waited for.
type Expected struct {
	Name string // of the kernel
	Made bool   // it is a VLAN or bond, and what it is made of is there
	Done bool   // it has everything that it is to have; not of one that waits for somebody's answer, for as long as it takes
}

// expected are the interfaces of settings on a machine with these ports. One that the machine does not have is not
// waited for: settings must come into force also without a card that is broken.
func expected(s settings.Settings, ports []Port) []Expected {
	var list []Expected
	there := map[string]bool{}
	for _, p := range ports {
		there[p.Name] = true
	}
	all := interfaces(s.WithDefaults())
	for range all { // a VLAN on a VLAN comes after it
		for _, i := range all {
			if i.Bond != "" || i.VLAN != 0 && there[portName(s, ports, i.Parent)] {
				there[i.Name] = true
			}
		}
	}
	for _, i := range all {
		if name := portName(s, ports, i.Name); there[name] {
			list = append(list, Expected{name, i.virtual(), i.DHCP == "none"})
		}
	}
	return list
}

// Apply makes the network of s. What is so already is left alone, and what one part cannot have keeps no other from
// being made.
func (n *Network) Apply(ctx context.Context, s settings.Settings) error {
	ports := n.Ports()
	wanted := Files(s)
	have, err := n.files()
	if err != nil {
		return fmt.Errorf("read what was made before: %w", err)
	}
	var errs []error
	// First, as whoever is not let in any more must not be for a moment longer.
	if err := n.Firewall(ctx, Firewall(s, ports)); err != nil {
		errs = append(errs, fmt.Errorf("write the firewall: %w", err))
	}
	again := n.remade(s, have, wanted)
	for _, name := range again {
		if err := n.DeleteLink(name); err != nil {
			errs = append(errs, fmt.Errorf("take away the interface %s: %w", name, err))
		}
	}
	changed, err := n.write(have, wanted)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, n.tell(ctx, s, ports, changed))...)
}

// files are those of ours that are there, by the paths of Files.
func (n *Network) files() (map[string]string, error) {
	have := map[string]string{}
	for _, pattern := range []string{networkDir + "/" + made + "*", resolvedFile, timeDir + "/breakwater.sources"} {
		found, err := filepath.Glob(filepath.Join(n.Root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			content, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(n.Root, path)
			if err != nil {
				return nil, err
			}
			have[name] = string(content)
		}
	}
	return have, nil
}

// remade are the interfaces that have to go: systemd-networkd makes a VLAN or bond from its file, and does not change or
// remove one that it made. The files of the last time tell which they are. With one go the VLANs on it; what is not
// wanted goes first.
func (n *Network) remade(s settings.Settings, have, wanted map[string]string) []string {
	gone := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(have)) {
		if name, is := netdevName(file); is && have[file] != wanted[file] {
			gone[name] = true
		}
	}
	for range s.Host.Interfaces {
		for _, i := range s.Host.Interfaces {
			if i.VLAN != 0 && gone[i.Parent] {
				gone[i.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(gone))
}

// write makes the files of have those of wanted, and returns the directories in which something changed.
func (n *Network) write(have, wanted map[string]string) (changed map[string]bool, err error) {
	changed = map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(have)) {
		if _, keep := wanted[file]; !keep {
			changed[filepath.Dir(file)] = true
			if err := os.Remove(filepath.Join(n.Root, file)); err != nil {
				return nil, err
			}
		}
	}
	for _, file := range slices.Sorted(maps.Keys(wanted)) {
		if have[file] == wanted[file] {
			continue // systemd-networkd would configure the interface anew for a file of another time
		}
		changed[filepath.Dir(file)] = true
		path := filepath.Join(n.Root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := errors.Join(whole.RemoveUnfinished(filepath.Dir(path)), whole.Write(path, []byte(wanted[file]), 0o644)); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// tell lets the programs read their files again.
func (n *Network) tell(ctx context.Context, s settings.Settings, ports []Port, changed map[string]bool) error {
	var errs []error
	if changed[resolvedDir] {
		errs = append(errs, n.Units.Names(ctx))
	}
	if changed[timeDir] {
		errs = append(errs, n.Units.Time(ctx))
	}
	return errors.Join(append(errs, n.Units.Network(ctx, expected(s, ports)))...)
}
