// Package api answers the calls of /api/v1 and /metrics: one file a subject, one function a call. Every call goes to
// control and comes back as JSON, or as a problem (see Problem):
//
//	curl --unix-socket /run/breakwater/control.sock http://box/api/v1/status
//
// Who may call is decided before a call arrives here; see package web.
package api

import (
	"context"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// API holds what the calls need.
type API struct{ Control *control.Control }

type authorKey struct{}

// WithAuthor notes who makes the call, for the revisions that come of it.
func WithAuthor(ctx context.Context, author string) context.Context {
	return context.WithValue(ctx, authorKey{}, author)
}

func authorOf(c echo.Context) string {
	author, _ := c.Request().Context().Value(authorKey{}).(string)
	return author
}
