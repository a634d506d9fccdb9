package pages

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// diagnosticFiles are what the bundle holds; each has a text that says what it tells. A test opens a bundle and compares.
var diagnosticFiles = []string{"version", "status", "settings", "revisions", "bans", "samples", "origins", "logs", "audit"}

// Diagnostics says what is in the bundle before somebody sends it away.
func (p *Pages) Diagnostics(c echo.Context) error {
	return p.render(c, http.StatusOK, "diagnostics", diagnosticFiles)
}
