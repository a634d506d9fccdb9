package control

import (
	"context"
	"errors"

	"breakwater/appliance/host"
)

// ErrNoAppliance is asked of the machine where Breakwater runs as a program among others.
var ErrNoAppliance = errors.New("this is not the appliance: the machine is managed by somebody else")

// System is what runs on the appliance; false: this is none.
func (c *Control) System() (host.System, bool) {
	if c.host == nil {
		return host.System{}, false
	}
	return host.ReadSystem("/"), true
}

// startUnit starts one of host's units and waits for it. The errors are ErrNoAppliance, *host.Failed and those of D-Bus.
func (c *Control) startUnit(ctx context.Context, unit string) error {
	if c.host == nil {
		return ErrNoAppliance
	}
	c.log.Info("a unit of the system is started", "unit", unit)
	return c.host.Start(ctx, unit)
}

// Restart starts the machine again, with the version that was installed last. It returns as soon as systemd has begun
// with that.
func (c *Control) Restart(ctx context.Context) error {
	if c.updates.on() {
		if runs := c.updates.System(); runs.Other > runs.Version {
			c.updates.noteOrigins(ctx, runs.Other)
		}
	}
	return c.startUnit(ctx, host.Restart)
}

// PowerOff turns the machine off.
func (c *Control) PowerOff(ctx context.Context) error { return c.startUnit(ctx, host.PowerOff) }
