package edge

import (
	"errors"
	"net/http"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/steering"
)

// maxTry bounds a request for a trial in transfer, in bytes.
const maxTry = 16 << 10

// postTry makes one connection and tells what came of it. A connection that does not come about is an answer, too; what
// the box must not connect to is refused.
func (e *Edge) postTry(w http.ResponseWriter, r *http.Request) {
	var t plan.Try
	if !decode(w, r, maxTry, &t) {
		return
	}
	own, err := steering.LocalAddresses()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The box's own addresses cannot be listed", err)
		return
	}
	trial, err := e.pools.Try(r.Context(), t, own)
	switch {
	case errors.Is(err, origin.ErrTriesBusy):
		refuse(w, http.StatusTooManyRequests, "Too many trials at once", err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "This cannot be tried", err)
	default:
		answer(w, trial)
	}
}
