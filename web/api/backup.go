package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// GetBackup answers the current document as a file to keep. Applying it restores this box or another.
func (a *API) GetBackup(c echo.Context) error {
	current, err := a.current()
	if err != nil {
		return err
	}
	attach(c, fmt.Sprintf("breakwater-settings-r%d", current.Number), "json", "application/json")
	c.Response().Header().Set("ETag", etag(current.Number))
	return c.Blob(http.StatusOK, "application/json", current.Document)
}
