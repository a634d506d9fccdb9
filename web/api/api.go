// Package api answers the calls of /api/v1 and /metrics: one file a subject, one function a call. routes.go is its site
// map, openapi.json its description, codes.go every code of a problem:
//
//	curl --unix-socket /run/breakwater/control.sock http://box/api/v1/status
//	breakwater status --json
//
// Who may call is decided before a call arrives here (package web); who it is comes with the request (package caller).
// What changes the box is written to the audit log with the name of who did it.
package api

import (
	"fmt"
	"sync"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/web/caller"
	"breakwater/web/tls"
)

// API holds what the calls need. It must not be copied once it answers.
type API struct {
	Control *control.Control
	Access  *access.Access
	// Certificates are those of the listener on the network; nil: there is none, the box is reached by its socket only.
	Certificates *tls.Certificates

	glance  glance
	listing sync.Mutex // held while a long list of sessions is answered
}

func callerOf(c echo.Context) caller.Caller { return caller.Of(c.Request().Context()) }

func authorOf(c echo.Context) string { return callerOf(c).Name }

// record writes to the audit log what the caller did. It is done already, so an error says just that.
func (a *API) record(c echo.Context, action, subject, detail string) error {
	who := callerOf(c)
	if err := a.Access.Record(who.Identity, who.Peer, action, subject, detail); err != nil {
		return fmt.Errorf("it is done, but the audit log cannot be written: %w", err)
	}
	return nil
}
