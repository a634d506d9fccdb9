package control

import (
	"fmt"

	"breakwater/appliance/health"
)

// diskLow is when to warn of a disk that fills up, in bytes: what an update leaves free for settings and logs. diskFull
// is when the next change may not fit: documents have up to 1 MiB, and bbolt writes copies of what it changes.
const (
	diskLow  = updateRoom
	diskFull = 4 << 20
)

const diskCode = "disk-full"

// checkDisk raises a condition while there is hardly any room for settings.
func (c *Control) checkDisk() {
	free, err := c.diskFree()
	if err != nil || free >= diskLow {
		c.conditions.Clear(diskCode, "") // what cannot be asked is told by what cannot be written
		return
	}
	condition := health.Condition{Code: diskCode, Severity: health.Warning, Title: "The disk is nearly full",
		Detail: fmt.Sprintf("%d MiB are free for settings, accounts and the audit log, and updates are refused. ", free>>20) + diskAdvice}
	if free < diskFull {
		condition.Severity, condition.Title = health.Critical, "The disk is full"
		condition.Detail = "The settings in force stay. Changes of them, new logins and updates may be refused until there is room. " + diskAdvice
	}
	c.conditions.Raise(condition)
}

const diskAdvice = "Discard an update that was received but not installed, and remove what others wrote to this disk. " +
	"Where the box itself filled it, please report that, with the diagnostics."
