// Package host is the operating system under the box: what runs, the units that change it, the network ports, the name.
//
//	h := host.Host{}
//	err := h.Start(ctx, host.Update) // control has no right of root, and the unit has just those that it needs
//
// Control and console ask over D-Bus, and image/extra/usr/share/polkit-1/rules.d/breakwater.rules lists what their user
// may ask for: to start the units below, and to set the name. What such a unit runs is a command of this program, in
// cmd/breakwater; it reads what control wrote as it would read what a stranger sent.
package host

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Units that control may start. Each ends by itself, or with the system.
const (
	Restart  = "reboot.target"
	PowerOff = "poweroff.target"
	Install  = "breakwater-install.service" // does what is in InstallRequestFile
)

// Failed is a unit that was started and did not succeed.
type Failed struct{ Unit, Why string }

func (e *Failed) Error() string { return e.Why }

// Host is the running system. The zero value is ready; it is safe for concurrent use.
type Host struct{}

const (
	systemdName = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager     = systemdName + ".Manager"
)

// Start starts a unit and waits until it has ended (Type=oneshot) or runs, unless the system ends with it. A *Failed
// tells why it did not succeed, in the words that the unit gave systemd as its status (sd_notify(3)).
func (*Host) Start(ctx context.Context, unit string) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reach the system bus: %w", err)
	}
	defer bus.Close()
	// JobRemoved is told to subscribers only, and could come before the answer to StartUnit.
	if err := bus.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved")); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	ended := make(chan *dbus.Signal, 64)
	bus.Signal(ended)
	systemd := bus.Object(systemdName, managerPath)
	if err := systemd.CallWithContext(ctx, manager+".Subscribe", 0).Err; err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	end := strings.HasSuffix(unit, ".target")
	mode := "replace"
	if end {
		mode = "replace-irreversibly" // nothing that is going on may stop it, as with systemctl(1)
	}
	var job dbus.ObjectPath
	if err := systemd.CallWithContext(ctx, manager+".StartUnit", 0, unit, mode).Store(&job); err != nil || end {
		return asked(unit, err)
	}
	result, err := wait(ctx, ended, job)
	if err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	if result != "done" {
		return &Failed{unit, why(ctx, bus, unit, result)}
	}
	return nil
}

func asked(unit string, err error) error {
	if err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return nil
}

// wait returns the result of a job (org.freedesktop.systemd1(5)): done, failed, timeout, dependency and others.
func wait(ctx context.Context, ended <-chan *dbus.Signal, job dbus.ObjectPath) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case s, open := <-ended:
			if !open {
				return "", errors.New("the system bus went away")
			}
			var id uint32
			var path dbus.ObjectPath
			var unit, result string
			if err := dbus.Store(s.Body, &id, &path, &unit, &result); err == nil && path == job {
				return result, nil
			}
		}
	}
}

// why is the last status of a unit that failed, which systemd keeps.
func why(ctx context.Context, bus *dbus.Conn, unit, result string) string {
	var path dbus.ObjectPath
	var text dbus.Variant
	err := bus.Object(systemdName, managerPath).CallWithContext(ctx, manager+".GetUnit", 0, unit).Store(&path)
	if err == nil {
		err = bus.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+".Service", "StatusText").Store(&text)
	}
	if told, _ := text.Value().(string); err == nil && told != "" {
		return told
	}
	return fmt.Sprintf("%s ended as %q; the log of the box tells more", unit, result)
}

// SetName gives the machine a name until it starts again (hostname(5): transient).
func (*Host) SetName(ctx context.Context, name string) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reach the system bus: %w", err)
	}
	defer bus.Close()
	const hostname = "org.freedesktop.hostname1"
	if err := bus.Object(hostname, "/org/freedesktop/hostname1").CallWithContext(ctx, hostname+".SetHostname", 0, name, false).Err; err != nil {
		return fmt.Errorf("name the machine %q: %w", name, err)
	}
	return nil
}
