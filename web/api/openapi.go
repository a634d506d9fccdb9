package api

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

// The description of this API for programs (OpenAPI 3.1), and a dashboard over /metrics for people who run Grafana.
// Both are written by hand; tests hold them to what is answered.
var (
	//go:embed openapi.json
	openAPI []byte
	//go:embed grafana.json
	dashboard []byte
)

// GetOpenAPI answers the description of the API.
func (a *API) GetOpenAPI(c echo.Context) error { return c.JSONBlob(http.StatusOK, openAPI) }

// GetDashboard answers a Grafana dashboard, to be imported there.
func (a *API) GetDashboard(c echo.Context) error {
	c.Response().Header().Set("Content-Disposition", `attachment; filename="breakwater-grafana.json"`)
	return c.JSONBlob(http.StatusOK, dashboard)
}
