package incident

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	// maxSignals bounds what is watched: 12 vectors of 4096 services would be twelve times as much, and most are silent.
	maxSignals = 8192
	// maxOpen bounds the incidents at one time; what begins beyond joins the last.
	maxOpen = 16
	// maxParts, maxActions and maxServices bound what is told of one incident.
	maxParts    = 64
	maxActions  = 64
	maxServices = 256
	// together is how much later a service may begin to be hit and belong to the same incident.
	together = 10 * time.Second
	// oneLook is how long a look counts when the clock tells nonsense, and tooSoon what is no look at all.
	oneLook = time.Second
	tooSoon = 100 * time.Millisecond
)

// Detector finds incidents. Make it with NewDetector.
type Detector struct {
	factor  float64
	last    time.Time
	primed  bool
	clock   time.Duration // since the first look
	mode    plan.ShieldMode
	signals map[key]*signal
	ports   map[string]*port
	open    []*current        // the oldest first
	newest  uint64            // the ID that was given last
	taught  bool              // Teach was called: there is no need to warm up
	payload map[string]uint64 // bytes to the origins of a service, as last counted
}

// NewDetector watches with this sensitivity. The first incident gets the ID after newest.
func NewDetector(s Sensitivity, newest uint64) *Detector {
	return &Detector{factor: s.factor(), newest: newest, signals: map[key]*signal{}, ports: map[string]*port{}}
}

// SetSensitivity changes what it takes to begin from now on.
func (d *Detector) SetSensitivity(s Sensitivity) {
	d.factor = s.factor()
	for k, v := range d.signals {
		v.floor = d.floor(k.vector)
	}
}

func (d *Detector) floor(v status.Vector) float64 {
	return d.factor * cmp.Or(floors[v], floors[status.VectorOther])
}

// Change is the begin or the end of an incident.
type Change struct {
	Incident Incident
	Began    bool            // otherwise it is over
	Packets  []status.Sample // of one that is over: those that are kept
}

// Observe takes the counters of one moment, about every second, and tells what began and what is over. The first look
// only learns where the counters stand. A counter that went back was reset.
func (d *Detector) Observe(seen status.Edge, at time.Time) []Change {
	elapsed := at.Sub(d.last)
	switch {
	case d.primed && elapsed >= 0 && elapsed < tooSoon:
		return nil
	case !d.primed || elapsed < 0:
		elapsed = oneLook // the clock was set back
	}
	d.last, d.mode = at, seen.Shield.Mode
	dropped := d.count(seen)
	explained := d.connections(seen, elapsed)
	d.look(seen, elapsed, dropped)
	if !d.primed {
		d.primed = true
		return nil
	}
	d.clock += elapsed
	began := d.judge(at, elapsed, explained)
	for _, c := range d.open {
		c.advance(d, at, elapsed)
	}
	changes := make([]Change, len(began))
	for i, c := range began {
		changes[i] = Change{Incident: c.tell(d), Began: true}
	}
	return append(changes, d.end()...)
}

// count takes over the counters of the shield and returns how many packets it dropped since the last look.
func (d *Detector) count(seen status.Edge) (dropped uint64) {
	present := map[key]bool{}
	for _, v := range seen.Shield.Vectors {
		k := key{v.Service, v.Vector}
		if v.Vector == status.VectorConnection || present[k] {
			continue // the engines count those, see connections
		}
		s := d.signal(k)
		if s == nil {
			continue
		}
		present[k] = true
		s.count(Totals{v.Packets, v.Bytes, v.Dropped, v.Would})
		s.armed = v.Armed
		dropped += s.delta.Dropped
	}
	d.quiet(present, false) // those that are zero are not told
	return dropped
}

// signal is the one of k, made if there is room; nil: there is none.
func (d *Detector) signal(k key) *signal {
	s := d.signals[k]
	if s == nil && len(d.signals) < maxSignals {
		s = &signal{floor: d.floor(k.vector), known: d.clock} // it was zero until now
		d.signals[k] = s
	}
	return s
}

// dumb is how many bytes a client sends at least, in the mean, once it is connected. Floods of forged first packets send none.
const dumb = 8

// connections counts the sessions that were opened, as a vector of their own, and returns how many a second of each service
// have a client behind them. The kernel path counts a session from its first packet on, which anybody can forge. While SYN
// cookies are armed only who has answered one gets there; otherwise sessions that nobody sends anything on do not count.
func (d *Detector) connections(seen status.Edge, elapsed time.Duration) map[string]float64 {
	explained, present := map[string]float64{}, map[key]bool{}
	for _, service := range seen.Services {
		k := key{service.Name, status.VectorConnection}
		if d.signals[k] == nil && service.SessionsOpened == 0 {
			continue
		}
		if s := d.signal(k); s != nil {
			present[k] = true
			s.count(Totals{Packets: service.SessionsOpened})
			explained[service.Name] = d.proven(service, s.delta.Packets) / elapsed.Seconds()
		}
	}
	d.quiet(present, true)
	d.payload = map[string]uint64{}
	for _, service := range seen.Services {
		d.payload[service.Name] = service.BytesToOrigin
	}
	return explained
}

// proven is how many of the sessions that were opened have a client behind them.
func (d *Detector) proven(service status.Service, opened uint64) float64 {
	if s := d.signals[key{service.Name, status.VectorSYN}]; s != nil && s.armed {
		return float64(opened)
	}
	return float64(min(opened, since(d.payload[service.Name], service.BytesToOrigin)/dumb))
}

// quiet counts nothing for the signals that are not present, and forgets those that say nothing.
func (d *Detector) quiet(present map[key]bool, connections bool) {
	for k, s := range d.signals {
		if present[k] || (k.vector == status.VectorConnection) != connections {
			continue
		}
		s.count(Totals{})
		s.armed = false
		if s.idle() {
			delete(d.signals, k)
		}
	}
}

// look watches the network ports: those with the filter, which are the edge's.
func (d *Detector) look(seen status.Edge, elapsed time.Duration, dropped uint64) {
	watched := map[string]bool{}
	for _, a := range seen.Shield.Attachments {
		watched[a.Interface] = true
	}
	for _, i := range seen.Interfaces {
		if !watched[i.Name] {
			continue
		}
		p := d.ports[i.Name]
		if p == nil {
			p = &port{last: i.Rx}
			d.ports[i.Name] = p
		}
		p.look(i, elapsed, dropped)
	}
	maps.DeleteFunc(d.ports, func(name string, _ *port) bool { return !watched[name] })
}

// Lines are the network ports that are at their end now, ordered by name.
func (d *Detector) Lines() []Line {
	list := []Line{}
	for name, p := range d.ports {
		if l, told := p.line(name); told {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b Line) int { return cmp.Compare(a.Interface, b.Interface) })
	return list
}

// judge looks at every signal, in a fixed order, and returns the incidents that began.
func (d *Detector) judge(at time.Time, elapsed time.Duration, explained map[string]float64) (began []*current) {
	warm := d.taught || d.clock >= warmup
	keys := slices.SortedFunc(maps.Keys(d.signals), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.vector, b.vector))
	})
	for _, k := range keys {
		s := d.signals[k]
		if hot, _ := s.look(elapsed, d.peaceful(k, explained, elapsed), warm); !hot {
			continue
		}
		c := d.join(k)
		if c == nil {
			d.newest++
			c = newCurrent(d.newest, d.clock, at.Add(-2*elapsed), elapsed) // it takes two looks to become hot
			d.open = append(d.open, c)
			began = append(began, c)
		}
		c.admit(k, s)
	}
	return began
}

// peaceful is what of a signal, in packets a second, is explained by sessions: each begins with a SYN, and while SYN cookies
// are armed with an ACK that belongs to no session yet. Of the connections themselves it is those that nobody is behind.
func (d *Detector) peaceful(k key, explained map[string]float64, elapsed time.Duration) float64 {
	switch k.vector {
	case status.VectorSYN, status.VectorACK:
		return explained[k.service]
	case status.VectorConnection:
		return float64(d.signals[k].delta.Packets)/elapsed.Seconds() - explained[k.service]
	}
	return 0
}

// join finds the open incident that a signal belongs to; nil: it is one of its own.
func (d *Detector) join(k key) *current {
	for _, c := range d.open {
		if c.services[k.service] || c.carpet || d.clock-c.began <= together {
			return c
		}
	}
	if len(d.open) >= maxOpen {
		return d.open[len(d.open)-1]
	}
	return nil
}

// end closes the incidents of which nothing is above its bound any more.
func (d *Detector) end() (over []Change) {
	d.open = slices.DeleteFunc(d.open, func(c *current) bool {
		if c.goesOn(d) {
			return false
		}
		c.finish()
		over = append(over, Change{Incident: c.tell(d), Packets: c.evidence.kept()})
		return true
	})
	return over
}

// Open are the incidents that go on, the oldest first.
func (d *Detector) Open() []Incident {
	list := make([]Incident, len(d.open))
	for i, c := range d.open {
		list[i] = c.tell(d)
	}
	return list
}
