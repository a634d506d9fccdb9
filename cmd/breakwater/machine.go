package main

import (
	"errors"
	"strings"
)

// machineCmd are the commands that change the machine. Units in systemd/ run them, each with the rights of root that it
// needs and no others; control and the console may start those units (appliance/host).
type machineCmd struct {
	Install installToDiskCmd `cmd:"" help:"Install this system to the disk of a request."`
}

// tell gives systemd what became of such a command as the status of its unit (sd_notify(3)), which is how who started it
// learns of it. It returns err, or why systemd could not be told.
func tell(done string, err error) error {
	if err != nil {
		done = err.Error()
	}
	return errors.Join(err, notify("STATUS="+strings.ReplaceAll(done, "\n", "; ")))
}
