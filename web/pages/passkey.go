package pages

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/api"
	"breakwater/web/caller"
)

// maxPasskeyAnswer bounds what a browser answers to a passkey's question, in bytes.
const maxPasskeyAnswer = 64 << 10

// BeginPasskeyLogin answers passkey.js on the login page: the question for navigator.credentials.get.
func (p *Pages) BeginPasskeyLogin(c echo.Context) error {
	options, ceremony, err := p.Access.PasskeyLoginBegin(caller.Of(c.Request().Context()).Peer)
	if err != nil {
		return refusePasskey(c, err)
	}
	return c.JSON(http.StatusOK, map[string]any{"ceremony": ceremony, "options": json.RawMessage(options)})
}

// PasskeyLogin lets somebody in with the answer of the browser. A passkey asks for a finger, a face or a PIN, so it
// stands for password and second factor.
func (p *Pages) PasskeyLogin(c echo.Context) error {
	var body struct {
		Ceremony string          `json:"ceremony"`
		Response json.RawMessage `json:"response"`
	}
	r := c.Request()
	if err := json.NewDecoder(http.MaxBytesReader(c.Response(), r.Body, maxPasskeyAnswer)).Decode(&body); err != nil {
		return refusePasskey(c, access.ErrPasskey)
	}
	_, secret, err := p.Access.PasskeyLoginFinish(r.Context(), caller.Of(r.Context()).Peer, body.Ceremony, body.Response)
	if err != nil {
		return refusePasskey(c, err)
	}
	p.letIn(c, secret)
	return c.NoContent(http.StatusNoContent)
}

// refusePasskey words an error for the script, which is no person; what is not about the passkey goes on as an error.
func refusePasskey(c echo.Context, err error) error {
	if _, throttled := errors.AsType[*access.Throttled](err); !throttled && !errors.Is(err, access.ErrPasskey) && !errors.Is(err, access.ErrWrong) && !errors.Is(err, access.ErrNoName) {
		return err
	}
	api.ProblemOf(err).Write(c.Response())
	return nil
}
