package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
)

// ListSessions answers sessions and flows. The query: limit, service, client (an address).
func (a *API) ListSessions(c echo.Context) error {
	q := control.SessionQuery{Service: c.QueryParam("service"), Client: c.QueryParam("client")}
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return badRequest(fmt.Sprintf("limit=%q is not a number from 1.", text))
		}
		q.Limit = n
	}
	if q.Client != "" {
		if _, err := netip.ParseAddr(q.Client); err != nil {
			return badRequest(fmt.Sprintf("client=%q is not an IP address.", q.Client))
		}
	}
	list, err := a.Control.Sessions(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list)
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
	return c.NoContent(http.StatusNoContent)
}
