package main

import (
	"errors"
	"fmt"
	"strings"
)

// machineCmd are the commands of the units that change the machine. They run with rights that control does not have,
// and treat every file of control's as one of a stranger.
type machineCmd struct {
	Seed          seedCmd          `cmd:"" help:"Look for a seed file, give it to control and wipe it."`
	InstallUpdate installUpdateCmd `cmd:"" help:"Write the update that control received into the other slot."`
	ClearUpdate   clearUpdateCmd   `cmd:"" help:"Remove the files of an update."`
}

// tellSystemd gives systemd the error as the status of this unit, which host.Start returns as the reason.
func tellSystemd(err error) error {
	if err == nil {
		return nil
	}
	line := strings.Join(strings.Fields(err.Error()), " ") // a status is one line
	if notifyErr := notify("STATUS=" + line); notifyErr != nil {
		return errors.Join(err, fmt.Errorf("tell why: %w", notifyErr))
	}
	return err
}
