package status

import "time"

// MaxSample is how much of a packet a Sample holds, in bytes.
const MaxSample = 128

// Sample is one packet of many that the shield picked out, for somebody to look at.
type Sample struct {
	Number    uint64        `json:"number"` // since edge started, from 1; set by edge
	Time      time.Time     `json:"time"`
	Interface string        `json:"interface"`
	Service   string        `json:"service"` // empty: for no service, or it cannot be told
	Vector    Vector        `json:"vector"`
	Verdict   SampleVerdict `json:"verdict"`
	Reason    Reason        `json:"reason"` // of a drop, or of what would be one; normal: it passed
	Length    int           `json:"length"` // of the frame on the wire, in bytes
	Bytes     []byte        `json:"bytes"`  // the beginning of the frame, from its Ethernet header on
}

// SampleVerdict is what became of a packet.
type SampleVerdict string

// The verdicts.
const (
	SamplePass  SampleVerdict = "pass"
	SampleDrop  SampleVerdict = "drop"
	SampleWould SampleVerdict = "would" // mode monitor let it pass
)
