package tls

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// The connections that Limit lets strangers hold: many times what operators and their tools need.
const (
	defaultTotal   = 512
	defaultPerPeer = 32
	// perNetwork is how many times PerPeer an IPv6 /64 may hold: one host can have all of its addresses, and so can all
	// the operators of an office.
	perNetwork = 4
	// maxStrangers bounds those that are in for a check: an authority looks from a few places at a time.
	maxStrangers = 16
)

// LimitOptions are what Limit holds connections to.
type LimitOptions struct {
	Total   int                   // open at a time; zero: 512
	PerPeer int                   // of them from one address; zero: 32. An IPv6 /64 may have four times as many.
	Allow   func(netip.Addr) bool // whether a peer may connect at all, asked each time; nil: everybody
	// Checking tells whether an authority may be looking now. Authorities connect from addresses that they keep to
	// themselves, so meanwhile peers that Allow refuses are let in, and Certificates.Config ends what they begin unless
	// it is such a check. Nil: never.
	Checking func() bool
}

// Refusals counts connections that were closed as they came, by reason.
type Refusals struct {
	Forbidden uint64 `json:"forbidden"` // Allow said no
	PerPeer   uint64 `json:"perPeer"`   // the peer held as many as one may
	Total     uint64 `json:"total"`     // all together did
}

// Listener closes at once what is too much. Peers are TCP peers; what they say in headers counts for nothing.
type Listener struct {
	net.Listener
	options                   LimitOptions
	forbidden, perPeer, total atomic.Uint64

	mu        sync.Mutex
	open      int
	strangers int                  // of open: those that Allow refuses
	peers     map[netip.Prefix]int // open ones of an address, and of an IPv6 /64
}

// Limit bounds the connections of l. It says nothing about how long one may last: that is for http.Server, whose
// ReadHeaderTimeout bounds the handshake too, and whose IdleTimeout frees what nobody uses.
func Limit(l net.Listener, o LimitOptions) *Listener {
	if o.Total == 0 {
		o.Total = defaultTotal
	}
	if o.PerPeer == 0 {
		o.PerPeer = defaultPerPeer
	}
	return &Listener{Listener: l, options: o, peers: make(map[netip.Prefix]int)}
}

// Accept waits for the next connection that may be. Errors are those of the listener below; http.Server waits a
// little after one that passes.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerOf(conn)
		stranger := l.options.Allow != nil && !l.options.Allow(peer)
		if refused := l.admit(peer, stranger); refused != nil {
			refused.Add(1)
			drop(conn)
			continue
		}
		return &limitedConn{Conn: conn, stranger: stranger, release: sync.OnceFunc(func() { l.release(peer, stranger) })}, nil
	}
}

// Refused is how many connections were closed so far.
func (l *Listener) Refused() Refusals {
	return Refusals{Forbidden: l.forbidden.Load(), PerPeer: l.perPeer.Load(), Total: l.total.Load()}
}

// Open is how many connections are open.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// admit counts a connection in, or returns the counter of what it is refused for.
func (l *Listener) admit(peer netip.Addr, stranger bool) *atomic.Uint64 {
	if stranger && (l.options.Checking == nil || !l.options.Checking()) {
		return &l.forbidden
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case stranger && l.strangers >= maxStrangers:
		return &l.forbidden
	case l.full(peer):
		return &l.perPeer
	case l.open >= l.options.Total:
		return &l.total
	}
	l.open++
	for _, p := range countedAs(peer) {
		l.peers[p]++
	}
	if stranger {
		l.strangers++
	}
	return nil
}

func (l *Listener) release(peer netip.Addr, stranger bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if stranger {
		l.strangers--
	}
	for _, p := range countedAs(peer) {
		if l.peers[p]--; l.peers[p] == 0 {
			delete(l.peers, p)
		}
	}
}

// full tells whether a peer holds as many as it may, alone or with its network. The caller holds mu.
func (l *Listener) full(peer netip.Addr) bool {
	most := l.options.PerPeer
	for _, p := range countedAs(peer) {
		if l.peers[p] >= most {
			return true
		}
		most *= perNetwork
	}
	return false
}

// countedAs is the address of a peer and, for IPv6, its /64.
func countedAs(peer netip.Addr) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(peer, peer.BitLen())}
	if peer.Is6() {
		list = append(list, netip.PrefixFrom(peer, 64).Masked())
	}
	return list
}

// limitedConn gives its place back when it is closed, however often that is done.
type limitedConn struct {
	net.Conn
	stranger bool // in for an authority's check only
	release  func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// peerOf is the address of the other end; the zero one where there is none, as with unix sockets.
func peerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// drop closes with a reset: the kernel keeps nothing of a connection that was refused.
func drop(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed all the same
	}
	_ = conn.Close() // nothing was written
}
