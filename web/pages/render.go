package pages

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/web/caller"
)

// statusWait bounds what a page waits for edge. A page without numbers is better than none.
const statusWait = 2 * time.Second

// frame is what every page has around its view.
type frame struct {
	Page   string // the template's name
	Me     caller.Caller
	Status control.Status
	Now    time.Time
	Here   string // path of this page, for forms that come back to it
	Done   string // key of the text that tells what the last form did; empty: none
	View   any
}

// SignedIn tells whether the page is somebody's, so that there is a menu.
func (f frame) SignedIn() bool { return f.Me.Name != "" }

// EdgeDown tells that control cannot reach the data plane.
func (f frame) EdgeDown() bool { return f.SignedIn() && f.Status.Edge == nil }

// Fresh tells whether dangerous forms may be sent without the password.
func (f frame) Fresh() bool { return f.Me.Fresh(f.Now) }

// MayChange, MayOperate and MayAdminister tell what the reader may do, so that nothing is offered that would be refused.
func (f frame) MayChange() bool     { return f.Me.May(access.Change) }
func (f frame) MayOperate() bool    { return f.Me.May(access.Operate) }
func (f frame) MayAdminister() bool { return f.Me.May(access.Administer) }
func (f frame) MayAudit() bool      { return f.Me.May(access.Audit) }

// menuItem is an entry of the menu; Icon also names its text.
type menuItem struct {
	Path, Icon string
	Here       bool
}

// Menu is the pages, each answering one question.
func (f frame) Menu() []menuItem {
	items := []menuItem{{Path: "/", Icon: "overview"}, {Path: "/services", Icon: "services"}, {Path: "/origins", Icon: "origins"},
		{Path: "/shield", Icon: "shield"}, {Path: "/incidents", Icon: "incidents"}, {Path: "/connections", Icon: "connections"}, {Path: "/changes", Icon: "changes"}, {Path: "/system", Icon: "system"}}
	for i := range items {
		path := items[i].Path
		items[i].Here = f.Here == path || path != "/" && strings.HasPrefix(f.Here, path+"/")
	}
	return items
}

// Left is how long the change that waits can still be kept.
func (f frame) Left() time.Duration {
	if f.Status.Pending == nil {
		return 0
	}
	return max(0, f.Status.Pending.Deadline.Sub(f.Now))
}

// render shows a page. The template is run to its end first, so that a page is whole or an error.
func (p *Pages) render(c echo.Context, status int, page string, view any) error {
	var seen control.Status
	if caller.Of(c.Request().Context()).Name != "" {
		var err error
		if seen, err = p.status(c.Request().Context()); err != nil {
			return err
		}
	}
	return p.renderSeen(c, status, page, seen, view)
}

// renderSeen shows a page whose view was made of the status, so that edge is asked once.
func (p *Pages) renderSeen(c echo.Context, status int, page string, seen control.Status, view any) error {
	f := frame{Page: page, Me: caller.Of(c.Request().Context()), Status: seen, Now: time.Now(), Here: c.Request().URL.Path, View: view}
	if key := "done." + c.QueryParam("done"); p.text.has(key) {
		f.Done = key
	}
	if waiting := seen.Pending; waiting != nil && !f.Me.Connected.IsZero() && !f.Me.Connected.After(waiting.Since) {
		c.Response().Header().Set("Connection", "close") // Keep is taken over connections that were made after the change
	}
	var out bytes.Buffer
	if err := p.templates[page].ExecuteTemplate(&out, "layout.html", f); err != nil {
		return err
	}
	return c.HTMLBlob(status, out.Bytes())
}

func (p *Pages) status(ctx context.Context) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	return p.Control.Status(ctx)
}

// back ends a form that did what it should: the browser gets the page again, which says so (Post/Redirect/Get).
func (p *Pages) back(c echo.Context, path, done string) error {
	if done != "" {
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		path += mark + "done=" + done
	}
	return c.Redirect(http.StatusSeeOther, path)
}
