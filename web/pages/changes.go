package pages

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/caller"
)

// changesView is a page of the revisions, the newest first.
type changesView struct {
	Revisions []revisionRow
	Total     int
	Newer     int // the number of the page of newer ones; 0: there is none
	Older     int
	First     bool
}

type revisionRow struct {
	control.Revision
	Changes []settings.Change
	Current bool
}

// revisionView is one revision with what it changed.
type revisionView struct {
	revisionRow
	Document string
	Before   uint64 // 0: there is none to compare with
	Older    uint64
	Newer    uint64
}

// onPage is how many revisions a page lists; each is compared with the one before it.
const onPage = 25

// Changes lists the revisions.
func (p *Pages) Changes(c echo.Context) error {
	all, err := p.Control.Revisions()
	if err != nil {
		return err
	}
	page, err := strconv.Atoi(c.QueryParam("page"))
	if err != nil || page < 1 || (page-1)*onPage >= len(all) {
		page = 1
	}
	view := changesView{Total: len(all), Newer: page - 1, First: page == 1}
	if page*onPage < len(all) {
		view.Older = page + 1
	}
	for i, r := range all[(page-1)*onPage : min(len(all), page*onPage)] {
		changes, err := p.Control.DiffBefore(r.Number)
		if err != nil && !errors.Is(err, control.ErrNotFound) {
			return err
		}
		view.Revisions = append(view.Revisions, revisionRow{r, changes, page == 1 && i == 0})
	}
	return p.render(c, http.StatusOK, "changes", view)
}

// Revision shows one revision.
func (p *Pages) Revision(c echo.Context) error {
	r, err := p.revision(c)
	if err != nil {
		return err
	}
	changes, err := p.Control.DiffBefore(r.Number)
	if err != nil {
		return err
	}
	all, err := p.Control.Revisions()
	if err != nil {
		return err
	}
	view := revisionView{revisionRow: revisionRow{Revision: r, Changes: changes}, Document: string(r.Document)}
	for i, other := range all {
		if other.Number != r.Number {
			continue
		}
		view.Current = i == 0
		if i > 0 {
			view.Newer = all[i-1].Number
		}
		if i+1 < len(all) {
			view.Older = all[i+1].Number
			view.Before = r.Number - 1
		}
	}
	return p.render(c, http.StatusOK, "revision", view)
}

// revision is the one that the address names.
func (p *Pages) revision(c echo.Context) (control.Revision, error) {
	number, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil {
		return control.Revision{}, echo.ErrNotFound
	}
	return p.Control.Revision(number)
}

// RevisionDocument sends the settings of a revision as a file.
func (p *Pages) RevisionDocument(c echo.Context) error {
	r, err := p.revision(c)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="breakwater-revision-%d.json"`, r.Number))
	return c.Blob(http.StatusOK, "application/json", r.Document)
}

// RevisionRollback shows what going back to a revision would change.
func (p *Pages) RevisionRollback(c echo.Context) error {
	r, err := p.revision(c)
	if err != nil {
		return err
	}
	_, base, err := p.readable() // settings that cannot be used any more are what one rolls back from
	if err != nil {
		return err
	}
	values, err := c.FormParams()
	if err != nil {
		return err
	}
	back := "/changes/" + strconv.FormatUint(r.Number, 10)
	draft, problems := settings.Decode(r.Document)
	if len(problems) > 0 {
		return p.render(c, http.StatusUnprocessableEntity, "refused", refusedView{Problems: problems, Back: back})
	}
	values.Set("reason", p.text.say("changes.rollback.reason", r.Number))
	return p.reviewOr(c, draft, base, "/changes") // where the revision that this makes is the first
}

// importView takes a whole document.
type importView struct {
	Form     form
	Problems []settings.Problem
}

// ImportForm asks for a document.
func (p *Pages) ImportForm(c echo.Context) error {
	return p.render(c, http.StatusOK, "import", importView{})
}

// Import reviews a document that was pasted or uploaded; the file is taken when there are both.
func (p *Pages) Import(c echo.Context) error {
	values, err := c.FormParams()
	if err != nil {
		return err
	}
	document, err := uploaded(c, "file", values.Get("document"), settings.MaxSize)
	if err != nil {
		return err
	}
	values.Set("document", string(document))
	view := importView{Form: form{Values: values}}
	if strings.TrimSpace(values.Get("document")) == "" {
		view.Form = view.Form.problem("document", p.text.say("changes.import.empty"))
		return p.render(c, http.StatusUnprocessableEntity, "import", view)
	}
	draft, problems := settings.Read([]byte(values.Get("document")))
	if len(problems) == 0 {
		_, base, err := p.readable()
		if err != nil {
			return err
		}
		problems, err = p.review(c, nil, draft, base, "/changes")
		if len(problems) == 0 {
			return err
		}
	}
	view.Problems = problems
	return p.render(c, http.StatusUnprocessableEntity, "import", view)
}

// keepView tells why a change was not kept.
type keepView struct {
	Code string // connection or over
	Here string
}

// Keep commits the change that waits. Only a connection that was made after the change proves that the box can still be
// reached: one from before can outlive the way that it came.
func (p *Pages) Keep(c echo.Context) error {
	view := keepView{Here: here(c)}
	who := caller.Of(c.Request().Context())
	pending := p.Control.Pending()
	if isAnother(c, pending) {
		view.Code = "over"
		return p.render(c, http.StatusConflict, "keep", view)
	}
	if pending != nil && !who.Connected.IsZero() && !who.Connected.After(pending.Since) {
		c.Response().Header().Set("Connection", "close")
		view.Code = "connection"
		return p.render(c, http.StatusConflict, "keep", view)
	}
	result, err := p.Control.Confirm(c.Request().Context())
	if errors.Is(err, control.ErrNothingPending) {
		view.Code = "over"
		return p.render(c, http.StatusConflict, "keep", view)
	}
	if err != nil {
		return err
	}
	p.record(c, "settings-keep", fmt.Sprintf("revision %d", result.Revision), "")
	return p.back(c, view.Here, "kept")
}

// RevertPending takes back the change that waits.
func (p *Pages) RevertPending(c echo.Context) error {
	view := keepView{Here: here(c), Code: "over"}
	if isAnother(c, p.Control.Pending()) {
		return p.render(c, http.StatusConflict, "keep", view)
	}
	err := p.Control.Revert(c.Request().Context(), "reverted by "+caller.Of(c.Request().Context()).Name)
	if errors.Is(err, control.ErrNothingPending) {
		return p.render(c, http.StatusConflict, "keep", view)
	}
	if err != nil {
		return err
	}
	p.record(c, "settings-revert", "", "")
	return p.back(c, view.Here, "reverted")
}

// isAnother tells whether another change waits than the page showed: that one is over, and somebody else has made the
// next. A change is known by its deadline, which a restart does not change.
func isAnother(c echo.Context, pending *control.Pending) bool {
	of := c.FormValue("change")
	return of != "" && pending != nil && of != strconv.FormatInt(pending.Deadline.UnixNano(), 10)
}

// here is the page that a form of every page comes from.
func here(c echo.Context) string {
	path := localPath(c.FormValue("here"))
	if strings.ContainsAny(path, "?#") {
		return "/"
	}
	return path
}

// ToChanges is for whoever opens the address of a form, or comes back to the page that answered one.
func (p *Pages) ToChanges(c echo.Context) error { return c.Redirect(http.StatusSeeOther, "/changes") }
