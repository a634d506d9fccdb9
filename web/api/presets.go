package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// ListPresets answers what services need for the servers that people have.
func (a *API) ListPresets(c echo.Context) error {
	return c.JSON(http.StatusOK, list(settings.Presets()))
}
