package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
)

const (
	consoleReason = "console"
	listedBack    = 10 // revisions
)

// current is the settings in force and their revision; the empty settings before the first. What waits for its
// confirmation is taken back first, if whoever is here wants that.
func (m *menu) current(ctx context.Context) (settings.Settings, uint64, error) {
	none := settings.Settings{Schema: settings.Schema}
	if err := m.takeBack(ctx); err != nil {
		return none, 0, err
	}
	var s control.Status
	if err := m.box.get(ctx, "/api/v1/status", &s); err != nil {
		return none, 0, err
	}
	if s.Revision == 0 {
		return none, 0, nil
	}
	document, err := m.document(ctx, s.Revision)
	if err != nil {
		return none, 0, err
	}
	now, problems := settings.Decode(document)
	if len(problems) > 0 {
		return none, 0, errors.New("this version cannot read the settings in force; roll back to others")
	}
	return now, s.Revision, nil
}

func (m *menu) document(ctx context.Context, revision uint64) (document []byte, err error) {
	err = m.box.get(ctx, fmt.Sprintf("/api/v1/revisions/%d", revision), &document)
	return document, err
}

// takeBack offers to revert the change that waits, while which no other can be made.
func (m *menu) takeBack(ctx context.Context) error {
	var s control.Status
	if err := m.box.get(ctx, "/api/v1/status", &s); err != nil || s.Pending == nil {
		return err
	}
	m.say("A change by %s waits for its confirmation until %s. Nothing else can be changed before it is taken back:",
		s.Pending.Author, s.Pending.Deadline.UTC().Format("15:04:05 UTC"))
	printChanges(&env{stdout: m.out}, s.Pending.Changes)
	if err := m.sure(ctx, "revert", "take it back"); err != nil {
		return err
	}
	if err := m.box.call(ctx, http.MethodPost, "/api/v1/settings/revert", nil, nil, nil); err != nil {
		return err
	}
	m.say("It is taken back.\n")
	return nil
}

// apply shows in words what a document changes, and applies it at once: who is here cannot be cut off.
func (m *menu) apply(ctx context.Context, revision uint64, document []byte, commit func(*client) (control.Result, error)) error {
	var check api.Check
	if err := m.box.call(ctx, http.MethodPut, "/api/v1/settings", url.Values{"check": {"true"}}, document, &check); err != nil {
		return err
	}
	m.say("")
	out := &env{stdout: m.out}
	printChanges(out, check.Changes)
	if len(check.Changes) == 0 {
		return nil
	}
	if err := m.sure(ctx, "yes", "apply this at once"); err != nil {
		return err
	}
	result, err := commit(m.box.onRevision(revision))
	if err != nil {
		return err
	}
	printResult(out, result)
	return nil
}

// applySettings applies a draft made on a revision.
func (m *menu) applySettings(ctx context.Context, revision uint64, draft settings.Settings) error {
	document := settings.Encode(draft)
	return m.apply(ctx, revision, document, func(box *client) (result control.Result, err error) {
		err = box.call(ctx, http.MethodPut, "/api/v1/settings", metaQuery(consoleReason, 0), document, &result)
		return result, err
	})
}

// rollBack applies the settings of an older revision again.
func (m *menu) rollBack(ctx context.Context) error {
	if err := m.takeBack(ctx); err != nil {
		return err
	}
	var list []control.Revision
	if err := m.box.get(ctx, "/api/v1/revisions", &list); err != nil {
		return err
	}
	if len(list) < 2 {
		return errors.New("there are no older settings")
	}
	now, older := list[0].Number, list[1:min(len(list), listedBack+1)]
	t := newTable("", "REVISION", "TIME (UTC)", "AUTHOR", "REASON")
	names := make([]string, len(older))
	for i, r := range older {
		names[i] = fmt.Sprint("revision ", r.Number)
		t.row(fmt.Sprint(i+1), fmt.Sprint(r.Number), r.Time.UTC().Format(time.DateTime), r.Author, r.Reason)
	}
	m.say("Revision %s is in force. What was before:\n", fmt.Sprint(now))
	if err := t.print(m.out); err != nil {
		return err
	}
	m.say("")
	i, err := m.pick(ctx, "Number in the first column", names)
	if err != nil {
		return err
	}
	back := older[i].Number
	document, err := m.document(ctx, back)
	if err != nil {
		return err
	}
	return m.apply(ctx, now, document, func(box *client) (result control.Result, err error) {
		reason := fmt.Sprintf("%s: back to revision %d", consoleReason, back)
		err = box.call(ctx, http.MethodPost, fmt.Sprintf("/api/v1/revisions/%d/rollback", back), metaQuery(reason, 0), nil, &result)
		return result, err
	})
}
