package incident

import (
	"net/netip"
	"strconv"
	"time"

	"breakwater/appliance/status"
)

// MaxPackets is how many packets are kept of an incident: the first half of them as they came, then always the last.
const MaxPackets = 200

const (
	// carpetFrom is how many addresses, none with more than carpetShare of the packets, make a carpet, among carpetSamples
	// packets at least.
	carpetFrom    = 5
	carpetShare   = 0.4
	carpetSamples = 50
	// carpetServices is how many services at once do, unless it is seen that one address is hit.
	carpetServices = 3
)

// evidence collects what samples say.
type evidence struct {
	samples                                              uint64
	sources, networks, targets, sourcePorts, ports, whys top
	packets                                              []status.Sample
	next                                                 int // place of the oldest of the second half

	sessions        uint64
	clients, groups top       // addresses that completed a handshake, and their networks
	counted         time.Time // when the youngest session that was counted began
}

// add takes a packet into account.
func (e *evidence) add(s status.Sample) {
	e.keep(s)
	p, ok := parse(s.Bytes)
	if !ok {
		return
	}
	e.samples++
	e.sources.add(p.source.String())
	e.networks.add(networkOf(p.source).String())
	e.targets.add(p.destination.String())
	if p.ports {
		e.sourcePorts.add(strconv.Itoa(int(p.sourcePort)))
		e.ports.add(strconv.Itoa(int(p.port)))
	}
	if s.Verdict != status.SamplePass {
		e.whys.add(s.Reason.String())
	}
}

func (e *evidence) keep(s status.Sample) {
	if len(e.packets) < MaxPackets {
		e.packets = append(e.packets, s)
		return
	}
	e.packets[MaxPackets/2+e.next] = s
	e.next = (e.next + 1) % (MaxPackets / 2)
}

// kept is what was kept, in the order in which it came.
func (e *evidence) kept() []status.Sample {
	if len(e.packets) < MaxPackets {
		return append([]status.Sample{}, e.packets...)
	}
	second := e.packets[MaxPackets/2:]
	list := append([]status.Sample{}, e.packets[:MaxPackets/2]...)
	return append(append(list, second[e.next:]...), second[:e.next]...)
}

// addSession takes a session into account whose client has completed the handshake.
func (e *evidence) addSession(client netip.Addr) {
	e.sessions++
	e.clients.add(client.String())
	e.groups.add(networkOf(client).String())
}

// carpet tells whether many addresses are hit alike, and whether that can be told at all.
func (e *evidence) carpet() (spread, told bool) {
	if e.targets.total < carpetSamples {
		return false, false
	}
	list := e.targets.list()
	return len(list) >= carpetFrom && float64(list[0].Count) <= carpetShare*float64(e.targets.total), true
}

// tell sums it up. Proven: the incident is made of sessions.
func (e *evidence) tell(proven bool) Evidence {
	t := Evidence{Proven: proven, Samples: e.samples, Sources: e.sources.list(), Networks: e.networks.list(),
		Destinations: e.targets.list(), SourcePorts: e.sourcePorts.list(), Ports: e.ports.list(), Reasons: e.whys.list()}
	if proven {
		t.Samples, t.Sources, t.Networks = e.sessions, e.clients.list(), e.groups.list()
	}
	return t
}
