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
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Units that control may start. Each ends by itself, or with the system.
const (
	Update       = "breakwater-update.service" // writes a new version into the other slot
	Restart      = "reboot.target"
	PowerOff     = "poweroff.target"
	OtherSlot    = "breakwater-other-slot.service"
	FactoryReset = "breakwater-factory-reset.service"
	Diagnostics  = "breakwater-diagnostics.service"
	Install      = "breakwater-install.service" // does what is in InstallRequestFile
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
func (h *Host) Start(ctx context.Context, unit string) error {
	_, err := h.Run(ctx, unit)
	return err
}

// Run is Start, and returns the last status of a unit that succeeded too; empty: it told none.
func (*Host) Run(ctx context.Context, unit string) (told string, err error) {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("reach the system bus: %w", err)
	}
	defer bus.Close()
	signals, err := listen(ctx, bus, unit)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", unit, err)
	}
	end := strings.HasSuffix(unit, ".target")
	mode := "replace"
	if end {
		mode = "replace-irreversibly" // nothing that is going on may stop it, as with systemctl(1)
	}
	var job dbus.ObjectPath
	if err := bus.Object(systemdName, managerPath).CallWithContext(ctx, manager+".StartUnit", 0, unit, mode).Store(&job); err != nil || end {
		return "", asked(unit, err)
	}
	result, told, err := wait(ctx, signals, job)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", unit, err)
	}
	if result != "done" {
		return "", &Failed{unit, why(ctx, bus, unit, result)}
	}
	return told, nil
}

// listen asks for what wait reads. It comes before StartUnit, whose answer can be later than the end of the unit; and
// systemd forgets a unit that succeeded at once, its status with it.
func listen(ctx context.Context, bus *dbus.Conn, unit string) (<-chan *dbus.Signal, error) {
	systemd := bus.Object(systemdName, managerPath)
	var path dbus.ObjectPath
	if err := systemd.CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path); err != nil {
		return nil, err
	}
	from := dbus.WithMatchSender(systemdName)
	if err := bus.AddMatchSignalContext(ctx, from, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved")); err != nil {
		return nil, err
	}
	if err := bus.AddMatchSignalContext(ctx, from, dbus.WithMatchObjectPath(path), dbus.WithMatchMember("PropertiesChanged")); err != nil {
		return nil, err
	}
	signals := make(chan *dbus.Signal, 64)
	bus.Signal(signals)
	return signals, systemd.CallWithContext(ctx, manager+".Subscribe", 0).Err // without that JobRemoved is not told
}

func asked(unit string, err error) error {
	if err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return nil
}

// wait returns the result of a job (org.freedesktop.systemd1(5)): done, failed, timeout, dependency and others; and the
// last status that its unit told until then.
func wait(ctx context.Context, signals <-chan *dbus.Signal, job dbus.ObjectPath) (result, told string, err error) {
	for {
		select {
		case <-ctx.Done():
			return "", "", ctx.Err()
		case s, open := <-signals:
			if !open {
				return "", "", errors.New("the system bus went away")
			}
			told = cmp.Or(statusText(s), told)
			var id uint32
			var path dbus.ObjectPath
			var unit string
			if err := dbus.Store(s.Body, &id, &path, &unit, &result); err == nil && path == job {
				return result, told, nil
			}
		}
	}
}

// statusText is the status in a PropertiesChanged of a service, if it is one and has one.
func statusText(s *dbus.Signal) string {
	var kind string
	var changed map[string]dbus.Variant
	var invalid []string
	if err := dbus.Store(s.Body, &kind, &changed, &invalid); err != nil {
		return ""
	}
	text, _ := changed["StatusText"].Value().(string)
	return text
}

// Running tells whether a unit runs, starts or stops.
func (*Host) Running(ctx context.Context, unit string) (bool, error) {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return false, fmt.Errorf("reach the system bus: %w", err)
	}
	defer bus.Close()
	var path dbus.ObjectPath
	var state dbus.Variant
	err = bus.Object(systemdName, managerPath).CallWithContext(ctx, manager+".LoadUnit", 0, unit).Store(&path)
	if err == nil {
		err = bus.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+".Unit", "ActiveState").Store(&state)
	}
	if err != nil {
		return false, fmt.Errorf("ask for the state of %s: %w", unit, err)
	}
	return state.Value() != "inactive" && state.Value() != "failed", nil
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
