package pages

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Overview answers whether the box is up.
func (p *Pages) Overview(c echo.Context) error {
	return p.render(c, http.StatusOK, "overview", nil)
}
