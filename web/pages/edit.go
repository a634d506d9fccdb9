package pages

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
	"breakwater/web/caller"
)

// confirmWait is how long a change that can cut the operator off waits to be kept.
const confirmWait = time.Minute

// maxReason bounds the reason of a change, in bytes.
const maxReason = 500

// reviewView tells in words what a form would change, before anything is.
type reviewView struct {
	Document string // the whole new settings, sent back by the Apply button
	Base     uint64 // the revision that the form was made for
	Back     string // the page of the form
	Changes  []settings.Change
	Cuts     bool // the change can cut the operator off and must be kept within a minute
	Reason   string
}

// current is the settings in force and their revision; the empty settings before the first.
func (p *Pages) current() (settings.Settings, uint64, error) {
	r, err := p.Control.Current()
	if errors.Is(err, control.ErrNotFound) {
		return settings.Settings{Schema: settings.Schema}, 0, nil
	}
	if err != nil {
		return settings.Settings{}, 0, err
	}
	s, problems := settings.Decode(r.Document)
	if len(problems) > 0 {
		return s, r.Number, &control.Invalid{Problems: problems}
	}
	return s, r.Number, nil
}

// readable is the settings in force as far as they can be read: what an older or newer program wrote can be compared and
// replaced all the same.
func (p *Pages) readable() (settings.Settings, uint64, error) {
	s, number, err := p.current()
	if _, invalid := errors.AsType[*control.Invalid](err); invalid {
		err = nil
	}
	return s, number, err
}

// sent is how every form of the settings begins: what was typed, the revision that the form was opened at, and the
// settings in force now, on which what was typed is put.
func (p *Pages) sent(c echo.Context) (values url.Values, base uint64, now settings.Settings, err error) {
	if values, err = c.FormParams(); err != nil {
		return nil, 0, now, err
	}
	if base, err = strconv.ParseUint(values.Get("base"), 10, 64); err != nil {
		return nil, 0, now, badForm("The page that sent this is not from here. Open it again.")
	}
	now, _, err = p.current()
	return values, base, now, err
}

// review is how every form of the settings ends: it shows what draft would change, and the button that applies it. The
// problems that the form has found, else those of the whole document, come back to the caller, which shows its form again
// with them; without any, the request is answered.
func (p *Pages) review(c echo.Context, found []settings.Problem, draft settings.Settings, base uint64, back string) ([]settings.Problem, error) {
	if len(found) > 0 {
		return found, nil
	}
	if problems := draft.Validate(); len(problems) > 0 {
		return problems, nil
	}
	now, number, err := p.readable()
	if err != nil {
		return nil, err
	}
	if base != number {
		return nil, p.notApplied(c, draft, back, &control.Stale{Base: base, Current: number})
	}
	view := reviewView{Document: string(settings.Encode(draft)), Base: base, Back: back,
		Changes: settings.Diff(now, draft), Cuts: settings.Dangerous(now, draft), Reason: c.FormValue("reason")}
	return nil, p.render(c, http.StatusOK, "review", view)
}

// Apply carries out what the review page showed.
func (p *Pages) Apply(c echo.Context) error {
	base, err := strconv.ParseUint(c.FormValue("base"), 10, 64)
	if err != nil {
		return badForm("The page that sent this is not from here. Open it again.")
	}
	back := localPath(c.FormValue("back"))
	now, _, err := p.readable()
	if err != nil {
		return err
	}
	draft, problems := settings.Decode([]byte(c.FormValue("document")))
	if len(problems) > 0 {
		return &control.Invalid{Problems: problems}
	}
	who := caller.Of(c.Request().Context())
	meta := control.Meta{Author: who.Name, Reason: bounded(c.FormValue("reason")), Base: &base}
	if settings.Dangerous(now, draft) || c.FormValue("confirm") == "on" {
		meta.Confirm = confirmWait
	}
	result, err := p.Control.Propose(c.Request().Context(), settings.Encode(draft), meta)
	if err != nil {
		return p.notApplied(c, draft, back, err)
	}
	p.record(c, "settings", "apply", "revision "+strconv.FormatUint(result.Revision, 10)+" "+meta.Reason)
	return p.applied(c, result, back)
}

// applied ends the connection where a change waits: the browser has to reach the box on a new one to keep it.
func (p *Pages) applied(c echo.Context, result control.Result, back string) error {
	if result.Pending != nil {
		c.Response().Header().Set("Connection", "close")
		return p.back(c, back, "")
	}
	if result.Unchanged {
		return p.back(c, back, "unchanged")
	}
	if result.Later {
		return p.back(c, back, "applied-later")
	}
	return p.back(c, back, "applied")
}

// staleView is a change for which the settings moved on meanwhile: nothing is lost, and it can be seen and applied on top.
type staleView struct {
	Why    string
	Review reviewView
	Theirs []settings.Change // what was changed meanwhile
	Busy   *control.Pending  // what is in the way
}

// notApplied keeps what was wanted on the page when something is in the way.
func (p *Pages) notApplied(c echo.Context, draft settings.Settings, back string, err error) error {
	if _, invalid := errors.AsType[*control.Invalid](err); invalid {
		return err // no page of ours sends such a document
	}
	problem := api.ProblemOf(err)
	view, status := staleView{Why: sentence(err)}, problem.Status
	if status == http.StatusInternalServerError {
		p.Log.Error("a change could not be applied", "err", err)
	}
	if busy, ok := errors.AsType[*control.Busy](err); ok {
		view.Busy = &busy.Pending
	}
	if stale, ok := errors.AsType[*control.Stale](err); ok {
		status = http.StatusConflict
		if view.Theirs, err = p.since(stale.Base); err != nil {
			return err
		}
		draft = p.onTop(draft, stale.Base)
	}
	now, base, err := p.readable()
	if err != nil {
		return err
	}
	view.Review = reviewView{Document: string(settings.Encode(draft)), Base: base, Back: back,
		Changes: settings.Diff(now, draft), Cuts: settings.Dangerous(now, draft), Reason: c.FormValue("reason")}
	return p.render(c, status, "stale", view)
}

// onTop makes the changes of a draft in the settings in force, so that it takes back nothing that somebody else has
// changed since its base. Where that cannot be, the draft stays as it is.
func (p *Pages) onTop(draft settings.Settings, base uint64) settings.Settings {
	r, err := p.Control.Revision(base)
	if err != nil && base != 0 {
		return draft
	}
	before, _ := settings.Decode(r.Document) // as in since
	now, _, err := p.readable()
	if err != nil {
		return draft
	}
	merged := settings.Merge(before, draft, now)
	if len(merged.Validate()) > 0 {
		return draft
	}
	return merged
}

// since is what changed from a revision to the current one.
func (p *Pages) since(base uint64) ([]settings.Change, error) {
	now, _, err := p.readable()
	if err != nil {
		return nil, err
	}
	r, err := p.Control.Revision(base)
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		return nil, err
	}
	before, _ := settings.Decode(r.Document) // was valid when it was stored; an empty one is the empty settings
	return settings.Diff(before, now), nil
}

// lastIndex is the place in a list at the end of a field's path.
var lastIndex = regexp.MustCompile(`\[\d+\]$`)

// relative gives the problems of one element the names of its form's fields: services[2].ports[0] is ports below
// services[2]. Those of other elements keep their names.
func relative(problems []settings.Problem, element string) []settings.Problem {
	var out []settings.Problem
	for _, p := range problems {
		if rest, ok := strings.CutPrefix(p.Field, element+"."); ok {
			p.Field = lastIndex.ReplaceAllString(rest, "")
		}
		out = append(out, p)
	}
	return out
}

// record notes in the audit log what somebody did. Where it cannot be written, the log says so, and what was done stays.
func (p *Pages) record(c echo.Context, action, subject, detail string) {
	who := caller.Of(c.Request().Context())
	if err := p.Access.Record(who.Identity, who.Peer, action, subject, strings.TrimSpace(detail)); err != nil {
		p.Log.Error("write the audit log", "err", err)
	}
}

func bounded(reason string) string {
	reason = strings.TrimSpace(reason)
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	return reason
}
