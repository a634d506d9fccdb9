package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
)

// maxReason bounds the reason of a change, in bytes.
const maxReason = 500

// GetSettings answers the current document. Its ETag is the revision.
func (a *API) GetSettings(c echo.Context) error {
	current, err := a.current()
	if err != nil {
		return err
	}
	return document(c, current)
}

func (a *API) current() (control.Revision, error) {
	current, err := a.Control.Current()
	if errors.Is(err, control.ErrNotFound) {
		return control.Revision{}, Refuse("no-settings", "There are no settings yet. Apply a settings document.")
	}
	return current, err
}

// document answers the settings of a revision to the byte.
func document(c echo.Context, r control.Revision) error {
	c.Response().Header().Set("ETag", etag(r.Number))
	return c.Blob(http.StatusOK, "application/json", r.Document)
}

// PutSettings applies a document. The query: reason, confirm (how long to wait for the confirmation), check=true
// (only tell what would change). If-Match makes it conditional on the revision that the change was made for.
func (a *API) PutSettings(c echo.Context) error {
	if err := requireJSON(c); err != nil {
		return err
	}
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if c.QueryParam("check") == "true" {
		return a.check(c, body)
	}
	meta, err := metaOf(c)
	if err != nil {
		return err
	}
	result, err := a.Control.Propose(c.Request().Context(), body, meta)
	return a.changed(c, "settings-change", meta.Reason, result, err)
}

func (a *API) check(c echo.Context, body []byte) error {
	changes, problems, err := a.Control.Check(body)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return &control.Invalid{Problems: problems}
	}
	dangerous, err := a.dangerous(body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, Check{list(changes), dangerous})
}

// dangerous tells whether a valid document can cut off whoever applies it over the network.
func (a *API) dangerous(document []byte) (bool, error) {
	current, err := a.Control.Current()
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		return false, err
	}
	before, _ := settings.Decode(current.Document) // stored ones were valid; none is the empty settings
	after, _ := settings.Decode(document)
	return settings.Dangerous(before, after), nil
}

// Changes is what a revision changed.
type Changes struct {
	Changes []settings.Change `json:"changes"`
}

// Check is what a document would change.
type Check struct {
	Changes []settings.Change `json:"changes"`
	// Dangerous: it can cut the operator off, so it should wait for a confirmation.
	Dangerous bool `json:"dangerous"`
}

// list is an empty list instead of null.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// ConfirmSettings commits the change that waits. Over the network only a connection that was made after the change
// proves that the box can still be reached; one from before could outlive the way that it came.
func (a *API) ConfirmSettings(c echo.Context) error {
	if err := a.reachedAfter(c); err != nil {
		return err
	}
	result, err := a.Control.Confirm(c.Request().Context())
	return a.changed(c, "settings-keep", "", result, err)
}

func (a *API) reachedAfter(c echo.Context) error {
	connected := callerOf(c).Connected
	pending := a.Control.Pending()
	if connected.IsZero() || pending == nil || connected.After(pending.Since) {
		return nil
	}
	p := Refuse("stale-connection", "This connection is older than the change. Connect again and confirm then: that proves that the box can still be reached.")
	p.Pending, p.close = pending, true
	return p
}

// RevertSettings takes back the change that waits.
func (a *API) RevertSettings(c echo.Context) error {
	if err := a.Control.Revert(c.Request().Context(), "reverted by "+authorOf(c)); err != nil {
		return err
	}
	if err := a.record(c, "settings-revert", "", ""); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// changed answers a change of the settings and writes it to the audit log.
func (a *API) changed(c echo.Context, action, reason string, result control.Result, err error) error {
	if err != nil {
		return err
	}
	if !result.Unchanged {
		if err := a.record(c, action, subjectOf(result), reason); err != nil {
			return err
		}
	}
	c.Response().Header().Set("ETag", etag(result.Revision))
	if result.Pending != nil {
		return c.JSON(http.StatusAccepted, result)
	}
	return c.JSON(http.StatusOK, result)
}

func subjectOf(r control.Result) string {
	if r.Pending != nil {
		return fmt.Sprintf("candidate on revision %d", r.Pending.Base)
	}
	return fmt.Sprintf("revision %d", r.Revision)
}

// metaOf reads what goes with a change.
func metaOf(c echo.Context) (m control.Meta, err error) {
	m.Author, m.Reason = authorOf(c), strings.TrimSpace(c.QueryParam("reason"))
	if len(m.Reason) > maxReason {
		return m, badRequest(fmt.Sprintf("The reason has %d bytes; at most %d are kept.", len(m.Reason), maxReason))
	}
	if text := c.QueryParam("confirm"); text != "" {
		m.Confirm, err = time.ParseDuration(text)
		if err != nil || m.Confirm <= 0 {
			return m, badRequest(fmt.Sprintf("confirm=%q is not a duration; write it like confirm=60s.", text))
		}
	}
	m.Base, err = ifMatch(c.Request().Header.Get("If-Match"))
	return m, err
}

func etag(revision uint64) string { return strconv.Quote(strconv.FormatUint(revision, 10)) }

// ifMatch reads the one revision of an If-Match header (RFC 9110 section 13.1.1); nil: any.
func ifMatch(header string) (*uint64, error) {
	if header == "" || header == "*" {
		return nil, nil
	}
	text, err := strconv.Unquote(header)
	if err != nil {
		return nil, badRequest("If-Match must be the ETag of one revision, such as \"7\" with its quotes.")
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, badRequest("If-Match must be the ETag of one revision, such as \"7\" with its quotes.")
	}
	return &n, nil
}
