package edge

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

const (
	// BansFile is the list of bans in force, inside Options.State.
	BansFile = "bans.json"
	// maxBans bounds a list of bans in transfer, in bytes: about 100 for each.
	maxBans = 2 << 20
)

// bans is the list in force as far as it is not the engine's.
type bans struct {
	mu    sync.Mutex // serialises changes, and guards what follows
	print string
}

// SetBans makes list the bans in force and returns when the sessions of the banned are ended.
func (e *Edge) SetBans(list []plan.Ban) {
	e.bans.mu.Lock()
	defer e.bans.mu.Unlock()
	e.engine.SetBans(list)
	if e.path != nil {
		if err := e.path.SetBans(list); err != nil {
			e.options.Log.Error("bans of the kernel path", "err", err)
		}
	}
	e.bans.print = plan.BansFingerprint(list)
	e.conditions.Clear("bans-not-restored", "")
	if err := e.keep(BansFile, list); err != nil {
		e.conditions.Raise(health.Condition{
			Code: "bans-not-kept", Severity: health.Warning, Title: "The bans in force could not be written to disk",
			Detail: err.Error() + ". A restart of edge needs control to send them again.",
		})
		return
	}
	e.conditions.Clear("bans-not-kept", "")
	e.options.Log.Info("bans in force", "bans", len(list))
}

// restoreBans puts the bans of the former edge in force, before anybody is let in.
func (e *Edge) restoreBans() {
	var list []plan.Ban
	err := e.read(BansFile, &list)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = plan.CheckBans(list)
	}
	if err != nil {
		e.options.Log.Error("restore the bans", "err", err)
		e.conditions.Raise(health.Condition{
			Code: "bans-not-restored", Severity: health.Warning, Title: "The last bans could not be put in force again",
			Detail: fmt.Sprintf("%v. Nobody is banned until control sends the list.", err),
		})
		return
	}
	e.SetBans(list)
}

func (e *Edge) bansPrint() string {
	e.bans.mu.Lock()
	defer e.bans.mu.Unlock()
	return e.bans.print
}

func (e *Edge) putBans(w http.ResponseWriter, r *http.Request) {
	var list []plan.Ban
	if !decode(w, r, maxBans, &list) {
		return
	}
	if err := plan.CheckBans(list); err != nil {
		refuse(w, http.StatusBadRequest, "The bans are not whole", err)
		return
	}
	e.SetBans(list)
	w.WriteHeader(http.StatusNoContent)
}
