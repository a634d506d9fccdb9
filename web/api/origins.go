package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// ListOriginHistory answers when origins went up and down, the newest first.
func (a *API) ListOriginHistory(c echo.Context) error {
	return c.JSON(http.StatusOK, list(a.Control.OriginHistory()))
}

// SetOriginState drains an origin, takes it out or back in: {"state": "drain"}. It is a change of the settings, and the
// only one that an operator may make.
func (a *API) SetOriginState(c echo.Context) error {
	var body struct {
		State string `json:"state"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	pool, origin := c.Param("pool"), c.Param("origin")
	result, err := a.Control.SetOriginState(c.Request().Context(), pool, origin, body.State, authorOf(c))
	return a.changed(c, "origin-state", fmt.Sprintf("%s: %s", origin, body.State), result, err)
}
