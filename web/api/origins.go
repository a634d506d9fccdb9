package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
)

// ListOriginHistory answers when origins went up and down, the newest first.
func (a *API) ListOriginHistory(c echo.Context) error {
	return c.JSON(http.StatusOK, list(a.Control.OriginHistory()))
}

// SetOriginState drains an origin, takes it out or back in: {"state": "drain"}. It is a change of the settings, and the
// only one that an operator may make.
func (a *API) SetOriginState(c echo.Context) error {
	var body struct {
		State string `json:"state"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	if !slices.Contains([]string{"active", "drain", "maintenance"}, body.State) {
		return invalid("invalid", "state", fmt.Sprintf("%.40q is not a state; write active, drain or maintenance.", body.State))
	}
	current, err := a.current()
	if err != nil {
		return err
	}
	document, name, err := withState(current.Document, c.Param("pool"), c.Param("origin"), body.State)
	if err != nil {
		return err
	}
	meta := control.Meta{Author: authorOf(c), Reason: fmt.Sprintf("%s: %s", name, body.State), Base: &current.Number}
	result, err := a.Control.Propose(c.Request().Context(), document, meta)
	return a.changed(c, "origin-state", meta.Reason, result, err)
}

// withState is a document with another state of one origin, and the name of that origin.
func withState(document []byte, pool, origin, state string) ([]byte, string, error) {
	s, problems := settings.Decode(document)
	if len(problems) > 0 {
		return nil, "", &control.Invalid{Problems: problems}
	}
	shown := s.WithDefaults() // origins without a name have one there
	for i := range s.Pools {
		for j := range s.Pools[i].Origins {
			if name := shown.Pools[i].Origins[j].Name; s.Pools[i].Name == pool && name == origin {
				if state == "active" {
					state = "" // the default is left out
				}
				s.Pools[i].Origins[j].State = state
				return settings.Encode(s), name, nil
			}
		}
	}
	return nil, "", Refuse("not-found", fmt.Sprintf("There is no origin %.60q in a pool %.60q.", origin, pool))
}
