package control

import (
	"fmt"
	"time"

	"breakwater/appliance/health"
)

// takenBackFor is how long it is told that a change is gone which nobody kept. Whoever was cut off by it comes back to
// the settings from before, and should find out why.
const takenBackFor = time.Hour

const takenBack = "taken-back"

// tellTakenBack raises the condition until the next change, or for takenBackFor.
func (c *Control) tellTakenBack(author string, base uint64) {
	c.conditions.Raise(health.Condition{Code: takenBack, Severity: health.Info, Title: "A change was taken back",
		Detail: fmt.Sprintf("%s applied it and nobody kept it in time. Revision %d is in force again. If you were cut off, look at the addresses and management networks of the change before you try again.", author, base)})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takenBackUntil = c.now().Add(takenBackFor)
}

func (c *Control) forgetTakenBack() {
	c.mu.Lock()
	over := !c.now().Before(c.takenBackUntil)
	c.mu.Unlock()
	if over {
		c.conditions.Clear(takenBack, "")
	}
}
