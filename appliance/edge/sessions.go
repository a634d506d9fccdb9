package edge

import (
	"fmt"
	"net/http"

	"breakwater/appliance/edge/window"
	"breakwater/appliance/status"
)

// getSessions lists a window of the sessions and flows; see window.Parse for the query.
func (e *Edge) getSessions(w http.ResponseWriter, r *http.Request) {
	query, err := window.Parse(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, "The sessions cannot be listed like this", err)
		return
	}
	list := window.New(query)
	e.engine.Sessions(list.Add)
	answer(w, list.List())
}

func (e *Edge) killSession(w http.ResponseWriter, r *http.Request) {
	var id status.ID
	if err := id.UnmarshalText([]byte(r.PathValue("id"))); err != nil {
		refuse(w, http.StatusBadRequest, "This is not a session id", err)
		return
	}
	if !e.engine.Kill(id) {
		refuse(w, http.StatusNotFound, "There is no such session", fmt.Errorf("session %s has ended or never was", id))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
