package main

import (
	"context"
	"errors"
	"fmt"

	"breakwater/appliance/host"
)

// otherSlotCmd is systemd/breakwater-other-slot.service, which restarts the machine when this succeeds.
type otherSlotCmd struct{}

func (c *otherSlotCmd) Run(ctx context.Context, e *env) error {
	version, err := c.choose(ctx)
	if err == nil {
		fmt.Fprintf(e.stdout, "version %s is started next\n", version)
	}
	return tell("Version "+version+" starts next.", err)
}

func (c *otherSlotCmd) choose(ctx context.Context) (string, error) {
	writing, err := (&host.Host{}).Running(ctx, host.Update)
	if err != nil {
		return "", err
	}
	if writing {
		return "", errors.New("an update is being written into the other slot; wait until it has ended")
	}
	return host.ChooseOther(host.ESPEntries, host.PartitionLabels, host.ReadSystem("/").Version)
}
