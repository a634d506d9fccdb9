package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// Five failures in 15 minutes are free, as OWASP ASVS 6.3.1 has it; then the wait doubles with each.
	freeFailures  = 5
	failureWindow = 15 * time.Minute
	firstWait     = 5 * time.Minute
	longestWait   = time.Hour
	// maxThrottled bounds the memory that strangers can take.
	maxThrottled = 4096
)

// throttle counts failures by TCP peer, and by account and peer. Headers that name another client are ignored: anyone
// can send them. Nothing is counted by account alone, so that nobody can lock an operator out from elsewhere.
type throttle struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[throttled]failures
}

// throttled is what failures are counted for.
type throttled struct {
	peer    netip.Prefix
	account string // empty: whatever the account
}

type failures struct {
	count int
	last  time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, seen: make(map[throttled]failures)}
}

// attempt is one that was admitted. It counts as failed until it is told otherwise, so that many at once are not more
// than one after the other.
type attempt struct {
	t    *throttle
	keys []throttled
}

// admit lets an attempt begin, or returns a *Throttled. Account may be empty.
func (t *throttle) admit(addr netip.Addr, account string) (attempt, error) {
	keys := []throttled{{peer: peerOf(addr)}}
	if account != "" {
		keys = append(keys, throttled{keys[0].peer, clean(account, 64)})
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	for _, key := range keys {
		f, known := t.seen[key]
		if known && now.Before(f.last) {
			f.last = now // the clock was set back; that must not make the wait longer
			t.seen[key] = f
		}
		wait = max(wait, f.wait(now))
	}
	if wait > 0 {
		return attempt{}, &Throttled{After: wait}
	}
	for _, key := range keys {
		f := t.seen[key]
		if f.forgiven(now) {
			f.count = 0
		}
		t.makeRoom(key, now)
		t.seen[key] = failures{f.count + 1, now}
	}
	return attempt{t, keys}, nil
}

// succeed forgets the failures of the peer, and of the peer with this account. Those with other accounts stay: whoever
// has one account must not get more guesses at the others for it.
func (a attempt) succeed() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	for _, key := range a.keys {
		delete(a.t.seen, key)
	}
}

// cancel takes an attempt back that was neither right nor wrong.
func (a attempt) cancel() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	for _, key := range a.keys {
		f, known := a.t.seen[key]
		if f.count--; f.count > 0 {
			a.t.seen[key] = f
		} else if known {
			delete(a.t.seen, key)
		}
	}
}

// pause is how long after its last failure the next attempt is looked at.
func (f failures) pause() time.Duration {
	if f.count < freeFailures {
		return 0
	}
	return min(firstWait<<min(f.count-freeFailures, 8), longestWait)
}

func (f failures) wait(now time.Time) time.Duration {
	return max(0, f.pause()-now.Sub(f.last))
}

func (f failures) forgiven(now time.Time) bool {
	return now.Sub(f.last) > f.pause()+failureWindow
}

// makeRoom lets go of what is forgiven when the table is full and, if that is not enough, of the oldest.
func (t *throttle) makeRoom(key throttled, now time.Time) {
	if _, known := t.seen[key]; known || len(t.seen) < maxThrottled {
		return
	}
	var oldest throttled
	var when time.Time
	for k, f := range t.seen {
		if f.forgiven(now) {
			delete(t.seen, k)
		} else if when.IsZero() || f.last.Before(when) {
			oldest, when = k, f.last
		}
	}
	if len(t.seen) >= maxThrottled {
		delete(t.seen, oldest)
	}
}

// peerOf is the IPv4 address or the IPv6 /64, which one host can have as a whole. The unix socket has the zero prefix.
func peerOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // of no address: the zero prefix
	return prefix
}
