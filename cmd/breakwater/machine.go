package main

import (
	"errors"
	"fmt"
	"strings"
)

// machineCmd are the commands of the units that change the machine. They run with rights that control does not have,
// and treat every file of control's as one of a stranger.
type machineCmd struct {
	Network networkCmd `cmd:"" help:"Bring the network of the machine to what the settings say."`
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
