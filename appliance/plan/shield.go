package plan

// Shield is the front filter: a program that looks at every packet for an edge address before the kernel spends anything.
type Shield struct {
	Mode ShieldMode `json:"mode"`
}

// ShieldMode is what the filter does with what it would drop. An empty mode means on: plans that older versions of control
// made have none.
type ShieldMode string

// The modes.
const (
	ShieldOn      ShieldMode = "on"
	ShieldMonitor ShieldMode = "monitor" // counts what it would drop, and lets it pass
	ShieldOff     ShieldMode = "off"     // no filter
)
