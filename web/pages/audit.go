package pages

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

// auditPage is how many entries a page has.
const auditPage = 100

// auditView is who did what, from where.
type auditView struct {
	Entries []access.AuditEntry
	Before  uint64 // the page begins below this number; 0: with the newest
	Older   uint64 // where the next page begins; 0: there is none
	Broken  string // why the chain does not hold; empty: it does
}

// Audit shows the audit log, the newest first, and whether somebody has tampered with it.
func (p *Pages) Audit(c echo.Context) error {
	before, err := strconv.ParseUint(c.QueryParam("before"), 10, 63)
	if err != nil {
		before = 0
	}
	entries, err := p.Access.Audit(before, auditPage)
	if err != nil {
		return err
	}
	view := auditView{Entries: entries, Before: before}
	if len(entries) == auditPage && entries[auditPage-1].Number > 1 {
		view.Older = entries[auditPage-1].Number
	}
	if err := p.Access.AuditCheck(); err != nil {
		view.Broken = sentence(err)
	}
	return p.render(c, http.StatusOK, "audit", view)
}
