package incident

import (
	"time"

	"breakwater/appliance/status"
)

const (
	// perFrame is what a frame takes on the wire besides the bytes that are counted: preamble, check sum and gap (IEEE 802.3).
	perFrame = 24
	// fullAt is the part of a line's speed from which on it is full: switches in front drop in bursts well before 100 %.
	fullAt = 0.9
	// overrunAt is how many packets a second a port loses, and overrunPart the least part of all, before it is worth a word.
	overrunAt   = 1000
	overrunPart = 0.01
	// lineAfter is how long it must last.
	lineAfter = 3 * time.Second
)

// port watches the receiving side of one network port.
type port struct {
	last          status.Counters
	full, overrun steady
}

// steady is a finding that must last to be told and be gone for a while to be over.
type steady struct {
	lasts, calm time.Duration
	told        bool
}

func (s *steady) look(elapsed time.Duration, now bool) {
	if now {
		s.lasts, s.calm = s.lasts+elapsed, 0
		s.told = s.told || s.lasts >= lineAfter
		return
	}
	s.lasts, s.calm = 0, s.calm+elapsed
	s.told = s.told && s.calm < calmAfter
}

// look judges a port. dropped are the packets that the shield dropped meanwhile, on all ports: some drivers (virtio_net)
// count those as their own losses, too.
func (p *port) look(i status.Interface, elapsed time.Duration, dropped uint64) {
	bytes, packets := since(p.last.Bytes, i.Rx.Bytes), since(p.last.Packets, i.Rx.Packets)
	lost := since(p.last.Drops, i.Rx.Drops)
	p.last = i.Rx
	seconds := elapsed.Seconds()
	bits := 8 * float64(bytes+perFrame*packets) / seconds
	p.full.look(elapsed, i.Speed > 0 && bits >= fullAt*float64(i.Speed)*1e6)
	lost -= min(lost, dropped)
	p.overrun.look(elapsed, float64(lost) >= overrunAt*seconds && float64(lost) >= overrunPart*float64(packets+lost))
}

func (p *port) line(name string) (Line, bool) {
	return Line{name, p.full.told, p.overrun.told}, p.full.told || p.overrun.told
}
