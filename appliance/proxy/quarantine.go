package proxy

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// quarantine chooses source ports for v2-first flows. Receivers of that mode (Geyser) remember for 31 minutes after
// its last datagram which client a source address:port stands for, and do not look at later headers; a port that is
// used for another client within that time would give it the former one's address. So ports are chosen here and not
// by the kernel, and rest before they are used again. One origin address therefore takes about 34 new flows a second
// for ever from each source address; more are refused as no-source-port.
type quarantine struct {
	mu   sync.Mutex
	ways map[way]*portRing
}

// way is from one address of the box to one origin, and has every port once.
type way struct {
	source netip.Addr // the zero Addr: what the route gives
	origin netip.AddrPort
}

// portRing is the ports of one way: those never used, then those given back, oldest first.
type portRing struct {
	next    int
	resting []restingPort
}

type restingPort struct {
	port uint16
	at   int64 // worker clock, ns, when it was given back
}

const (
	firstSourcePort = 1024
	lastSourcePort  = 65535
	// quarantineTime is Geyser's 31 minutes (mission research, section 3.3).
	quarantineTime = int64(31 * time.Minute)
	// bindTries bounds the search for a port that no other program has.
	bindTries = 16
)

// take gives a port that no client has had for quarantineTime; 0: there is none.
func (q *quarantine) take(at way, now int64) uint16 {
	q.mu.Lock()
	defer q.mu.Unlock()
	ring := q.ways[at]
	if ring == nil {
		if q.ways == nil {
			q.ways = make(map[way]*portRing)
		}
		ring = &portRing{next: firstSourcePort}
		q.ways[at] = ring
	}
	if ring.next <= lastSourcePort {
		ring.next++
		return uint16(ring.next - 1) //nolint:gosec // a port
	}
	if len(ring.resting) == 0 || now-ring.resting[0].at < quarantineTime {
		return 0
	}
	port := ring.resting[0].port
	ring.resting = ring.resting[1:]
	return port
}

func (q *quarantine) giveBack(at way, port uint16, now int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ring := q.ways[at]; ring != nil {
		ring.resting = append(ring.resting, restingPort{port, now})
	}
}

func (f *flow) way() way { return way{f.source, f.target.Addr} }

// bindQuarantined binds the flow's socket to a port out of quarantine. Flows to different origins may share a port
// number, so the address is reusable; the sockets are told apart by what they are connected to.
func (w *worker) bindQuarantined(f *flow) unix.Errno {
	source := f.source
	switch {
	case source.IsValid():
	case f.target.Addr.Addr().Unmap().Is6():
		source = netip.IPv6Unspecified()
	default:
		source = netip.IPv4Unspecified()
	}
	_ = setOption(int(f.fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	for range bindTries {
		port := w.engine.sourcePorts.take(f.way(), w.now)
		if port == 0 {
			return unix.EADDRNOTAVAIL
		}
		errno := bind(int(f.fd), netip.AddrPortFrom(source, port))
		if errno == 0 {
			f.port = port
			return 0
		}
		w.engine.sourcePorts.giveBack(f.way(), port, w.now)
		if errno != unix.EADDRINUSE {
			return errno
		}
	}
	return unix.EADDRINUSE
}
