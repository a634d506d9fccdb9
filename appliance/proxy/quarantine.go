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
// for ever; more are refused as no-source-port.
type quarantine struct {
	mu      sync.Mutex
	origins map[netip.AddrPort]*portRing
}

// portRing is the ports towards one origin: those never used, then those given back, oldest first.
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
func (q *quarantine) take(origin netip.AddrPort, now int64) uint16 {
	q.mu.Lock()
	defer q.mu.Unlock()
	ring := q.origins[origin]
	if ring == nil {
		if q.origins == nil {
			q.origins = make(map[netip.AddrPort]*portRing)
		}
		ring = &portRing{next: firstSourcePort}
		q.origins[origin] = ring
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

func (q *quarantine) giveBack(origin netip.AddrPort, port uint16, now int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ring := q.origins[origin]; ring != nil {
		ring.resting = append(ring.resting, restingPort{port, now})
	}
}

// bindQuarantined binds the flow's socket to a port out of quarantine. Flows to different origins may share a port
// number, so the address is reusable; the sockets are told apart by what they are connected to.
func (w *worker) bindQuarantined(f *flow, v6 bool) unix.Errno {
	anyAddr := netip.IPv4Unspecified()
	if v6 {
		anyAddr = netip.IPv6Unspecified()
	}
	_ = setOption(int(f.fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	for range bindTries {
		port := w.engine.sourcePorts.take(f.target.Addr, w.now)
		if port == 0 {
			return unix.EADDRNOTAVAIL
		}
		errno := bind(int(f.fd), netip.AddrPortFrom(anyAddr, port))
		if errno == 0 {
			f.port = port
			return 0
		}
		w.engine.sourcePorts.giveBack(f.target.Addr, port, w.now)
		if errno != unix.EADDRINUSE {
			return errno
		}
	}
	return unix.EADDRINUSE
}
