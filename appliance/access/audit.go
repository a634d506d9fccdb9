package access

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"breakwater/appliance/store"
)

const (
	maxWord   = 64 // bytes of an action
	maxDetail = 500
	maxPage   = 1000 // entries at a time
)

// AuditEntry is one thing that somebody did, or tried to. Text in it prints on one line.
type AuditEntry struct {
	Number  uint64     `json:"number"` // from 1, without gaps
	Time    time.Time  `json:"time"`
	Who     string     `json:"who"` // empty: nobody who is known
	Role    Role       `json:"role"`
	Way     Way        `json:"way"`
	Addr    netip.Addr `json:"addr"`
	Action  string     `json:"action"`
	Subject string     `json:"subject"`
	Detail  string     `json:"detail"`
	Hash    string     `json:"hash"` // SHA-256 over the entry and the hash of the one before
}

// event is what the audit log is told.
type event struct{ action, subject, detail string }

// Record writes an entry to the audit log.
func (a *Access) Record(by Identity, p Peer, action, subject, detail string) error {
	return a.store.UpdateAccess(func(tx *store.AccessTx) error {
		return a.record(tx, by, p, event{action, subject, detail})
	})
}

func (a *Access) record(tx *store.AccessTx, by Identity, p Peer, e event) error {
	return tx.Append(store.AuditEntry{
		Time: a.now(), Who: clean(by.Name, maxWord), Role: string(by.Role), Way: string(by.Way), Addr: p.Addr.Unmap(),
		Action: clean(e.action, maxWord), Subject: clean(e.subject, maxDetail), Detail: clean(e.detail, maxDetail),
	})
}

// Audit lists at most limit entries, and never more than 1,000, with numbers below before; the newest first. Before 0:
// from the newest on.
func (a *Access) Audit(before uint64, limit int) ([]AuditEntry, error) {
	stored, err := a.store.Audit(before, min(limit, maxPage))
	list := make([]AuditEntry, len(stored))
	for i, e := range stored {
		list[i] = AuditEntry{e.Number, e.Time, e.Who, Role(e.Role), Way(e.Way), e.Addr, e.Action, e.Subject, e.Detail, e.Hash}
	}
	return list, err
}

// AuditCheck tells whether the audit log is as it was written; the error says where it is not.
func (a *Access) AuditCheck() error { return a.store.CheckAudit() }

const (
	failureEvery = time.Minute // for each peer
	// failuresAtOnce and then one in failureRest for all peers together: strangers with many addresses must not push
	// out what operators did.
	failuresAtOnce = 30
	failureRest    = 10 * time.Second
	maxFailed      = 1024
)

// failureLog decides which failures of strangers are written down.
type failureLog struct {
	now func() time.Time
	all *rate.Limiter

	mu   sync.Mutex
	last map[netip.Prefix]time.Time
}

func newFailureLog(now func() time.Time) *failureLog {
	return &failureLog{now: now, all: rate.NewLimiter(rate.Every(failureRest), failuresAtOnce), last: map[netip.Prefix]time.Time{}}
}

func (f *failureLog) admit(peer netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if last, known := f.last[peer]; known && now.Sub(last) < failureEvery && !now.Before(last) {
		return false
	}
	if !f.all.AllowN(now, 1) {
		return false
	}
	if len(f.last) >= maxFailed {
		clear(f.last) // the bound on all of them still holds
	}
	f.last[peer] = now
	return true
}

// recordFailure writes a failed attempt down, unless this peer or all together had one too lately.
func (a *Access) recordFailure(p Peer, action, subject, detail string) {
	if !a.failures.admit(peerOf(p.Addr)) {
		return
	}
	if err := a.Record(Identity{}, p, action, subject, detail); err != nil {
		a.log.Warn("write the audit log", "err", err)
	}
}
