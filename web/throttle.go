package web

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// Five wrong tokens at once, then one in three minutes: 5 in 15 minutes, as OWASP ASVS 6.3.1 has it.
	failuresAtOnce  = 5
	failureInterval = 3 * time.Minute
	retryAfter      = "180"
	// maxPeers bounds the memory that strangers can take.
	maxPeers = 4096
)

// throttle counts wrong tokens by TCP peer. Headers that name another client are ignored: anyone can send them.
type throttle struct {
	mu    sync.Mutex
	peers map[netip.Prefix]*rate.Limiter
}

func newThrottle() *throttle { return &throttle{peers: make(map[netip.Prefix]*rate.Limiter)} }

// admit tells whether a failure of this peer may be answered as a failure.
func (t *throttle) admit(remote string) bool {
	peer := peerOf(remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	limiter, known := t.peers[peer]
	if !known {
		if len(t.peers) >= maxPeers {
			t.forgetQuiet()
		}
		limiter = rate.NewLimiter(rate.Every(failureInterval), failuresAtOnce)
		t.peers[peer] = limiter
	}
	return limiter.Allow()
}

// forgetQuiet makes room: peers whose failures are forgiven go, and when there are none, all go. The throttle keeps
// noise down; what keeps strangers out is the length of a token.
func (t *throttle) forgetQuiet() {
	for peer, limiter := range t.peers {
		if limiter.Tokens() >= failuresAtOnce {
			delete(t.peers, peer)
		}
	}
	if len(t.peers) >= maxPeers {
		clear(t.peers)
	}
}

// peerOf is the IPv4 address or the IPv6 /64, which one host can have as a whole.
func peerOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
