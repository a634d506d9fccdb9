package edge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"breakwater/appliance/health"
	"breakwater/appliance/lists"
	"breakwater/appliance/status"
	"breakwater/appliance/whole"
)

const (
	// ListsFile is the table of lists in force, inside Options.State.
	ListsFile = "lists.bin"
	// damagedLists is the fingerprint while the file cannot be read: no table has it, so control sends its own.
	damagedLists = "damaged"

	listsNotKept     = "lists-not-kept"
	listsNotRestored = "lists-not-restored"
	listsNotInForce  = "lists-not-in-force"
)

// listTable is the table in force.
type listTable struct {
	changing sync.Mutex // one change at a time; taken before mu

	mu    sync.Mutex // guards what follows; status does not wait for a change
	print string
}

// tell says which table is in force.
func (l *listTable) tell(print string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.print = print
}

// setLists puts a table in force. Where there is no shield it is kept for the day that there is.
func (e *Edge) setLists(t *lists.Table, print string) error {
	if e.path != nil {
		if err := e.path.SetLists(t); err != nil {
			return err
		}
	}
	if t.Empty() {
		print = ""
	}
	e.lists.tell(print)
	e.conditions.Clear(listsNotRestored, "")
	if e.path == nil && !t.Empty() {
		e.conditions.Raise(health.Condition{Code: listsNotInForce, Severity: health.Warning, Title: "Lists, countries and networks are not in force",
			Detail: "This kernel cannot load the shield, which drops by address. Bans and limits hold."})
		return nil
	}
	e.conditions.Clear(listsNotInForce, "")
	return nil
}

// restoreLists puts the table of the former edge in force, before anybody is let in. Without its file there are none, whatever
// the kernel still has.
func (e *Edge) restoreLists() {
	e.lists.changing.Lock()
	defer e.lists.changing.Unlock()
	file, err := os.Open(filepath.Join(e.options.State, ListsFile))
	t, print := &lists.Table{}, ""
	if err == nil {
		t, print, err = lists.Decode(file)
		_ = file.Close() // it was read only
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = e.setLists(t, print)
	}
	if err != nil {
		e.lists.tell(damagedLists)
		e.options.Log.Error("restore the lists", "err", err)
		e.conditions.Raise(health.Condition{Code: listsNotRestored, Severity: health.Warning, Title: "The last lists could not be put in force again",
			Detail: fmt.Sprintf("%v. What the kernel still has of them stays in force until control sends them.", err)})
	}
}

// addLists adds which table is in force.
func (e *Edge) addLists(s *status.Edge) {
	e.lists.mu.Lock()
	defer e.lists.mu.Unlock()
	s.Shield.Lists = e.lists.print
}

// putLists takes a whole table: in force, and then on disk, or refused and nothing changed.
func (e *Edge) putLists(w http.ResponseWriter, r *http.Request) {
	e.lists.changing.Lock()
	defer e.lists.changing.Unlock()
	part, err := whole.Create(e.options.State)
	if err != nil {
		refuse(w, http.StatusInsufficientStorage, "The lists cannot be kept", err)
		return
	}
	defer part.Discard()
	disk := &remembering{part, nil}
	t, print, err := lists.Decode(io.TeeReader(http.MaxBytesReader(w, r.Body, lists.MaxEncoded), disk))
	if err != nil {
		refuse(w, http.StatusBadRequest, "The lists are not whole", err)
		return
	}
	if err := e.setLists(t, print); err != nil {
		refuse(w, http.StatusUnprocessableEntity, "The lists cannot be put in force; the former ones stay", err)
		return
	}
	kept := disk.failed
	if kept == nil {
		kept = part.Keep(filepath.Join(e.options.State, ListsFile))
	}
	e.tellListsKept(kept)
	e.options.Log.Info("lists in force", "rules", len(t.Classes), "spans", len(t.V4)+len(t.V6))
	w.WriteHeader(http.StatusNoContent)
}

// remembering takes everything: a full disk is no reason to refuse lists that can be in force. After the first error it writes nothing.
type remembering struct {
	out    io.Writer
	failed error
}

func (r *remembering) Write(p []byte) (int, error) {
	if r.failed == nil {
		_, r.failed = r.out.Write(p)
	}
	return len(p), nil
}

func (e *Edge) tellListsKept(err error) {
	if err == nil {
		e.conditions.Clear(listsNotKept, "")
		return
	}
	e.conditions.Raise(health.Condition{Code: listsNotKept, Severity: health.Warning, Title: "The lists in force could not be written to disk",
		Detail: err.Error() + ". A restart of edge needs control to send them again."})
}
