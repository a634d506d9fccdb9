// Package origin chooses the origin for a new client, and knows which origins are up:
//
//	set := origin.New(log, conditions)
//	err := set.Apply(plan, ownAddresses)
//	go set.Run(ctx)                                     // checks health, resolves names
//	target, reason := set.Pool("games").Pick(client, 25565, 1)
//	defer target.Origin.Release()
//
// One owner for everything that changes slowly: the mutex of Set guards pools, names and addresses. What changes
// with every client is atomic. Pick reads a view that is never changed, only replaced, so it takes no lock.
package origin

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"breakwater/appliance/status"
)

// An origin without a health check that went down is tried with one client after a while: 10 s, then twice as
// long each time, at most 60 s.
const (
	firstRetry = 10 * time.Second
	lastRetry  = 60 * time.Second
)

// Origin is one address of an origin. It stays valid for those who hold it also when a later plan or DNS answer no
// longer has it.
type Origin struct {
	name    string // as in the plan
	address netip.Addr
	port    uint16 // of an SRV record; 0: the plan says
	key     uint64 // its identity for rendezvous hashing
	places  *places
	changed func() // tells Run that the state is another one

	born     time.Time // the zero of retryAt; never a wall clock, which may jump
	sessions atomic.Int64
	chosen   atomic.Uint64
	failed   atomic.Uint64
	portless atomic.Uint64
	portsOf  atomic.Int64 // of each source address, as told with the last of those
	hungUp   atomic.Uint64
	checks   atomic.Uint64
	failures atomic.Uint64

	onePort atomic.Bool  // it is dialled at one port, whatever the client dialled
	fall    atomic.Int64 // as in the plan
	checked atomic.Bool  // a health check decides when it is up again
	inARow  atomic.Int64 // failed connects of clients since the last that worked
	now     atomic.Pointer[state]

	toldPortless uint64    // guarded by Set.mu, as the next
	portlessAt   time.Time // when portless was last seen to have risen

	hangUps   atomic.Int64 // of it on clients to whom it had said nothing, in a row
	hangsFrom atomic.Int64 // the first of them, nanoseconds since born
	hangs     atomic.Bool  // on everybody, as it seems
	greeted   atomic.Bool  // the last of those clients began with a PROXY header

	retryAt  atomic.Int64 // nanoseconds since born
	retryGap atomic.Int64 // nanoseconds
	trying   atomic.Bool  // a client has been sent to see whether it is up again
}

// state is never changed, only replaced.
type state struct {
	up    bool
	why   string
	since time.Time // of the last change of up
}

// places counts the sessions and flows of all addresses of one origin against its limit.
type places struct {
	taken atomic.Int64
	limit atomic.Int64 // 0: none
}

func newOrigin(name string, address netip.Addr, port uint16, key uint64, p *places, changed func()) *Origin {
	o := &Origin{name: name, address: address, port: port, key: key, places: p, changed: changed, born: time.Now()}
	o.retryGap.Store(int64(firstRetry))
	o.now.Store(&state{up: true, why: "nothing has failed so far", since: o.born})
	return o
}

// Name is the origin's name in the plan. Several addresses of one DNS name share it.
func (o *Origin) Name() string { return o.name }

// Release gives back what Pick reserved. It is called once when the session or flow ends.
func (o *Origin) Release() {
	o.sessions.Add(-1)
	o.places.taken.Add(-1)
}

// Failed tells that a client's connect failed. The plan's fall of them in a row put the origin down. A refusal tells
// nothing of an origin that is dialled at the client's port: it proves that the host is up, and a client that scans closed
// ports must not be able to take it from the others.
func (o *Origin) Failed(reason status.Reason) {
	o.failed.Add(1)
	if reason == status.OriginRefused && !o.onePort.Load() {
		return
	}
	old := o.now.Load()
	if !old.up {
		o.retryFailed()
		return
	}
	n := o.inARow.Add(1)
	if n < o.fall.Load() {
		return
	}
	o.retryGap.Store(int64(firstRetry))
	o.retryAt.Store(int64(time.Since(o.born) + firstRetry))
	o.trying.Store(false)
	o.become(old, false, fmt.Sprintf("%d connects of clients failed in a row, the last with %s", n, reason))
}

// Portless tells that the box had no source port left towards the origin for a client. ports are as many as a source address has.
func (o *Origin) Portless(ports int) {
	o.portsOf.Store(int64(ports))
	o.portless.Add(1)
}

// Answered tells that a client's connect worked, or that the origin answered a datagram.
func (o *Origin) Answered() {
	if o.inARow.Load() != 0 { // the read keeps the cache line shared between cores
		o.inARow.Store(0)
	}
	if old := o.now.Load(); !old.up && !o.checked.Load() {
		o.become(old, true, "it answered a client")
	}
}

// An origin seems to hang up on everybody after so many in a row, over some time: bots of a minute do not make a warning,
// nor can they make one a second.
const (
	manyHangUps = 10
	hangUpsOver = 10 * time.Second
)

// HungUp tells that the origin ended a session soon, and had said nothing. greeted: it got a PROXY header first. Servers do
// so with a header that they do not expect, and without one that they do.
func (o *Origin) HungUp(greeted bool) {
	now := int64(time.Since(o.born))
	o.hungUp.Add(1)
	n := o.hangUps.Add(1)
	if n == 1 {
		o.hangsFrom.Store(now)
	}
	o.greeted.Store(greeted)
	if n >= manyHangUps && now-o.hangsFrom.Load() >= int64(hangUpsOver) && !o.hangs.Swap(true) {
		o.changed()
	}
}

// Spoke tells that the origin said something to a client.
func (o *Origin) Spoke() {
	if o.hangUps.Load() == 0 { // the read keeps the cache line shared between cores
		return
	}
	o.hangUps.Store(0)
	if o.hangs.Swap(false) {
		o.changed()
	}
}

// become replaces the state old. When another thread was faster its news count, and false is returned.
func (o *Origin) become(old *state, up bool, why string) bool {
	next := &state{up: up, why: why, since: old.since}
	if up != old.up {
		next.since = time.Now()
	}
	if !o.now.CompareAndSwap(old, next) {
		return false
	}
	if up != old.up {
		o.inARow.Store(0)
		o.changed()
	}
	return true
}

// usable tells whether clients may be sent there now: it is up, or it is time for a try.
func (o *Origin) usable() bool {
	return o.now.Load().up || o.retryDue()
}

func (o *Origin) retryDue() bool {
	return !o.checked.Load() && int64(time.Since(o.born)) >= o.retryAt.Load()
}

// claimRetry makes this client the try; only one of those who ask at the same time gets true.
// When nothing is heard of it, the next try is due after the same time again.
func (o *Origin) claimRetry() bool {
	due, now := o.retryAt.Load(), int64(time.Since(o.born))
	if o.checked.Load() || now < due || !o.retryAt.CompareAndSwap(due, now+o.retryGap.Load()) {
		return false
	}
	o.trying.Store(true)
	return true
}

// retryFailed doubles the time to the next try. Failures of clients that were no try say nothing new.
func (o *Origin) retryFailed() {
	if !o.trying.Swap(false) {
		return
	}
	gap := min(2*o.retryGap.Load(), int64(lastRetry))
	o.retryGap.Store(gap)
	o.retryAt.Store(int64(time.Since(o.born)) + gap)
}

// reserve takes one of the origin's places. With panic its being down does not matter.
func (o *Origin) reserve(panic bool) bool {
	if !o.places.take() {
		return false
	}
	if !panic && !o.now.Load().up && !o.claimRetry() {
		o.places.taken.Add(-1)
		return false
	}
	o.sessions.Add(1)
	o.chosen.Add(1)
	return true
}

func (p *places) full() bool {
	limit := p.limit.Load()
	return limit > 0 && p.taken.Load() >= limit
}

func (p *places) take() bool {
	for {
		n, limit := p.taken.Load(), p.limit.Load()
		if limit > 0 && n >= limit {
			return false
		}
		if p.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
