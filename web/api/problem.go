package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
)

// Problem is every answer that is not what was asked for (RFC 9457). Code is fixed and meant for programs, Detail is
// one sentence for people.
type Problem struct {
	Title    string             `json:"title"`
	Status   int                `json:"status"`
	Code     string             `json:"code"`
	Detail   string             `json:"detail"`
	Problems []settings.Problem `json:"problems,omitempty"` // of a settings document, each with its field
	Pending  *control.Pending   `json:"pending,omitempty"`  // the change that is in the way
}

func (p *Problem) Error() string { return p.Detail }

// Write sends the problem. It works without Echo, for what is refused before Echo is reached.
func (p *Problem) Write(w http.ResponseWriter) {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone, there is nobody to tell
}

// HandleError turns what a call returned into a problem.
func HandleError(err error, c echo.Context) {
	if c.Response().Committed {
		return // an answer that broke off; its reader sees that
	}
	problemOf(err).Write(c.Response())
}

func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*control.Invalid](err); ok {
		return &Problem{Status: http.StatusUnprocessableEntity, Code: "invalid-settings", Detail: "The settings have problems; nothing was changed.", Problems: e.Problems}
	}
	if e, ok := errors.AsType[*control.Busy](err); ok {
		return &Problem{Status: http.StatusConflict, Code: "change-pending", Detail: err.Error(), Pending: &e.Pending}
	}
	if _, ok := errors.AsType[*control.Stale](err); ok {
		return &Problem{Status: http.StatusPreconditionFailed, Code: "stale", Detail: err.Error()}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Detail: "The request is larger than a settings document may be."}
	}
	for _, known := range sentinels {
		if errors.Is(err, known.err) {
			return &Problem{Status: known.status, Code: known.code, Detail: err.Error()}
		}
	}
	if _, ok := errors.AsType[*control.NotApplied](err); ok {
		return &Problem{Status: http.StatusBadGateway, Code: "not-applied", Detail: err.Error()}
	}
	if _, ok := errors.AsType[*control.Refusal](err); ok {
		return &Problem{Status: http.StatusBadGateway, Code: "edge-refused", Detail: err.Error()}
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return ofEcho(e)
	}
	return &Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: err.Error()}
}

var sentinels = []struct {
	err    error
	status int
	code   string
}{
	{control.ErrUnreachable, http.StatusServiceUnavailable, "edge-unreachable"},
	{control.ErrNothingPending, http.StatusConflict, "nothing-pending"},
	{control.ErrNoSession, http.StatusNotFound, "no-session"},
	{control.ErrNotFound, http.StatusNotFound, "not-found"},
	{control.ErrNoSpace, http.StatusInsufficientStorage, "no-space"},
	{control.ErrNewer, http.StatusConflict, "newer-store"},
	{control.ErrTokenName, http.StatusUnprocessableEntity, "token-name"},
	{control.ErrTokenExists, http.StatusConflict, "token-exists"},
}

// ofEcho words what Echo's router refuses.
func ofEcho(e *echo.HTTPError) *Problem {
	switch e.Code {
	case http.StatusNotFound:
		return &Problem{Status: e.Code, Code: "no-such-page", Detail: "There is nothing at this address. The API is at /api/v1."}
	case http.StatusMethodNotAllowed:
		return &Problem{Status: e.Code, Code: "method", Detail: "This address does not take this method."}
	}
	return &Problem{Status: e.Code, Code: "refused", Detail: http.StatusText(e.Code) + "."}
}

// badRequest is a call with a parameter that cannot be read.
func badRequest(detail string) error {
	return &Problem{Status: http.StatusBadRequest, Code: "bad-request", Detail: detail}
}
