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
	if e.path != nil {
		if err := e.path.Sessions(list.Add); err != nil {
			refuse(w, http.StatusInternalServerError, "The sessions of the kernel path cannot be listed", err)
			return
		}
	}
	answer(w, list.List())
}

func (e *Edge) killSession(w http.ResponseWriter, r *http.Request) {
	var id status.ID
	if err := id.UnmarshalText([]byte(r.PathValue("id"))); err != nil {
		refuse(w, http.StatusBadRequest, "This is not a session id", err)
		return
	}
	found := e.engine.Kill(id)
	if !found && e.path != nil {
		var err error
		if found, err = e.path.Kill(id); err != nil {
			refuse(w, http.StatusInternalServerError, "The session cannot be ended", err)
			return
		}
	}
	if !found {
		refuse(w, http.StatusNotFound, "There is no such session", fmt.Errorf("session %s has ended or never was", id))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
