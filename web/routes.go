package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/web/api"
)

// routes is the site map: every address that the box answers, and nothing else.
func routes(c *control.Control) http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = api.HandleError
	a := &api.API{Control: c}

	e.GET("/metrics", a.Metrics())

	v1 := e.Group("/api/v1")
	v1.GET("/settings", a.GetSettings)
	v1.PUT("/settings", a.PutSettings)
	v1.POST("/settings/confirm", a.ConfirmSettings)
	v1.POST("/settings/revert", a.RevertSettings)

	v1.GET("/revisions", a.ListRevisions)
	v1.GET("/revisions/:number", a.GetRevision)
	v1.GET("/revisions/:number/diff", a.DiffRevision)
	v1.POST("/revisions/:number/rollback", a.Rollback)

	v1.GET("/status", a.GetStatus)
	v1.GET("/sessions", a.ListSessions)
	v1.DELETE("/sessions/:id", a.KillSession)
	v1.GET("/events", a.StreamEvents)

	v1.GET("/tokens", a.ListTokens)
	v1.POST("/tokens", a.CreateToken)
	v1.DELETE("/tokens/:name", a.DeleteToken)
	return e
}
