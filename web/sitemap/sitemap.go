// Package sitemap is what a row of the site map says. api/routes.go and pages/routes.go have the rows; package web puts
// the wall around them.
package sitemap

import (
	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

// Route is one address that the box answers. What has no row is not there.
type Route struct {
	Method string
	Path   string // as Echo has it: /api/v1/sessions/:id
	Needs  access.Permission
	// Danger asks for a password or passkey given in the last minutes (access.Identity.Fresh).
	Danger bool
	// Body is how large the body may be, in bytes, for whoever has the permission; 0: as large as a settings document.
	// The handler reads it as it comes, also where it is a form.
	Body   int64
	Handle echo.HandlerFunc
}
