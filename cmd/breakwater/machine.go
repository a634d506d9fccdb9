package main

import (
	"errors"
	"strings"
)

// machineCmd are the commands that change the machine. Units in systemd/ run them, each with the rights of root that it
// needs and no others; control and the console may start most of those units (appliance/host). They treat every file of
// control's as one of a stranger.
type machineCmd struct {
	Network       networkCmd       `cmd:"" help:"Bring the network of the machine to what the settings say."`
	Seed          seedCmd          `cmd:"" help:"Look for a seed file, give it to control and wipe it."`
	InstallUpdate installUpdateCmd `cmd:"" help:"Write the update that control received into the other slot."`
	ClearUpdate   clearUpdateCmd   `cmd:"" help:"Remove the files of an update."`
	OtherSlot     otherSlotCmd     `cmd:"" help:"Let the version in the other slot start next."`
	FactoryReset  factoryResetCmd  `cmd:"" help:"Let the next start forget everything that this box knows."`
	Diagnostics   diagnosticsCmd   `cmd:"" help:"Write what helps to find a fault to a USB stick."`
	Install       installToDiskCmd `cmd:"" help:"Install this system to the disk of a request."`
}

// tell gives systemd what became of such a command as the status of its unit (sd_notify(3)), which is how who started it
// learns of it. It returns err, or why systemd could not be told.
func tell(done string, err error) error {
	if err != nil {
		done = err.Error()
	}
	return errors.Join(err, notify("STATUS="+strings.Join(strings.Fields(done), " "))) // a status is one line
}
