package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"breakwater/appliance/host"
	"breakwater/appliance/seed"
)

// factoryResetCmd is systemd/breakwater-factory-reset.service, which restarts the machine when this succeeds.
type factoryResetCmd struct {
	ESP       string `hidden:"" name:"esp" default:"/efi" help:"Where the ESP of the box is mounted."`
	Variables string `hidden:"" default:"/sys/firmware/efi/efivars" help:"The variables of the firmware."`
}

func (c *factoryResetCmd) Run() error {
	err := forgetSeed(c.ESP)
	if err == nil {
		err = host.AskFactoryReset(c.Variables)
	}
	return tell("The next start begins with nothing.", err)
}

// forgetSeed wipes a seed that lies in the ESP and was never looked at, as the box had an owner: once it has none, the
// accounts in it would own the box.
func forgetSeed(esp string) error {
	root, err := os.OpenRoot(esp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a seed file: %w", err)
	}
	defer root.Close()
	info, err := root.Lstat(seed.FileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a seed file: %w", err)
	case !info.Mode().IsRegular():
		return root.RemoveAll(seed.FileName)
	}
	return wipe(root, info.Size())
}
