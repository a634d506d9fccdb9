package pages

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// backupView is the settings as a file.
type backupView struct {
	Revision uint64
	Size     int // of the document, in bytes
}

// Backup offers the document of the box, and takes one: what is sent is reviewed as any other document (Import).
func (p *Pages) Backup(c echo.Context) error {
	now, number, err := p.current()
	if err != nil {
		return err
	}
	view := backupView{Revision: number}
	if number > 0 {
		view.Size = len(settings.Encode(now))
	}
	return p.render(c, http.StatusOK, "backup", view)
}
