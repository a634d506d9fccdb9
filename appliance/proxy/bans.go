package proxy

import (
	"net/netip"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// banList is the bans in force. It is immutable; SetBans replaces it as a whole, and nil is no bans at all, so that a
// box without bans pays one load for a new client. Datagrams of existing flows pay nothing ever: a ban ends the flow.
type banList struct {
	until   map[netip.Prefix]time.Time // zero: for ever
	lengths plan.Lengths
}

// newBanList normalises prefixes. Of two bans of one prefix the one that ends later counts.
func newBanList(bans []plan.Ban) *banList {
	if len(bans) == 0 {
		return nil
	}
	l := &banList{until: make(map[netip.Prefix]time.Time, len(bans))}
	for _, b := range bans {
		p := plan.NormalPrefix(b.Prefix)
		if old, twice := l.until[p]; twice && (old.IsZero() || !b.Until.IsZero() && old.After(b.Until)) {
			continue
		}
		l.until[p] = b.Until
		l.lengths.Add(p)
	}
	return l
}

// has tells whether addr is banned now. A ban that is over has no effect any more; control takes it off the list.
func (l *banList) has(addr netip.Addr) bool {
	if l == nil {
		return false
	}
	return l.lengths.Within(addr, func(p netip.Prefix) bool {
		until, listed := l.until[p]
		return listed && !(plan.Ban{Until: until}).Over(time.Now())
	})
}

// SetBans replaces the list of bans, and returns when the sessions and flows of banned clients are ended.
func (e *Engine) SetBans(bans []plan.Ban) {
	list := newBanList(bans)
	e.bans.Store(list)
	if list == nil {
		return
	}
	// Who comes after the Store is refused at the door, so one pass is enough. Workers are asked block by block, so that
	// traffic goes on in between.
	for _, w := range e.workers {
		for n, more := 0, true; more; n++ {
			more = false
			w.ask(func() { more = w.endBanned(list, n) })
		}
	}
}

// endBanned ends the banned of block n of sessions and of flows, and reports whether there is another.
func (w *worker) endBanned(list *banList, n int) bool {
	if n < len(w.sessions.blocks) {
		w.sessions.each(n, func(_ uint32, s *session) {
			if list.has(s.client.Addr()) || s.upstream != nil && list.has(s.upstream.peer.Addr()) {
				s.finish(status.Banned, abort)
			}
		})
	}
	if n < len(w.flows.blocks) {
		w.flows.each(n, func(_ uint32, f *flow) {
			if list.has(f.client.Addr()) {
				w.endFlow(f, status.Banned)
			}
		})
	}
	return n+1 < max(len(w.sessions.blocks), len(w.flows.blocks))
}

// turnAway resets an accepted client that is not to be answered.
func (w *worker) turnAway(fd int32, client netip.AddrPort, reason status.Reason) {
	record := status.Session{Protocol: plan.TCP, Client: client}
	if w.engine.events.wanted() {
		record.Edge = localAddr(int(fd))
	}
	w.refuse(record, reason)
	resetOnClose(fd)
	closeFD(fd)
}
