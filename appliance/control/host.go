package control

import (
	"context"
	"errors"

	"breakwater/appliance/host"
)

// ErrNoAppliance is asked of the machine where Breakwater runs as a program among others.
var ErrNoAppliance = errors.New("this is not the appliance: the machine is managed by somebody else")

// HostFailed is something that the machine did not do, in its words.
type HostFailed = host.Failed

// System is what runs on the appliance; false: this is none.
func (c *Control) System() (host.System, bool) {
	if c.host == nil {
		return host.System{}, false
	}
	if c.updates.on() {
		return c.updates.System(), true
	}
	return host.ReadSystem("/"), true
}

// startUnit starts one of host's units and waits for it. The errors are ErrNoAppliance and *HostFailed.
func (c *Control) startUnit(ctx context.Context, unit string) error {
	if c.host == nil {
		return ErrNoAppliance
	}
	c.log.Info("a unit of the system is started", "unit", unit)
	err := c.host.Start(ctx, unit)
	if _, failed := errors.AsType[*HostFailed](err); err != nil && !failed {
		return &HostFailed{Unit: unit, Why: "the machine cannot be asked: " + err.Error()}
	}
	return err
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

// StartOther starts the machine again, with the version in the other slot.
func (c *Control) StartOther(ctx context.Context) error {
	if c.updates.on() {
		c.updates.noteLeft()
	}
	return c.startUnit(ctx, host.OtherSlot)
}

// FactoryReset starts the machine again, without anything that it knows.
func (c *Control) FactoryReset(ctx context.Context) error {
	return c.startUnit(ctx, host.FactoryReset)
}
