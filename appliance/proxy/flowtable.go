package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// flowTable is the flows of one worker: by slot, by key, and how many each source has.
type flowTable struct {
	slab[flow]
	byKey       map[flowKey]uint32
	perSource   map[source]int
	replies     map[netip.AddrPort]*replySocket
	openReplies *atomic.Int64 // of all workers
	rate        bucket
	rates       map[string]*bucket // by service
	in, out     *batch
}

// source is the prefix that limits count by: an IPv4 /24 or an IPv6 /56, what one attacker or one household has.
type source [8]byte

func sourceOf(addr netip.Addr) source {
	var s source
	if addr = addr.Unmap(); addr.Is4() {
		ip := addr.As4()
		copy(s[:], ip[:3])
		s[7] = 4
		return s
	}
	ip := addr.As16()
	copy(s[:], ip[:7])
	s[7] = 6
	return s
}

func (t *flowTable) init(openReplies *atomic.Int64) {
	t.openReplies = openReplies
	t.byKey = make(map[flowKey]uint32)
	t.perSource = make(map[source]int)
	t.replies = make(map[netip.AddrPort]*replySocket)
	t.rates = make(map[string]*bucket)
	t.in, t.out = newBatch(datagramBatch), newBatch(originBatch)
}

func (t *flowTable) find(key flowKey) *flow {
	index, ok := t.byKey[key]
	if !ok {
		return nil
	}
	return &t.blocks[index/blockSize].slots[index%blockSize]
}

func (t *flowTable) add(f *flow) {
	t.byKey[f.key] = f.index
	t.perSource[sourceOf(f.client.Addr())]++
}

func (t *flowTable) remove(f *flow) {
	delete(t.byKey, f.key)
	s := sourceOf(f.client.Addr())
	if t.perSource[s]--; t.perSource[s] <= 0 {
		delete(t.perSource, s)
	}
}

// share is a worker's part of a limit of the box. Clients are spread over workers by hash, so a limit by source is
// exact only for sources with many flows.
func (w *worker) share(limit int) int {
	n := len(w.engine.workers)
	return max(1, (limit+n-1)/n)
}

func (w *worker) serviceRate(s *service) *bucket {
	b := w.flows.rates[s.Name]
	if b == nil {
		b = new(bucket)
		w.flows.rates[s.Name] = b
	}
	return b
}

// bucket is a token bucket that holds one second's worth, and at least one token: a rate may be less than one for each
// worker.
type bucket struct {
	tokens float64
	at     int64
}

// take takes one token of perSecond/workers a second.
func (b *bucket) take(now int64, perSecond, workers int) bool {
	rate := float64(perSecond) / float64(workers)
	if b.at == 0 {
		b.tokens = max(rate, 1)
	} else {
		b.tokens = min(max(rate, 1), b.tokens+rate*time.Duration(now-b.at).Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// replySocket answers clients from one edge address:port. It is bound there, and connected to an address nobody
// sends from: bound alone it would take the clients' datagrams away from the listener, connected it takes only
// those of its peer, of which there are none. sendto with an address still works.
type replySocket struct {
	fd    int32
	edge  netip.AddrPort
	flows int
}

func (t *flowTable) replyFrom(edge netip.AddrPort) (*replySocket, unix.Errno) {
	if r := t.replies[edge]; r != nil {
		r.flows++
		return r, 0
	}
	v4 := edge.Addr().Is4()
	nobody, o := netip.AddrPortFrom(netip.IPv6Loopback(), 9), transparentOption(!v4)
	if v4 {
		nobody = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9)
	}
	fd, errno := socket(family(edge.Addr()), unix.SOCK_DGRAM)
	if errno != 0 {
		return nil, errno
	}
	_ = setOption(fd, o.level, o.name, o.value)              // without the right to it, bind tells
	_ = setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // the other workers have theirs
	if errno = bind(fd, edge); errno == 0 {
		errno = connect(fd, nobody)
	}
	if errno != 0 {
		closeFD(int32(fd)) //nolint:gosec // fd
		return nil, errno
	}
	r := &replySocket{fd: int32(fd), edge: edge, flows: 1} //nolint:gosec // fd
	t.replies[edge] = r
	t.openReplies.Add(1)
	return r, 0
}

func (t *flowTable) dropReply(r *replySocket) {
	if r.flows--; r.flows == 0 {
		delete(t.replies, r.edge)
		t.openReplies.Add(-1)
		closeFD(r.fd)
	}
}
