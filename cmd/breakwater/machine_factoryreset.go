package main

import (
	"breakwater/appliance/host"
)

// factoryResetCmd is systemd/breakwater-factory-reset.service, which restarts the machine when this succeeds.
type factoryResetCmd struct{}

func (c *factoryResetCmd) Run() error {
	return tell("The next start begins with nothing.", host.AskFactoryReset(host.EFIVariables))
}
