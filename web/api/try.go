package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// Try makes one connection from the box and answers what came of it. The body is that of control.TryRequest, with the
// bytes to send in base64.
func (a *API) Try(c echo.Context) error {
	var request control.TryRequest
	if err := readJSON(c, &request); err != nil {
		return err
	}
	trial, err := a.Control.Try(c.Request().Context(), request)
	if err != nil {
		return err
	}
	if err := a.record(c, "try", request.Address, string(request.Network)); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, trial)
}

// Trials are what came of trying each origin of a service.
type Trials struct {
	Trials []control.OriginTrial `json:"trials"`
}

// TestService connects to every origin of a service as one of its sessions would.
func (a *API) TestService(c echo.Context) error {
	trials, err := a.Control.TryService(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, Trials{list(trials)})
}
