package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/web/caller"
)

// TestAStrangerWasShownTheFaultsOfTheBox answers what goes wrong inside to callers who are signed in and who are not.
func TestAStrangerWasShownTheFaultsOfTheBox(t *testing.T) {
	fault := errors.New("open /var/lib/breakwater/breakwater.db: input/output error")
	tests := []struct {
		name   string
		who    caller.Caller
		err    error
		status int
		want   string
		told   bool
	}{
		{"a stranger", caller.Caller{}, fault, 500, "fault of the box", false},
		{"a stranger on a full disk", caller.Caller{}, fmt.Errorf("%w (%w)", control.ErrNoSpace, fault), 507, "no space left", false},
		{"who is signed in", caller.Caller{Identity: access.Identity{Name: "anna", Role: access.Viewer}}, fault, 500, "", true},
		{"who is signed in, on a full disk", caller.Caller{Identity: access.Local()}, fmt.Errorf("%w (%w)", control.ErrNoSpace, fault), 507, "no space left", true},
		{"who is signed in, worded already", caller.Caller{Identity: access.Local()}, Refuse("internal", "A sentence."), 500, "A sentence.", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(caller.With(t.Context(), test.who), http.MethodGet, "/api/v1/claim", nil)
			w := httptest.NewRecorder()
			HandleError(test.err, echo.New().NewContext(r, w))
			body := w.Body.String()
			if w.Code != test.status || !strings.Contains(body, test.want) || strings.Contains(body, "/var/lib") != test.told {
				t.Errorf("answered %d %s", w.Code, body)
			}
		})
	}
}
