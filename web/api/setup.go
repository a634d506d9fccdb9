package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Setup tells whether somebody owns the box, and if not, what claims it.
type Setup struct {
	Claimed bool   `json:"claimed"`
	Code    string `json:"code"` // empty: claimed already, or too many wrong ones were tried; a restart makes a new one
}

// GetSetupCode answers the one-time code that claims the box. It is for who is at the machine.
func (a *API) GetSetupCode(c echo.Context) error {
	return c.JSON(http.StatusOK, Setup{a.Access.Claimed(), a.Access.SetupCode()})
}
