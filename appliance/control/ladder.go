package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"breakwater/appliance/crash"
	"breakwater/appliance/health"
)

// A document with which control crashes again and again is not used any more: edge keeps the plan that it has, and the
// page is up for who changes the settings. The page still shows the document, and its management networks hold.

const condemned = "settings-condemned"

// use says which document control works with, before it can do harm. The next use, or useNothing, ends it.
func (c *Control) use(revision uint64, document []byte) {
	c.crashes.Begin(crash.Work{Print: printOf(document), Revision: revision})
}

func (c *Control) useNothing() { c.crashes.Begin(crash.Work{}) }

func printOf(document []byte) string {
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:])
}

// isCondemned tells whether control crashed over a stored document, and raises the condition until other settings are
// committed.
func (c *Control) isCondemned(document []byte) bool {
	v, bad := c.crashes.Condemned(printOf(document))
	if !bad {
		return false
	}
	sentence := v.Sentence("control")
	c.log.Error("a document is not used: " + sentence)
	c.conditions.Raise(health.Condition{Code: condemned, Severity: health.Critical, Title: "Control crashes with these settings and does not use them",
		Detail: "R" + sentence[1:] + ". The data plane keeps its last plan. Change the settings, or roll back to others; as they are, they are not used " +
			"again before another version of Breakwater runs. Kills from outside count as crashes."})
	return true
}

// refuseCondemned is why a document is not applied.
func (c *Control) refuseCondemned(document []byte) error {
	v, bad := c.crashes.Condemned(printOf(document))
	if !bad {
		return nil
	}
	return &NotApplied{errors.New(v.Sentence("control") + " and is not used again by this version")}
}
