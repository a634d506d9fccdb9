package control

// Pending is the change that waits for its confirmation; nil: none does. Edge is not asked.
func (c *Control) Pending() *Pending {
	_, pending := c.wish()
	return pending
}
