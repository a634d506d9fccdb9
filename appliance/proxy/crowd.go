package proxy

import (
	"net/netip"
	"sync"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// crowd counts the sessions of one service by address and network, those of both engines, and how fast an address opens
// them. Only services with such a limit use it. It is exact: the workers take turns, once for a session's begin and end.
type crowd struct {
	mu       sync.Mutex
	sessions map[netip.Prefix]int
	paid     map[netip.Prefix]time.Duration // until when the sessions of an address have used up its rate, on the engine's clock
	cleanAt  int                            // when paid has so many, those of the past go
}

// burstOfRate is how many seconds' worth of new sessions of one address may come at once: a player opens several to join.
const burstOfRate = 5

// ofSources tells whether l bounds single addresses or networks.
func ofSources(l *plan.ServiceLimits) bool {
	return l.MaxSessionsPerAddress > 0 || l.MaxSessionsPerNetwork > 0 || l.NewSessionsPerAddress > 0
}

// enter counts one more session of client, or says why it may not be. What comes too fast is no session and pays nothing, so
// that whoever tries too often is not shut out for it.
func (c *crowd) enter(client netip.Addr, l *plan.ServiceLimits, now time.Duration) status.Reason {
	address, network := plan.ClientAddress(client), plan.ClientNetwork(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case l.MaxSessionsPerAddress > 0 && c.sessions[address] >= l.MaxSessionsPerAddress:
		return status.AddressLimit
	case l.MaxSessionsPerNetwork > 0 && c.sessions[network] >= l.MaxSessionsPerNetwork:
		return status.NetworkLimit
	case !c.pay(address, l.NewSessionsPerAddress, now):
		return status.AddressRate
	}
	c.count(address, network, 1)
	return status.Normal
}

// other counts sessions of client that the other engine begins and ends. What it begins has used up rate as well.
func (c *crowd) other(client netip.Addr, perSecond int, now time.Duration, n int) {
	address := plan.ClientAddress(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(address, plan.ClientNetwork(client), n)
	for range n { // none, for an end
		c.pay(address, perSecond, now)
	}
}

func (c *crowd) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(plan.ClientAddress(client), plan.ClientNetwork(client), -1)
}

func (c *crowd) count(address, network netip.Prefix, n int) {
	if c.sessions == nil {
		c.sessions = make(map[netip.Prefix]int)
	}
	for _, p := range []netip.Prefix{address, network} {
		if c.sessions[p] += n; c.sessions[p] <= 0 {
			delete(c.sessions, p)
		}
	}
}

// pay takes a session's worth of an address's rate, and reports whether there was any.
func (c *crowd) pay(address netip.Prefix, perSecond int, now time.Duration) bool {
	if perSecond <= 0 {
		return true
	}
	after := max(c.paid[address], now) + time.Second/time.Duration(perSecond)
	if after > now+burstOfRate*time.Second {
		return false
	}
	if len(c.paid) >= c.cleanAt {
		c.clean(now)
	}
	c.paid[address] = after
	return true
}

func (c *crowd) clean(now time.Duration) {
	if c.paid == nil {
		c.paid = make(map[netip.Prefix]time.Duration)
	}
	for address, until := range c.paid {
		if until <= now {
			delete(c.paid, address)
		}
	}
	c.cleanAt = max(1024, 2*len(c.paid))
}

// enter counts a session that begins for the limits of its client's address and network, if there are any, or says why it may
// not be.
func (w *worker) enter(service *service, client netip.Addr) (counted bool, reason status.Reason) {
	l := &service.Limits
	if !ofSources(l) {
		return false, status.Normal
	}
	if reason = service.stats.crowd.enter(client, l, time.Duration(w.now)); reason != status.Normal {
		return false, reason
	}
	w.engine.shareSource(service.Name, client, 1)
	return true, status.Normal
}

// leave is the end of enter.
func (s *session) leave() {
	if !s.counted {
		return
	}
	s.service.stats.crowd.leave(s.client.Addr())
	s.worker.engine.shareSource(s.service.Name, s.client.Addr(), -1)
}

func (e *Engine) shareSource(service string, client netip.Addr, n int) {
	if e.ShareSource != nil {
		e.ShareSource(service, client, n)
	}
}
