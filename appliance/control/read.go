package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/history"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
)

// Status is the box at one moment: what is wanted, what is observed and what is wrong.
type Status struct {
	Version    string             `json:"version"`
	Started    time.Time          `json:"started"`  // of control
	Revision   uint64             `json:"revision"` // the current one; 0: none yet
	Pending    *Pending           `json:"pending,omitempty"`
	InForce    bool               `json:"inForce"` // edge runs what it should
	Conditions []health.Condition `json:"conditions"`
	Edge       *status.Edge       `json:"edge"` // null: it does not answer
}

// Status asks edge and adds what control knows. An edge that does not answer is a condition, not an error.
func (c *Control) Status(ctx context.Context) (Status, error) {
	current, err := c.store.Current()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Status{}, err
	}
	wanted, pending := c.wish()
	s := Status{Version: c.version, Started: c.started, Revision: current.Number, Pending: pending}
	if seen, err := c.edge.Status(ctx); err != nil {
		c.raiseUnreachable(err)
	} else {
		c.conditions.Clear("edge-unreachable", "")
		s.Edge = &seen
		s.InForce = wanted != nil && runs(seen, *wanted)
	}
	s.Conditions = c.conditions.List()
	if c.others != nil {
		s.Conditions = append(s.Conditions, c.others()...)
	}
	if wanted == nil && current.Number == 0 {
		s.Conditions = append(s.Conditions, health.Condition{Code: "no-settings", Severity: health.Info, Since: c.started,
			Title: "There are no settings yet", Detail: "Nothing is protected. Apply a settings document."})
	}
	if pending != nil {
		s.Conditions = append(s.Conditions, health.Condition{Code: "unconfirmed", Severity: health.Warning, Since: pending.Since,
			Title: "A change waits for its confirmation", Detail: fmt.Sprintf("%s applied it. It is reverted at %s unless it is confirmed.", pending.Author, pending.Deadline.Format(time.DateTime))})
	}
	if s.Edge != nil {
		s.Conditions = append(s.Conditions, s.Edge.Conditions...)
	}
	return s, nil
}

// Pending is the change that waits for its confirmation; nil: none does. Edge is not asked.
func (c *Control) Pending() *Pending {
	_, pending := c.wish()
	return pending
}

// Current is the newest revision; ErrNotFound while there is none.
func (c *Control) Current() (Revision, error) { return c.store.Current() }

// Revision is one revision with its document.
func (c *Control) Revision(number uint64) (Revision, error) { return c.store.Revision(number) }

// Revisions lists what is kept, the newest first, without documents.
func (c *Control) Revisions() ([]Revision, error) { return c.store.Revisions() }

// DiffBefore is what a revision changed, compared with the kept one before it. The oldest one is compared with empty
// settings.
func (c *Control) DiffBefore(number uint64) ([]settings.Change, error) {
	r, err := c.store.Revision(number)
	if err != nil {
		return nil, err
	}
	before, err := c.store.Revision(number - 1)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return settings.Diff(decodeStored(before.Document), decodeStored(r.Document)), nil
}

func (c *Control) currentSettings() (settings.Settings, error) {
	current, err := c.store.Current()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return settings.Settings{}, err
	}
	return decodeStored(current.Document), nil
}

// decodeStored reads a document that was valid when it was stored; an empty one is the empty settings.
func decodeStored(document []byte) settings.Settings {
	s, _ := settings.Decode(document)
	return s
}

// Sessions lists sessions and flows. Edge filters, sorts and cuts: only the window that q asks for comes here.
func (c *Control) Sessions(ctx context.Context, q edgelink.SessionQuery) (status.SessionList, error) {
	return c.edge.Sessions(ctx, q)
}

// RawSessions lists sessions and flows as edge wrote them, the JSON of a status.SessionList.
func (c *Control) RawSessions(ctx context.Context, q edgelink.SessionQuery) (net.Buffers, error) {
	return c.edge.RawSessions(ctx, q)
}

// Kill ends a session or flow; ErrNoSession when there is none with this id.
func (c *Control) Kill(ctx context.Context, id status.ID) error { return c.edge.Kill(ctx, id) }

// Events calls each with every event until ctx ends or each returns an error. It joins again when edge was restarted;
// what happened in between is lost.
func (c *Control) Events(ctx context.Context, each func(status.Event) error) error {
	for {
		var stop error
		err := c.edge.Events(ctx, func(e status.Event) error {
			stop = each(e)
			return stop
		})
		if stop != nil {
			return stop
		}
		if err != nil && ctx.Err() == nil {
			c.log.Debug("event stream of edge ended", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// Samples are those taken after since, the oldest first, one a second for at most an hour. While edge does not answer
// there is none.
func (c *Control) Samples(since time.Time) []history.Sample { return c.samples.Since(since) }

// Subscribe gives every sample from now on, one a second, and a function that ends it. A reader that is too slow
// misses samples. The channel is never closed.
func (c *Control) Subscribe() (<-chan history.Sample, func()) { return c.samples.Subscribe() }

// OriginHistory is when origins went up and down, the newest first, at most 500 changes since control started.
func (c *Control) OriginHistory() []history.OriginChange { return c.origins.Changes() }
