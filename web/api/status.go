package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// GetStatus answers what is wanted, what is observed and what is wrong.
func (a *API) GetStatus(c echo.Context) error {
	s, err := a.Control.Status(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, s)
}
