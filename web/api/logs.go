package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// maxLogs is more than both processes keep.
const maxLogs = 10000

// ListLogs answers the last log lines of both processes, the oldest first. The query: limit (the newest of them).
func (a *API) ListLogs(c echo.Context) error {
	limit, err := numberParam(c, "limit", maxLogs, maxLogs)
	if err != nil {
		return err
	}
	lines, err := a.Control.Logs(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(lines[max(0, len(lines)-limit):]))
}
