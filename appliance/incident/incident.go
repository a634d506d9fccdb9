// Package incident finds attacks in the counters of the shield, from the first seconds to the all-clear:
//
//	d := incident.NewDetector(incident.Normal, 0)
//	for seen := range everySecond {
//		for _, change := range d.Observe(seen, time.Now()) {
//			// change.Incident began, or is over
//		}
//		d.Add(samples) // packets that the shield picked out meanwhile
//	}
//
// It is pure: what it knows comes from its arguments, and the same arguments give the same incidents. Everything that it
// keeps is bounded, whatever arrives. A Detector has one owner, who may not call it from two goroutines at once.
package incident

import (
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// VectorCarpet is the vector of an incident that hits many addresses at once, so that none of them stands out. The shield
// counts no packets under it: Incident.Parts has the vectors that it is made of.
const VectorCarpet status.Vector = "carpet"

// Incident is one attack.
type Incident struct {
	ID       uint64          `json:"id"`
	Start    time.Time       `json:"start"`   // of the first second above what is usual
	End      time.Time       `json:"end"`     // of the last one; zero: it goes on
	Updated  time.Time       `json:"updated"` // when it was last looked at
	Seconds  int             `json:"seconds"` // how long it lasted, by a clock that nobody sets
	Vector   status.Vector   `json:"vector"`  // what it is mainly made of
	Parts    []Part          `json:"parts"`   // everything it is made of, the largest first
	Services []string        `json:"services"`
	Mode     plan.ShieldMode `json:"mode"` // of the shield; monitor: nothing was dropped, see Would
	Peak     Peak            `json:"peak"`
	Totals   Totals          `json:"totals"`
	Actions  []Action        `json:"actions"`
	Evidence Evidence        `json:"evidence"`
	Lines    []Line          `json:"lines"` // network ports that were at their end meanwhile
	Note     string          `json:"note"`  // what is special about its end, in words; empty: nothing
	Step     int             `json:"step"`  // seconds from one point of Series to the next
	Series   []Point         `json:"series,omitempty"`
}

// Open tells whether it goes on.
func (i *Incident) Open() bool { return i.End.IsZero() }

// Part is what came for one service by one vector, while it was above what is usual.
type Part struct {
	Service string        `json:"service"` // empty: no service, or it cannot be told
	Vector  status.Vector `json:"vector"`
	Usual   float64       `json:"usual"` // packets a second that are usual
	Peak    float64       `json:"peak"`  // packets a second
	Totals
	excess float64 // packets above what is usual
}

// Totals are sums over an incident or a part of it. Dropped and Would are parts of Packets.
type Totals struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"` // packets
	Would   uint64 `json:"would"`   // packets that mode monitor let pass
}

func (t *Totals) add(o Totals) {
	t.Packets += o.Packets
	t.Bytes += o.Bytes
	t.Dropped += o.Dropped
	t.Would += o.Would
}

// Peak is the worst second.
type Peak struct {
	Time    time.Time `json:"time"`
	Packets float64   `json:"packets"` // a second
	Bits    float64   `json:"bits"`    // a second
}

// Point is one step of the series, as means over its seconds.
type Point struct {
	At      int     `json:"at"`      // seconds since the start
	Packets float64 `json:"packets"` // a second
	Bits    float64 `json:"bits"`    // a second
	Passed  float64 `json:"passed"`  // packets a second
	Dropped float64 `json:"dropped"` // packets a second
	Would   float64 `json:"would"`   // packets a second
}

// Action is a defence that rests in peace time and was seen active: SYN cookies for syn, looking for sessions for others.
type Action struct {
	Time    time.Time     `json:"time"`
	Service string        `json:"service"`
	Vector  status.Vector `json:"vector"`
}

// Line is a network port at its end.
type Line struct {
	Interface string `json:"interface"`
	// Full: the line carries what it can. No filter behind it can help: what does not fit is lost before it.
	Full bool `json:"full"`
	// Overrun: packets arrive faster than the port or the kernel takes them.
	Overrun bool `json:"overrun"`
}

// Evidence is what the packets say that the shield picked out.
type Evidence struct {
	// Proven: the sources have completed handshakes, so the addresses are theirs. Otherwise every one of them can be forged,
	// and a ban would hit whoever has the address.
	Proven       bool    `json:"proven"`
	Samples      uint64  `json:"samples"` // packets, or sessions where Proven, that were looked at
	Sources      []Count `json:"sources"`
	Networks     []Count `json:"networks"` // of the sources: /24 and /48
	Destinations []Count `json:"destinations"`
	SourcePorts  []Count `json:"sourcePorts"`
	Ports        []Count `json:"ports"`   // of the destinations
	Reasons      []Count `json:"reasons"` // of the packets that were dropped or would have been
}

// Count is how often something was seen in the samples. It can be too high by Error, never too low.
type Count struct {
	Value string `json:"value"`
	Count uint64 `json:"count"`
	Error uint64 `json:"error"`
}
