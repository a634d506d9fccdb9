package access

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"breakwater/appliance/store"
)

// maxInMemory is how many logins are kept in memory while the store cannot be written.
const maxInMemory = 64

// memory holds what a login writes and the store cannot take, because the disk is full or a newer version has written the
// store: the operator must get in just then, to see what is wrong. A restart ends it. There are the steps of TOTP codes
// in it, as a step is over after 90 seconds anyway, and no used recovery codes, which would be good again after a restart.
type memory struct {
	// writing is held by whatever stores logins, so that a code is not spent in the store and here at the same time.
	writing sync.Mutex

	mu     sync.Mutex
	logins map[store.Sum]store.Login // the store does not have
	ended  map[store.Sum]time.Time   // the store still has, and when they were ended
	steps  map[string]uint64         // of the last accepted TOTP codes, by the account's ID
}

func newMemory() *memory {
	return &memory{logins: map[store.Sum]store.Login{}, ended: map[store.Sum]time.Time{}, steps: map[string]uint64{}}
}

// unstorable tells whether the store takes nothing at all now.
func unstorable(err error) bool { return errors.Is(err, ErrNewer) || errors.Is(err, ErrNoSpace) }

// writeLogin runs write in a transaction; it returns the login that memory needs no more once that is stored. When the
// store takes nothing, it runs instead in a view, with what the store said.
func (a *Access) writeLogin(write func(*store.AccessTx) (store.Sum, error), instead func(tx *store.AccessTx, why error) error) error {
	a.memory.writing.Lock()
	defer a.memory.writing.Unlock()
	var past store.Sum
	err := a.store.UpdateAccess(func(tx *store.AccessTx) (err error) { past, err = write(tx); return err })
	if err == nil {
		a.memory.forget(past)
	}
	if !unstorable(err) {
		return err
	}
	return a.store.ViewAccess(func(tx *store.AccessTx) error { return instead(tx, err) })
}

// tellLog tells the log what the audit log cannot take.
func (a *Access) tellLog(by Identity, p Peer, e event, why error) {
	a.log.Warn("what cannot be stored now is kept until a restart", "who", by.Name, "action", e.action, "subject", e.subject, "client", p.Addr, "err", why)
}

// login finds a login in the store or else in memory; ErrNotFound when it is in neither.
func (a *Access) login(tx *store.AccessTx, sum store.Sum) (store.Login, error) {
	login, err := tx.Login(sum)
	a.memory.mu.Lock()
	defer a.memory.mu.Unlock()
	if _, ended := a.memory.ended[sum]; ended {
		return login, ErrNotFound
	}
	if kept, known := a.memory.logins[sum]; known && errors.Is(err, ErrNotFound) {
		return kept, nil
	}
	return login, err
}

// logins lists the logins of the store and of memory.
func (a *Access) logins(tx *store.AccessTx) ([]store.Login, error) {
	list, err := tx.Logins()
	if err != nil {
		return nil, err
	}
	a.memory.mu.Lock()
	defer a.memory.mu.Unlock()
	kept := maps.Clone(a.memory.logins)
	list = slices.DeleteFunc(list, func(l store.Login) bool {
		delete(kept, l.Sum) // one that was stored at last
		_, ended := a.memory.ended[l.Sum]
		return ended
	})
	return slices.AppendSeq(list, maps.Values(kept)), nil
}

// keep keeps what would have been stored. When there are too many logins, the one that was not seen for longest goes.
func (m *memory) keep(e entry, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.account.TOTP != nil {
		m.steps[e.account.ID] = e.account.TOTP.LastStep
	}
	maps.DeleteFunc(m.logins, func(_ store.Sum, l store.Login) bool { return !alive(l, now) })
	if e.old != (store.Sum{}) {
		m.endLocked(e.old, now)
	}
	if len(m.logins) >= maxInMemory {
		oldest := slices.MinFunc(slices.Collect(maps.Values(m.logins)), func(x, y store.Login) int { return x.LastSeen.Compare(y.LastSeen) })
		delete(m.logins, oldest.Sum)
	}
	m.logins[e.login.Sum] = e.login
}

// touch notes that a login in memory was seen. Those of the store stay as they are: 30 minutes later one logs in again.
func (m *memory) touch(seen store.Login) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.logins[seen.Sum]; known {
		m.logins[seen.Sum] = seen
	}
}

// isOver tells whether a login that the store still has was ended.
func (m *memory) isOver(sum store.Sum) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ended := m.ended[sum]
	return ended
}

// end ends a login wherever it is.
func (m *memory) end(sum store.Sum, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(sum, now)
}

func (m *memory) endLocked(sum store.Sum, now time.Time) {
	if _, here := m.logins[sum]; here {
		delete(m.logins, sum)
		return
	}
	maps.DeleteFunc(m.ended, func(_ store.Sum, at time.Time) bool { return now.Sub(at) > absoluteTime+clockSlack })
	m.ended[sum] = now
}

// forget lets go of a login that is stored now, or no login any more.
func (m *memory) forget(sum store.Sum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.logins, sum)
}

// lastStep adds to an account the step of a TOTP code that only memory has.
func (m *memory) lastStep(account *store.Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if step := m.steps[account.ID]; account.TOTP != nil && step > account.TOTP.LastStep {
		factor := *account.TOTP
		factor.LastStep = step
		account.TOTP = &factor
	}
}
