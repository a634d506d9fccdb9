package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/compile"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

// Errors that callers branch on. Those from ErrNotFound on are the store's.
var (
	ErrNothingPending = errors.New("no change waits for a confirmation")
	ErrNotFound       = store.ErrNotFound
	ErrNoSpace        = store.ErrNoSpace
	ErrNewer          = store.ErrNewer
)

// Invalid is a document with problems; nothing was applied or stored.
type Invalid struct{ Problems []settings.Problem }

func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return fmt.Sprintf("the settings have %d problems: %s", len(lines), strings.Join(lines, "; "))
}

// Busy is a change refused because another one waits for its confirmation.
type Busy struct {
	Pending Pending
	Left    time.Duration
}

func (e *Busy) Error() string {
	return fmt.Sprintf("a change by %s from %s waits for its confirmation for another %s; confirm it or revert it first",
		e.Pending.Author, e.Pending.Since.Format(time.DateTime), e.Left.Round(time.Second))
}

// Stale is a change made for another revision than the current one.
type Stale struct{ Base, Current uint64 }

func (e *Stale) Error() string {
	return fmt.Sprintf("the change was made for revision %d, and the current one is %d; look at what changed and try again", e.Base, e.Current)
}

// NotApplied is a change that edge or the machine did not take. The old settings are in force and stored.
type NotApplied struct{ Err error }

func (e *NotApplied) Error() string {
	return "the settings were not applied, the old ones stay: " + e.Err.Error()
}
func (e *NotApplied) Unwrap() error { return e.Err }

// NotForgotten is a change that was taken back, everywhere but on a disk that could not be written.
type NotForgotten struct {
	Deadline time.Time // of the change
	Err      error
}

func (e *NotForgotten) Error() string {
	why := e.Err.Error()
	if errors.Is(e.Err, ErrNoSpace) {
		why = "it is full" // the store says that nothing was changed, which holds for the disk only
	}
	return fmt.Sprintf("the change is taken back, and the settings before it are in force, but it could not be removed from the disk (%s): "+
		"if the box starts again before %s, it tries the change once more until then; a later start drops it",
		why, e.Deadline.Format(time.DateTime))
}
func (e *NotForgotten) Unwrap() error { return e.Err }

// Meta goes with a document.
type Meta struct {
	Author  string
	Reason  string
	Confirm time.Duration // how long to wait for Confirm before reverting; 0: committed at once
	Base    *uint64       // the revision that the change was made for; nil: whatever is current

	back bool // to the document of an older revision
}

// Result is what became of a document.
type Result struct {
	Revision  uint64 `json:"revision"`  // the current one
	Unchanged bool   `json:"unchanged"` // the document equals the current one, so no revision was made
	// Later: edge does not answer, and gets the settings as soon as it does.
	Later   bool     `json:"later,omitempty"`
	Pending *Pending `json:"pending,omitempty"`
}

// Check returns every problem of a document and, without problems, what it would change.
func (c *Control) Check(document []byte) ([]settings.Change, []settings.Problem, error) {
	s, problems := settings.Read(document)
	if len(problems) > 0 {
		return nil, problems, nil
	}
	current, err := c.currentSettings()
	if err != nil {
		return nil, nil, err
	}
	return settings.Diff(current, s), nil, nil
}

// Propose applies a document and commits it, or lets it wait for Confirm. The errors are *Invalid, *Busy, *Stale,
// *NotApplied and those of the store; after each the settings before are in force.
func (c *Control) Propose(ctx context.Context, document []byte, m Meta) (Result, error) {
	s, problems := settings.Read(document)
	if len(problems) > 0 {
		return Result{}, &Invalid{problems}
	}
	if m.Confirm != 0 && (m.Confirm < MinConfirm || m.Confirm > MaxConfirm) {
		return Result{}, &Invalid{[]settings.Problem{{Text: fmt.Sprintf("a change can wait %s to %s for its confirmation, not %s", MinConfirm, MaxConfirm, m.Confirm)}}}
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	defer c.wakeRun()
	current, err := c.admit(m.Base)
	if err != nil {
		return Result{}, err
	}
	// Whoever changes settings that this version cannot read changes what it cannot show. To go back to an older
	// revision is a choice, and the newer one is kept.
	if settings.Newer(current.Document) && !m.back {
		return Result{}, ErrNewer
	}
	document = settings.Encode(s)
	if err := c.refuseCondemned(document); err != nil {
		return Result{}, err
	}
	if bytes.Equal(document, current.Document) {
		return Result{Revision: current.Number, Unchanged: true}, nil
	}
	now := c.now()
	candidate := store.Candidate{Base: current.Number, Author: m.Author, Reason: m.Reason, Time: now, Document: document}
	if m.Confirm > 0 {
		candidate.Deadline = now.Add(m.Confirm)
	}
	return c.apply(ctx, candidate, s)
}

// admit refuses a change while another one waits, or when it was made for another revision.
func (c *Control) admit(base *uint64) (Revision, error) {
	if _, pending := c.wish(); pending != nil {
		return Revision{}, &Busy{*pending, max(0, pending.Deadline.Sub(c.now()))}
	}
	current, err := c.store.Current()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Revision{}, err
	}
	if base != nil && *base != current.Number {
		return Revision{}, &Stale{*base, current.Number}
	}
	return current, nil
}

// apply takes a candidate through the machine and edge to the store. The machine is first, as edge needs the interfaces
// of the new settings; and after it edge puts back what of its own the change of an interface took along. The caller holds
// changing.
func (c *Control) apply(ctx context.Context, candidate store.Candidate, s settings.Settings) (Result, error) {
	p := compile.Compile(candidate.Base+1, s)
	// From here a client that goes away must not leave edge and the store apart.
	ctx = context.WithoutCancel(ctx)
	pending, err := c.pendingOf(candidate)
	if err != nil {
		return Result{}, err
	}
	used := c.crashes.Work()
	c.use(candidate.Base+1, candidate.Document)
	if err := c.store.SetCandidate(candidate); err != nil {
		c.crashes.Begin(used)
		return Result{}, err
	}
	old, _ := c.wish()
	if err := c.changeNetwork(ctx, s); err != nil {
		c.crashes.Begin(used)
		return Result{}, c.undo(ctx, old, candidate.Base, &NotApplied{err})
	}
	err = c.edge.Apply(ctx, p)
	later := errors.Is(err, edgelink.ErrUnreachable) && c.wasCommitted(candidate.Document)
	if err != nil && !later {
		c.crashes.Begin(used)
		return Result{}, c.undo(ctx, old, candidate.Base, &NotApplied{err})
	}
	c.conditions.Clear(takenBack, "")
	if !candidate.Deadline.IsZero() {
		pending.Since = c.now() // edge may have taken long, and who connected meanwhile came by the old settings
		c.want(&p, pending)
		c.log.Info("settings applied, waiting for the confirmation", "author", candidate.Author, "deadline", candidate.Deadline)
		return Result{Revision: candidate.Base, Pending: pending, Later: later}, nil
	}
	r, err := c.commit(candidate)
	if err != nil {
		c.crashes.Begin(used)
		return Result{}, c.undo(ctx, old, candidate.Base, err)
	}
	c.want(&p, nil)
	return Result{Revision: r.Number, Later: later}, nil
}

// wasCommitted tells whether a document is that of a kept revision. Such a one may be committed without edge: it has
// worked before, and going back to it may be what brings edge back. Run hands it to edge.
func (c *Control) wasCommitted(document []byte) bool {
	list, err := c.store.Revisions()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(r Revision) bool {
		r, err := c.store.Revision(r.Number)
		return err == nil && bytes.Equal(r.Document, document)
	})
}

// undo brings back what machine and edge ran before and forgets the candidate. It returns why, and what went wrong on top of it.
func (c *Control) undo(ctx context.Context, old *plan.Plan, base uint64, why error) error {
	if old == nil && base == 0 {
		old = nothing()
	}
	c.want(old, nil)
	err := c.store.ClearCandidate()
	if err != nil {
		c.log.Error("forget the candidate", "err", err) // a candidate without a deadline, or stale, is dropped at the next start
	}
	c.restoreNetwork(ctx)
	if old == nil {
		return why
	}
	if err := c.edge.Apply(ctx, *old); err != nil && !errors.Is(why, edgelink.ErrUnreachable) {
		c.raiseRefused(err) // Run goes on trying
	}
	return why
}

// commit makes a candidate that edge runs the current revision.
func (c *Control) commit(candidate store.Candidate) (Revision, error) {
	r, err := c.store.Commit(Revision{Author: candidate.Author, Reason: candidate.Reason, Time: c.now().UTC(), Document: candidate.Document})
	if err == nil {
		c.conditions.Clear("settings-unusable", "")
		c.conditions.Clear(condemned, "")
		c.log.Info("settings committed", "rev", r.Number, "author", r.Author, "reason", r.Reason)
	}
	return r, err
}

// Confirm commits the candidate that waits.
func (c *Control) Confirm(_ context.Context) (Result, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	wanted, pending := c.wish()
	if pending == nil || !c.now().Before(pending.Deadline) {
		return Result{}, ErrNothingPending // a late one is about to be reverted by Run
	}
	candidate, err := c.store.Candidate()
	if err != nil {
		return Result{}, err
	}
	r, err := c.commit(candidate)
	if err != nil {
		return Result{}, err
	}
	c.want(wanted, nil)
	return Result{Revision: r.Number}, nil
}

// Revert takes back the candidate that waits. After a *NotForgotten it is taken back as well.
func (c *Control) Revert(ctx context.Context, why string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	defer c.wakeRun()
	_, pending := c.wish()
	if pending == nil {
		return ErrNothingPending
	}
	// Edge first in memory: a full disk must not keep settings in force that lock the operator out.
	if err := c.wantReverted(pending.Base); err != nil {
		return err
	}
	c.log.Warn("a candidate is reverted", "rev", pending.Base, "author", pending.Author, "reason", why)
	var forgotten error
	if err := c.store.ClearCandidate(); err != nil {
		forgotten = &NotForgotten{pending.Deadline, err}
	}
	ctx = context.WithoutCancel(ctx)
	c.restoreNetwork(ctx)
	wanted, _ := c.wish()
	if wanted != nil {
		if err := c.edge.Apply(ctx, *wanted); err != nil {
			c.raiseRefused(err) // Run goes on trying
		}
	}
	return forgotten
}

// Rollback proposes the document of an older revision.
func (c *Control) Rollback(ctx context.Context, number uint64, m Meta) (Result, error) {
	r, err := c.store.Revision(number)
	if err != nil {
		return Result{}, err
	}
	if m.Reason == "" {
		m.Reason = fmt.Sprintf("roll back to revision %d", number)
	}
	m.back = true
	return c.Propose(ctx, r.Document, m)
}

// wakeRun lets Run look at once instead of at its next second.
func (c *Control) wakeRun() {
	select {
	case c.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}
