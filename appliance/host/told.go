package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// networkdState is there once systemd-networkd has run since the machine started. Before that it needs nobody to tell it
// anything, and there is no bus.
const networkdState = "/run/systemd/netif/state"

// How long the interfaces may take. IPv6 waits a second or two for somebody else to claim an address (RFC 4862 section
// 5.4); a bond waits for its members.
const (
	settleWait  = 25 * time.Second
	settleEvery = 200 * time.Millisecond
)

// ThisNetwork is the network of this machine.
func ThisNetwork() *Network {
	return &Network{
		Root: "/", Firewall: writeFirewall, DeleteLink: deleteLink,
		Ports: func() []Port { return ReadPorts("/sys/class/net") },
		Units: Units{Network: reloadNetworkd, Names: later("ReloadUnit", "systemd-resolved.service"), Time: later("TryRestartUnit", "chrony.service")},
	}
}

// later calls a method of systemd for a unit, unless the machine is only starting.
func later(method, unit string) func(context.Context) error {
	return func(ctx context.Context) error {
		if !started() {
			return nil
		}
		return onBus(ctx, func(bus *dbus.Conn) error {
			call := bus.Object(systemdName, managerPath).CallWithContext(ctx, manager+"."+method, 0, unit, "replace")
			if call.Err != nil {
				return fmt.Errorf("tell %s: %w", unit, call.Err)
			}
			return nil
		})
	}
}

func started() bool {
	_, err := os.Stat(networkdState)
	return err == nil
}

func onBus(ctx context.Context, do func(*dbus.Conn) error) error {
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("reach the system bus: %w", err)
	}
	defer bus.Close()
	return do(bus)
}

const (
	networkdName = "org.freedesktop.network1"
	networkdPath = dbus.ObjectPath("/org/freedesktop/network1")
)

// reloadNetworkd lets systemd-networkd read its files (org.freedesktop.network1(5)) and waits for the interfaces.
func reloadNetworkd(ctx context.Context, interfaces []Expected) error {
	if !started() {
		return nil
	}
	return onBus(ctx, func(bus *dbus.Conn) error {
		if err := bus.Object(networkdName, networkdPath).CallWithContext(ctx, networkdName+".Manager.Reload", 0).Err; err != nil {
			return fmt.Errorf("let systemd-networkd read its files: %w", err)
		}
		return settle(ctx, bus, interfaces)
	})
}

// settle waits until the interfaces are configured.
func settle(ctx context.Context, bus *dbus.Conn, interfaces []Expected) error {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for {
		waiting, err := unsettled(ctx, bus, interfaces)
		if err == nil && len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("not ready within %s: %s", settleWait, strings.Join(waiting, ", ")))
		case <-time.After(settleEvery):
		}
	}
}

// unsettled are the interfaces that are not what their files say yet, with how systemd-networkd finds them.
func unsettled(ctx context.Context, bus *dbus.Conn, interfaces []Expected) ([]string, error) {
	var waiting []string
	for _, i := range interfaces {
		s, err := stateOf(ctx, bus, i.Name)
		if err != nil {
			return nil, fmt.Errorf("ask systemd-networkd for %s: %w", i.Name, err)
		}
		if why := s.lacks(i); why != "" {
			waiting = append(waiting, i.Name+" ("+why+")")
		}
	}
	return waiting, nil
}

// linkState is how far systemd-networkd is with an interface, in its words (networkctl(1)); empty: there is none.
type linkState struct{ setup, carrier string }

// lacks says what is not as expected yet, or nothing. Without a cable nobody can answer that an IPv6 address is free, and
// the interface stays "configuring".
func (s linkState) lacks(i Expected) string {
	switch {
	case s.setup == "" && i.Made:
		return "not made"
	case s.setup == "configuring" && (s.carrier == "no-carrier" || s.carrier == "off"):
		return ""
	case i.Done && !slices.Contains([]string{"", "configured", "unmanaged"}, s.setup):
		return s.setup
	}
	return ""
}

func stateOf(ctx context.Context, bus *dbus.Conn, name string) (s linkState, err error) {
	var index int32
	var path dbus.ObjectPath
	err = bus.Object(networkdName, networkdPath).CallWithContext(ctx, networkdName+".Manager.GetLinkByName", 0, name).Store(&index, &path)
	if fault, is := errors.AsType[dbus.Error](err); is && strings.HasSuffix(fault.Name, ".NoSuchLink") {
		return linkState{}, nil
	}
	for property, into := range map[string]*string{"AdministrativeState": &s.setup, "CarrierState": &s.carrier} {
		if err == nil {
			err = bus.Object(networkdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, networkdName+".Link", property).Store(into)
		}
	}
	return s, err
}
