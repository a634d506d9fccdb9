// Package control changes the settings and keeps edge on them. It is what the API calls, and knows no HTTP of its own
// besides that of the edge socket:
//
//	c, err := control.New(control.Options{Store: s, Edge: edgelink.New("/run/breakwater/edge.sock")})
//	go c.Run(ctx)
//	result, err := c.Propose(ctx, document, control.Meta{Author: "anna", Reason: "new pool", Confirm: time.Minute})
//	err = c.Confirm(ctx, "anna")
//
// A change goes one way: validated as a whole, stored as the candidate, compiled, applied by edge, committed as a
// revision. Whatever fails on the way, edge runs the current revision again and the store says so. A change that waits
// for its confirmation is the candidate until then; nobody confirming it, it is reverted, also after a crash.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"breakwater/appliance/compile"
	"breakwater/appliance/crash"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/history"
	"breakwater/appliance/host"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

// How long a change may wait for its confirmation.
const (
	MinConfirm = 5 * time.Second
	MaxConfirm = 24 * time.Hour
)

// Revision is a committed settings document.
type Revision = store.Revision

// Options are what a Control is made of.
type Options struct {
	Store   *store.Store
	Report  store.Report // of opening the store
	Edge    *edgelink.Link
	Log     *slog.Logger     // nil: none
	Now     func() time.Time // nil: time.Now
	Version string           // of this program, for the status
	// Conditions are those of what control does not know, such as certificates; nil: none.
	Conditions func() []health.Condition
	// Records are the last ones of the log of this process; nil: none are kept.
	Records func() []logs.Record
	// Host is the machine, where it is all Breakwater's; nil: it is not.
	Host *host.Host
	// Crashes are those of this process over documents; nil: they are not counted.
	Crashes *crash.Ledger
	// Update is how the machine comes to another version.
	Update UpdateOptions
	// Machine is its network; nil: somebody else's.
	Machine *Machine
	// DialAlert connects to who is told of incidents; nil: over the network, and to no address of the box or of a special kind.
	DialAlert func(ctx context.Context, network, address string) (net.Conn, error)
	// Lists is where lists, and files about countries and networks, are kept.
	Lists ListOptions
}

// Control is the one place where settings change. It is safe for concurrent use.
type Control struct {
	store      *store.Store
	edge       *edgelink.Link
	log        *slog.Logger
	now        func() time.Time
	version    string
	started    time.Time
	conditions health.Set
	others     func() []health.Condition
	records    func() []logs.Record
	samples    history.Samples
	origins    history.Origins
	bans       bans
	incidents  incidents
	alerts     alerts
	watcher    *watcher // only Run uses it
	host       *host.Host
	crashes    *crash.Ledger
	updates    *updates
	lists      *listKeeper
	readClock  func() (host.Clock, error)
	clockAlone time.Time // since when nothing keeps the clock; zero: something does. Only Run uses it
	diskFree   func() (int64, error)

	changing sync.Mutex // one change at a time; taken before mu
	network  network
	wake     chan struct{}

	mu      sync.Mutex
	wanted  *plan.Plan // what edge should run; nil: nothing was ever set, leave edge alone
	pending *Pending
	// takenBackUntil is when the condition of a change that nobody kept ends.
	takenBackUntil time.Time

	management management
}

// Pending is a candidate that edge runs and that waits for its confirmation.
type Pending struct {
	Base     uint64    `json:"base"` // the revision that a revert brings back; 0: none
	Author   string    `json:"author"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`
	// Changes are what it changes in the revision that a revert brings back.
	Changes []settings.Change `json:"changes"`
}

// New reads the store and takes up what a crash or restart interrupted: a candidate inside its window goes on waiting,
// any other is dropped. Nothing reaches edge before Run or Propose.
func New(o Options) (*Control, error) {
	c := &Control{store: o.Store, edge: o.Edge, log: o.Log, now: o.Now, version: o.Version,
		records: o.Records, others: o.Conditions, host: o.Host, readClock: host.ReadClock, diskFree: o.Store.Free, network: network{machine: o.Machine}, crashes: o.Crashes, wake: make(chan struct{}, 1)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.started = c.now()
	c.updates = newUpdates(c, o.Update)
	c.lists = newListKeeper(c, o.Lists)
	c.reportStore(o.Report)
	if err := c.loadBans(); err != nil {
		return nil, err
	}
	c.alerts.sender.Report, c.alerts.dial = c.reportAlert, o.DialAlert
	if c.alerts.dial == nil {
		c.alerts.dial = (&net.Dialer{Timeout: dialWait, ControlContext: c.guard(nothingSent)}).DialContext
	}
	var err error
	if c.watcher, err = newWatcher(c); err != nil {
		return nil, err
	}
	if err := c.resume(); err != nil {
		return nil, err
	}
	return c, nil
}

// resume decides what edge should run.
func (c *Control) resume() error {
	candidate, err := c.store.Candidate()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return c.wantCurrent()
	case err != nil:
		return err
	case c.remaining(candidate) <= 0:
		return c.drop(candidate)
	case c.isCondemned(candidate.Document):
		return c.drop(candidate)
	}
	c.use(candidate.Base+1, candidate.Document)
	p, err := planOf(candidate.Base+1, candidate.Document)
	if err != nil {
		c.log.Error("the candidate cannot be used", "err", err)
		return c.drop(candidate)
	}
	pending, err := c.pendingOf(candidate)
	if err != nil {
		return err
	}
	now := c.now()
	if pending.Since.After(now) {
		pending.Since = now // the clock was set back, and no connection could count as younger
	}
	pending.Deadline = now.Add(c.remaining(candidate))
	c.want(&p, pending)
	c.log.Info("a candidate goes on waiting for its confirmation", "deadline", candidate.Deadline)
	return nil
}

// drop forgets a candidate that nobody may confirm any more.
func (c *Control) drop(candidate store.Candidate) error {
	c.log.Warn("an unconfirmed candidate is reverted", "rev", candidate.Base, "author", candidate.Author)
	if err := c.store.ClearCandidate(); err != nil && !errors.Is(err, store.ErrNewer) {
		return err
	}
	if !candidate.Deadline.IsZero() {
		c.tellTakenBack(candidate.Author, candidate.Base)
	}
	return c.wantReverted(candidate.Base)
}

// remaining is how much of a candidate's window is left. A clock that was set back must not make the window longer
// than it was.
func (c *Control) remaining(candidate store.Candidate) time.Duration {
	if candidate.Deadline.IsZero() {
		return 0
	}
	return min(candidate.Deadline.Sub(c.now()), candidate.Deadline.Sub(candidate.Time))
}

// wantCurrent makes the newest revision what edge should run.
func (c *Control) wantCurrent() error {
	current, err := c.store.Current()
	if errors.Is(err, store.ErrNotFound) {
		c.useNothing()
		c.want(nil, nil)
		return nil
	}
	if err != nil {
		return err
	}
	if c.isCondemned(current.Document) {
		c.useNothing()
		c.want(nil, nil)
		return nil
	}
	c.use(current.Number, current.Document)
	p, err := planOf(current.Number, current.Document)
	if err != nil {
		// Edge keeps its own copy of the last plan, so the players are served while an operator reads this.
		c.conditions.Raise(health.Condition{Code: "settings-unusable", Severity: health.Critical,
			Title:  fmt.Sprintf("Revision %d cannot be used", current.Number),
			Detail: fmt.Sprintf("%v. The data plane keeps its last plan. Apply corrected settings or roll back to another revision.", err)})
		c.want(nil, nil)
		return nil
	}
	c.conditions.Clear("settings-unusable", "")
	c.want(&p, nil)
	return nil
}

// wantReverted brings back revision base; without one, edge must let go of everything that the candidate opened.
func (c *Control) wantReverted(base uint64) error {
	if base == 0 {
		c.useNothing()
		c.want(nothing(), nil)
		return nil
	}
	return c.wantCurrent()
}

// nothing is the plan of empty settings.
func nothing() *plan.Plan {
	p := compile.Compile(0, settings.Settings{})
	return &p
}

func (c *Control) want(p *plan.Plan, pending *Pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted, c.pending = p, pending
}

func (c *Control) wish() (*plan.Plan, *Pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted, c.pending
}

// planOf compiles a stored document. Its problems are those of a document that was sound for another version.
func planOf(number uint64, document []byte) (plan.Plan, error) {
	s, problems := settings.Read(document)
	if len(problems) > 0 {
		return plan.Plan{}, &Invalid{problems}
	}
	return compile.Compile(number, s), nil
}

func (c *Control) pendingOf(candidate store.Candidate) (*Pending, error) {
	base, err := c.store.Revision(candidate.Base)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	changes := settings.Diff(decodeStored(base.Document), decodeStored(candidate.Document))
	return &Pending{candidate.Base, candidate.Author, candidate.Reason, candidate.Time, candidate.Deadline, changes}, nil
}

// reportStore tells what opening the store brought to light.
func (c *Control) reportStore(r store.Report) {
	if r.Restored > 0 {
		c.log.Warn("revisions were taken from their plain files", "restored", r.Restored)
	}
	if r.Damaged != "" {
		c.conditions.Raise(health.Condition{Code: "store-restored", Severity: health.Warning,
			Title: "The stored settings were damaged and restored",
			Detail: fmt.Sprintf("%s. %d revisions and %d accounts were restored from their plain files; API tokens, logins, bans, the audit log "+
				"and a change that waited for its confirmation are lost. Create the tokens and bans again and check the disk. "+
				"The damaged file is kept as %s.", r.Why, r.Restored, r.Accounts, r.Damaged)})
	}
	if r.AccountsLost != "" {
		c.conditions.Raise(health.Condition{Code: "accounts-lost", Severity: health.Critical, Title: "The accounts could not be restored",
			Detail: "Both copies are damaged. Whoever has the setup code that the console shows can claim the box again. The damaged file is kept as " + r.AccountsLost + "."})
	}
	for _, name := range r.Unusable {
		c.conditions.Raise(health.Condition{Code: "revision-lost", Subject: name, Severity: health.Warning,
			Title: "A revision could not be restored", Detail: "Its plain file is damaged too. Check the disk, then remove the file."})
	}
}

// Run keeps edge on what it should run, and reverts a candidate at its deadline, until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	keeper := keeper{c: c}
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { c.updates.run(ctx) })
	defer c.endAlerts()
	defer c.watcher.saveLearned()
	work.Go(func() { c.lists.refresh(ctx) })
	work.Go(func() { c.lists.keepTable(ctx) })
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		c.revertExpired(ctx)
		c.forgetTakenBack()
		c.checkClock()
		c.checkDisk()
		c.keepAlerts(ctx)
		keeper.check(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-c.wake:
		}
	}
}

// revertExpired reverts the candidate when its window is over.
func (c *Control) revertExpired(ctx context.Context) {
	_, pending := c.wish()
	if pending == nil || c.now().Before(pending.Deadline) {
		return
	}
	err := c.Revert(ctx, "nobody confirmed it")
	if _, reverted := errors.AsType[*NotForgotten](err); err == nil || reverted {
		c.tellTakenBack(pending.Author, pending.Base)
	}
	if err != nil && !errors.Is(err, ErrNothingPending) {
		c.log.Error("revert the unconfirmed candidate", "err", err)
	}
}
