package incident

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// current is an incident that goes on.
type current struct {
	Incident
	began    time.Duration // by the clock of the detector
	lasted   time.Duration
	loud     time.Duration // until when something was above its bound, since the start
	loudAt   time.Time
	carpet   bool
	parts    map[key]*Part
	services map[string]bool
	armed    map[key]bool
	series   series
	evidence evidence
}

// newCurrent is one of which the first loud look, a while ago, was not yet enough.
func newCurrent(id uint64, clock time.Duration, start time.Time, elapsed time.Duration) *current {
	return &current{Incident: Incident{ID: id, Start: start}, began: clock, lasted: elapsed, loudAt: start, parts: map[key]*Part{}, services: map[string]bool{},
		armed: map[key]bool{}, series: newSeries(elapsed)}
}

// admit makes a signal a part.
func (c *current) admit(k key, s *signal) {
	if len(c.services) < maxServices {
		c.services[k.service] = true
	}
	if c.parts[k] == nil && len(c.parts) < maxParts {
		c.parts[k] = &Part{Service: k.service, Vector: k.vector, Usual: s.usual}
	}
}

// advance takes the last look into account.
func (c *current) advance(d *Detector, at time.Time, elapsed time.Duration) {
	var sum Totals
	loud := false
	for k, p := range c.parts {
		s := d.signals[k]
		if s == nil || s.hot == 0 {
			continue
		}
		sum.add(s.delta)
		p.add(s.delta)
		p.Peak = max(p.Peak, s.rate)
		p.excess += max(0, s.rate-p.Usual) * elapsed.Seconds()
		loud = loud || s.calm == 0
		c.arm(at, k, s)
	}
	c.lasted += elapsed
	if loud {
		c.loud, c.loudAt = c.lasted, at
	}
	c.Updated, c.Mode = at, d.mode
	c.Totals.add(sum)
	c.look(at, elapsed, sum)
	c.lines(d.Lines())
	c.name()
}

func (c *current) look(at time.Time, elapsed time.Duration, sum Totals) {
	seconds := elapsed.Seconds()
	p := Point{Packets: float64(sum.Packets) / seconds, Bits: 8 * float64(sum.Bytes) / seconds,
		Dropped: float64(sum.Dropped) / seconds, Would: float64(sum.Would) / seconds}
	p.Passed = max(0, p.Packets-p.Dropped)
	if p.Packets > c.Peak.Packets {
		c.Peak.Packets, c.Peak.Time = p.Packets, at
	}
	c.Peak.Bits = max(c.Peak.Bits, p.Bits)
	c.series.add(elapsed, p)
}

// arm notes a defence the first time it is seen active.
func (c *current) arm(at time.Time, k key, s *signal) {
	if s.armed && !c.armed[k] && len(c.Actions) < maxActions {
		c.armed[k] = true
		c.Actions = append(c.Actions, Action{at, k.service, k.vector})
	}
}

// lines remembers the network ports that were at their end.
func (c *current) lines(now []Line) {
	for _, l := range now {
		i := slices.IndexFunc(c.Lines, func(o Line) bool { return o.Interface == l.Interface })
		if i < 0 {
			c.Lines = append(c.Lines, l)
			continue
		}
		c.Lines[i].Full = c.Lines[i].Full || l.Full
		c.Lines[i].Overrun = c.Lines[i].Overrun || l.Overrun
	}
}

// name finds what the incident is mainly made of: the vector with the most packets above what is usual.
func (c *current) name() {
	spread, told := c.evidence.carpet()
	c.carpet = spread || !told && c.several()
	if c.carpet {
		c.Vector = VectorCarpet
		return
	}
	c.Vector = c.largest()
}

// several tells whether many services are hit, whatever the packets say.
func (c *current) several() bool {
	n := len(c.services)
	if c.services[""] {
		n--
	}
	return n >= carpetServices
}

func (c *current) largest() status.Vector {
	sums := map[status.Vector]float64{}
	for _, p := range c.parts {
		sums[p.Vector] += p.excess
	}
	var most status.Vector
	for _, v := range slices.Sorted(maps.Keys(sums)) {
		if most == "" || sums[v] > sums[most] {
			most = v
		}
	}
	return most
}

// goesOn tells whether something of it is still above its bound, or not long enough below.
func (c *current) goesOn(d *Detector) bool {
	for k := range c.parts {
		if s := d.signals[k]; s != nil && s.hot > 0 {
			return true
		}
	}
	return false
}

// finish closes it with its last loud second.
func (c *current) finish() {
	c.End = c.loudAt
	if c.End.Before(c.Start) {
		c.End = c.Start.Add(c.loud) // the clock was set back meanwhile
	}
	if c.lasted >= taken {
		c.Note = "It lasted a day. What still comes counts as usual from now on."
	}
}

// tell is a copy for others.
func (c *current) tell(d *Detector) Incident {
	i := c.Incident
	if i.Vector == "" {
		c.name()
		i.Vector = c.Vector
	}
	i.Seconds = int(c.lasted.Round(time.Second) / time.Second)
	if !i.Open() {
		i.Seconds = int(c.loud.Round(time.Second) / time.Second)
	}
	i.Mode = cmp.Or(i.Mode, d.mode)
	i.Parts = make([]Part, 0, len(c.parts))
	for _, p := range c.parts {
		i.Parts = append(i.Parts, *p)
	}
	slices.SortFunc(i.Parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.excess, a.excess), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Vector, b.Vector))
	})
	i.Services = slices.DeleteFunc(slices.Sorted(maps.Keys(c.services)), func(name string) bool { return name == "" })
	i.Actions = append([]Action{}, c.Actions...)
	i.Lines = append([]Line{}, c.Lines...)
	i.Evidence = c.evidence.tell(i.Vector == status.VectorConnection)
	i.Step = int(c.series.step / time.Second)
	i.Series = append([]Point{}, c.series.points...)
	return i
}

// before is how much earlier than the start a packet may have come.
const before = 5 * time.Second

// takes tells whether a packet belongs to the incident.
func (c *current) takes(s status.Sample) bool {
	return c.parts[key{s.Service, s.Vector}] != nil && s.Time.After(c.Start.Add(-before))
}

// Add takes packets that the shield picked out into account. Each must be given once.
func (d *Detector) Add(samples []status.Sample) {
	for _, s := range samples {
		for _, c := range d.open {
			if c.takes(s) {
				c.evidence.add(s)
				break
			}
		}
	}
	for _, c := range d.open {
		c.name()
	}
}

// proven tells whether the client of a session has completed its handshake. The user path has no other sessions; those of
// the kernel path begin with the SYN, and a client that nobody forged sends something.
func proven(s status.Session) bool {
	return s.Protocol == plan.TCP && (s.Path == plan.PathUser || s.BytesToOrigin > 0)
}

// AddSessions takes the sessions of a moment into account, where the incident is made of them. Only those whose clients
// have completed the handshake say something.
func (d *Detector) AddSessions(sessions []status.Session) {
	for _, c := range d.open {
		newest := c.evidence.counted
		for _, s := range sessions {
			if c.parts[key{s.Service, status.VectorConnection}] == nil || !proven(s) || !s.Started.After(c.evidence.counted) || s.Started.Before(c.Start) {
				continue
			}
			c.evidence.addSession(s.Client.Addr().Unmap())
			if s.Started.After(newest) {
				newest = s.Started
			}
		}
		c.evidence.counted = newest
	}
}

// Packets are those that are kept of the open incident with this ID, in the order in which they came.
func (d *Detector) Packets(id uint64) []status.Sample {
	for _, c := range d.open {
		if c.ID == id {
			return c.evidence.kept()
		}
	}
	return nil
}
