package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/appliance/host"
)

// networkCmd is what systemd/breakwater-network.service runs.
type networkCmd struct {
	File string `help:"The network's part of the settings. Default: the file that control writes." type:"path" placeholder:"FILE"`
}

// Run leaves everything as it is where there is no file, as in a box without settings, or one that cannot be used.
func (c *networkCmd) Run(ctx context.Context, e *env) error {
	s, err := host.ReadNetwork(cmp.Or(c.File, host.NetworkFile))
	if errors.Is(err, fs.ErrNotExist) {
		_, err := fmt.Fprintln(e.stdout, "There are no settings: every port asks for an address by DHCP.")
		return err
	}
	if err != nil {
		return tell("", fmt.Errorf("the network stays as it is: %w", err))
	}
	return tell("", host.ThisNetwork().Apply(ctx, s))
}
