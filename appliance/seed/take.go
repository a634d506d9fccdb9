package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
)

const (
	// takeEvery is how often control looks for a seed.
	takeEvery = time.Second
	// againEvery is how often settings are tried again that edge refuses: a network port may come late.
	againEvery = 10 * time.Second
	// toldFor is how long it is told what became of a seed.
	toldFor = time.Hour
)

const (
	conditionTaken  = "seed-taken"  // what became of one
	conditionWaits  = "seed-waits"  // one that cannot be applied yet
	conditionNotice = "seed-notice" // what the root helper found
)

// Taker is control's side: it applies the seed that the root helper hands over, and tells what became of it. Accounts
// come first, in one transaction that claims the box: settings that this machine's network cannot have leave a box that
// its owner can reach and put right. A crash at any moment is made good by doing the same again, as accounts and settings
// that are there already are not made twice.
type Taker struct {
	Dir     string // control's, where the root helper puts files
	Control *control.Control
	Access  *access.Access
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now

	conditions health.Set

	base    *uint64 // the revision before the seed; nil: not looked at yet
	notYet  time.Time
	toldAt  time.Time
	mu      sync.Mutex // guards what follows
	notices []health.Condition
}

// Run takes seeds until ctx ends.
func (t *Taker) Run(ctx context.Context) error {
	ticker := time.NewTicker(takeEvery)
	defer ticker.Stop()
	for {
		t.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Conditions are what there is to tell of seeds.
func (t *Taker) Conditions() []health.Condition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Concat(t.conditions.List(), t.notices)
}

func (t *Taker) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

// look is done each second.
func (t *Taker) look(ctx context.Context) {
	t.readNotice()
	if t.now().Sub(t.toldAt) > toldFor {
		t.conditions.Clear(conditionTaken, "")
	}
	var h Handed
	err := take(t.Dir, handedFile, &h)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errHanded):
		t.over(h, health.Critical, "A seed file was not applied", sentence(err)+". Nothing was changed.")
	case err != nil:
		t.waits(err)
	case t.now().Before(t.notYet):
	default:
		t.take(ctx, h)
	}
}

// take applies a seed as far as it can be now.
func (t *Taker) take(ctx context.Context, h Handed) {
	s, problems := Read(h.Seed)
	if len(problems) > 0 { // the helper has found none: it was another version's, before an update
		t.over(h, health.Critical, "A seed file was not applied", "What is wrong: "+(&Invalid{problems}).Error()+". Nothing was changed.")
		return
	}
	if err := t.lookAtBase(); err != nil {
		t.waits(err)
		return
	}
	err := t.Access.Seed(s.Accounts, h.From)
	if errors.Is(err, access.ErrClaimed) {
		t.over(h, health.Warning, "A seed file was not applied", "This box has got an owner before it. Nothing was changed.")
		return
	}
	if err != nil {
		t.waits(err)
		return
	}
	r, err := t.Control.Propose(ctx, s.Settings, control.Meta{Author: "seed", Reason: "seed file on " + h.From, Base: t.base})
	if stale, ok := errors.AsType[*control.Stale](err); ok {
		t.over(h, health.Warning, "The settings of a seed file were not applied",
			fmt.Sprintf("Its accounts were made. Revision %d came before its settings could be applied, and stays.", stale.Current))
		return
	}
	if err != nil {
		if !errors.Is(err, edgelink.ErrUnreachable) {
			t.notYet = t.now().Add(againEvery)
		}
		t.waits(err)
		return
	}
	if !r.Unchanged { // by a take before a crash, or before a disk that could not forget the file
		if err := t.Access.RecordSeed("settings-change", fmt.Sprintf("revision %d", r.Revision), "seed file on "+h.From); err != nil {
			t.Log.Error("write the audit log", "err", err)
		}
	}
	t.over(h, health.Info, "The seed file was applied", fmt.Sprintf("Seed: applied from %s at %s: accounts %d, settings as revision %d.",
		h.From, t.now().UTC().Format("2006-01-02 15:04:05 UTC"), len(s.Accounts), r.Revision))
}

// lookAtBase notes what the settings of the seed take the place of, so that they do not take that of its owner's.
func (t *Taker) lookAtBase() error {
	if t.base != nil {
		return nil
	}
	current, err := t.Control.Current()
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		return err
	}
	t.base = &current.Number
	return nil
}

// waits tells why a seed is not applied yet.
func (t *Taker) waits(err error) {
	t.conditions.Raise(health.Condition{Code: conditionWaits, Severity: health.Warning, Title: "A seed file is not applied yet",
		Detail: sentence(err) + ". It is tried again. Applying other settings ends that."})
}

// over forgets the seed and tells what became of it.
func (t *Taker) over(h Handed, severity health.Severity, title, detail string) {
	if err := forget(t.Dir, handedFile); err != nil {
		t.notYet = t.now().Add(againEvery)
		t.waits(err)
		return
	}
	t.Log.Info("a seed file is done with", "from", h.From, "title", title, "detail", detail)
	t.base, t.notYet, t.toldAt = nil, time.Time{}, t.now()
	t.conditions.Clear(conditionWaits, "")
	t.conditions.Clear(conditionTaken, "") // another one is told with its own time
	t.conditions.Raise(health.Condition{Code: conditionTaken, Severity: severity, Title: title, Detail: detail})
}

// readNotice takes up what the root helper tells, and drops it when the box has had an owner for a while.
func (t *Taker) readNotice() {
	var n Notice
	err := take(t.Dir, noticeFile, &n)
	var list []health.Condition
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.Log.Error("read what the seed helper tells", "err", err)
	case t.Access.Claimed() && t.now().Sub(n.Time) > toldFor:
		if err := forget(t.Dir, noticeFile); err != nil {
			t.Log.Error("forget what the seed helper tells", "err", err)
		}
	default:
		list = []health.Condition{{Code: conditionNotice, Severity: health.Warning, Title: n.Title, Detail: n.Detail, Since: n.Time}}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notices = list
}

// sentence is an error with a capital at its beginning.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
