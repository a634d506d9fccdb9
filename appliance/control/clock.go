package control

import (
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/host"
)

// clockPatience is how long the clock may be without others to go by: a start, or a time server that is down for a while.
const clockPatience = 10 * time.Minute

const clockAlone = "clock-not-synchronised"

// Clock is what the kernel knows of the machine's clock; false: it does not tell.
func (c *Control) Clock() (host.Clock, bool) {
	clock, err := c.readClock()
	return clock, err == nil
}

// checkClock raises a condition on the appliance while nothing keeps the clock right. Elsewhere that is the business of
// whoever manages the machine.
func (c *Control) checkClock() {
	clock, known := c.Clock()
	if c.host == nil || !known || clock.Synchronised {
		c.clockAlone = time.Time{}
		c.conditions.Clear(clockAlone, "")
		return
	}
	if c.clockAlone.IsZero() {
		c.clockAlone = c.now()
	}
	if c.now().Sub(c.clockAlone) >= clockPatience {
		c.conditions.Raise(health.Condition{Code: clockAlone, Severity: health.Warning, Title: "The clock is not synchronised",
			Detail: "No time server has answered for a while, so the clock drifts: codes of second factors fail first, then certificates. " +
				"Check the time servers under System, Network, and that the box reaches them on UDP port 123."})
	}
}
