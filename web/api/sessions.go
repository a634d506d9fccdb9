package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/status"
)

const (
	maxWindow = 1 << 20
	// smallWindow is the most that several callers may ask for at the same time; what is larger is answered one by one,
	// so that control holds the whole list once. A reader has as long as the server lets it write.
	smallWindow = 5000
	// maxSearch bounds what is looked for in every session, in bytes.
	maxSearch = 100
)

// sortings are the columns by which sessions can be sorted.
var sortings = []string{"started", "client", "service", "origin", "idle", "bytes", "state"}

// ListSessions answers a window of the sessions and flows. The query: limit, offset, service, client (an address),
// search (part of an address, a name or an id), sort, order.
func (a *API) ListSessions(c echo.Context) error {
	q, err := sessionQuery(c)
	if err != nil {
		return err
	}
	if q.Limit == 0 || q.Limit > smallWindow {
		a.listing.Lock()
		defer a.listing.Unlock()
	}
	window, err := a.Control.RawSessions(c.Request().Context(), q)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", "application/json")
	c.Response().WriteHeader(http.StatusOK)
	_, _ = window.WriteTo(c.Response()) // the reader is gone, there is nobody to tell
	return nil
}

func sessionQuery(c echo.Context) (q edgelink.SessionQuery, err error) {
	q = edgelink.SessionQuery{Service: c.QueryParam("service"), Client: c.QueryParam("client"), Search: strings.TrimSpace(c.QueryParam("search"))}
	if q.Limit, err = numberParam(c, "limit", 0, maxWindow); err != nil {
		return q, err
	}
	if c.QueryParam("offset") != "0" {
		if q.Offset, err = numberParam(c, "offset", 0, maxWindow); err != nil {
			return q, err
		}
	}
	if q.Client != "" {
		if _, err := netip.ParseAddr(q.Client); err != nil {
			return q, badRequest(fmt.Sprintf("client=%.60q is not an IP address.", q.Client))
		}
	}
	if len(q.Search) > maxSearch {
		return q, badRequest(fmt.Sprintf("search has %d bytes; at most %d are looked for.", len(q.Search), maxSearch))
	}
	q.Sort, q.Descending, err = sortOf(c.QueryParam("sort"), c.QueryParam("order"))
	return q, err
}

// sortOf reads the order of the sessions: the newest first unless something else is asked for.
func sortOf(by, order string) (string, bool, error) {
	if by == "" && order != "" {
		by = "started"
	}
	if by != "" && !slices.Contains(sortings, by) {
		return "", false, badRequest(fmt.Sprintf("sort=%.40q is not known; write one of %s.", by, strings.Join(sortings, ", ")))
	}
	switch order {
	case "":
		return by, by == "started", nil
	case "asc", "desc":
		return by, order == "desc", nil
	}
	return "", false, badRequest(fmt.Sprintf("order=%.40q is not known; write asc or desc.", order))
}

// KillSession ends a session or flow.
func (a *API) KillSession(c echo.Context) error {
	var id status.ID
	if err := id.UnmarshalText([]byte(c.Param("id"))); err != nil {
		return badRequest("A session id has 16 hex digits, as the list of sessions shows it.")
	}
	if err := a.Control.Kill(c.Request().Context(), id); err != nil {
		return err
	}
	return done(c, a.record(c, "kill", id.String(), ""))
}
