package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/settings"
	"breakwater/appliance/update"
	"breakwater/web/caller"
	"breakwater/web/tls"
)

// Problem is every answer that is not what was asked for (RFC 9457). Code is fixed and meant for programs, see codes;
// Detail is one sentence for people.
type Problem struct {
	Title    string             `json:"title"`
	Status   int                `json:"status"`
	Code     string             `json:"code"`
	Detail   string             `json:"detail"`
	Problems []settings.Problem `json:"problems,omitempty"` // of a document or body, each with its field
	Pending  *control.Pending   `json:"pending,omitempty"`  // the change that is in the way

	after time.Duration // when to try again; zero: not a matter of time
	close bool          // the connection is of no more use
}

func (p *Problem) Error() string { return p.Detail }

// Write sends the problem. It works without Echo, for what is refused before Echo is reached.
func (p *Problem) Write(w http.ResponseWriter) {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	if p.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.after+time.Second-1)/time.Second)))
	}
	if p.close {
		w.Header().Set("Connection", "close")
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
	ProblemFor(callerOf(c), err).Write(c.Response())
}

// ProblemFor is the problem for whatever a call returned, in words for who called: a fault of the box can name its files
// and addresses, which are not for strangers.
func ProblemFor(who caller.Caller, err error) *Problem {
	p := ProblemOf(err)
	_, worded := errors.AsType[*Problem](err)
	switch {
	case worded:
	case p.Code == "internal" && who.Name != "":
		p.Detail = err.Error()
	case p.Code == "no-space" && who.Name == "":
		p.Detail = control.ErrNoSpace.Error()
	}
	return p
}

// ProblemOf is the problem for whatever a call returned, in words that anybody may read.
func ProblemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	for _, of := range []func(error) *Problem{ofTyped, ofKnown, ofEdge} {
		if p := of(err); p != nil {
			return p
		}
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return ofEcho(e)
	}
	return Refuse("internal", "This is a fault of the box. Whoever is signed in is told more.")
}

// ofTyped is the problem for errors that carry something.
func ofTyped(err error) *Problem {
	if e, ok := errors.AsType[*control.Invalid](err); ok {
		p := Refuse("invalid-settings", "The settings have problems; nothing was changed.")
		p.Problems = e.Problems
		return p
	}
	if e, ok := errors.AsType[*control.Busy](err); ok {
		p := Refuse("change-pending", err.Error())
		p.Pending = &e.Pending
		return p
	}
	if e, ok := errors.AsType[*access.Throttled](err); ok {
		p := Refuse("too-many-failures", err.Error())
		p.after = e.After
		return p
	}
	if e, ok := errors.AsType[*access.Weak](err); ok {
		return invalid("weak-password", "password", sentence(e.Why))
	}
	if e, ok := errors.AsType[*control.BanRefused](err); ok {
		return invalid("ban-refused", "prefix", sentence(e.Why))
	}
	if e, ok := errors.AsType[*control.SecretRefused](err); ok {
		return invalid("secret-refused", "secret", e.Why)
	}
	if e, ok := errors.AsType[*tls.Refused](err); ok {
		return Refuse("certificate", sentence(e.Why))
	}
	if e, ok := errors.AsType[*update.Error](err); ok {
		return Refuse(updateCodes[e.Fault], sentence(e.Text))
	}
	if e, ok := errors.AsType[*control.HostFailed](err); ok {
		return Refuse("host-failed", sentence(e.Why))
	}
	if _, ok := errors.AsType[*control.Stale](err); ok {
		return Refuse("stale", err.Error())
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Refuse("too-large", "The request is larger than this call takes.")
	}
	return nil
}

// updateCodes are those of the faults of an update file.
var updateCodes = map[update.Fault]string{update.NotAnUpdate: "update-refused", update.CutShort: "update-refused", update.Damaged: "update-refused",
	update.BadSignature: "update-signature", update.TooLarge: "too-large", update.Same: "update-older", update.Older: "update-older"}

// ofEdge is the problem for what edge refused, and for lists that were not taken. It comes after the errors with names, which such an error can carry.
func ofEdge(err error) *Problem {
	if _, ok := errors.AsType[*control.NotApplied](err); ok {
		return Refuse("not-applied", err.Error())
	}
	if _, ok := errors.AsType[*edgelink.Refusal](err); ok {
		return Refuse("edge-refused", err.Error())
	}
	if e, ok := errors.AsType[*control.ListUnusable](err); ok {
		return ofList(e)
	}
	return nil
}

// ofEcho words what Echo's router refuses.
func ofEcho(e *echo.HTTPError) *Problem {
	switch e.Code {
	case http.StatusNotFound:
		return Refuse("no-such-page", "There is nothing at this address. The API is at /api/v1.")
	case http.StatusMethodNotAllowed:
		return Refuse("method", "This address does not take this method.")
	case http.StatusRequestEntityTooLarge:
		return Refuse("too-large", "The request is larger than this call takes.")
	}
	return Refuse("bad-request", http.StatusText(e.Code)+".")
}

// badRequest is a call with a parameter that cannot be read.
func badRequest(detail string) error { return Refuse("bad-request", detail) }
