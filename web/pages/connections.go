package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/status"
)

const (
	// connectionsAtOnce is how many rows a page has without scripts; with them it is the first window of all.
	connectionsAtOnce = 50
	// maxLookedFor bounds what is looked for in the sessions, in bytes.
	maxLookedFor = 100
	// maxOffset is where paging ends: nobody reads further, they search.
	maxOffset = 1 << 20
)

// connectionsView is a window of the live table.
type connectionsView struct {
	Window   window
	List     status.SessionList
	Rows     []connection
	Services []string
	Refused  string // why there is no list
}

// connection is one row of the table. The row of the scripts' template is the zero value.
type connection struct {
	status.Session
	Place int // in the whole table, from 1
	Here  string
	May   bool // the reader may kick and ban
}

// Age is how long the session is open, in words.
func (c connection) Age() string { return wholeSeconds(time.Since(c.Started)) }

// Quiet is the time since the last byte, in words.
func (c connection) Quiet() string { return wholeSeconds(time.Duration(c.Idle * float64(time.Second))) }

func wholeSeconds(d time.Duration) string {
	if d < time.Second {
		return "0 s"
	}
	return durationText(d)
}

// For is the row as somebody sees it who may kick and ban, or may not.
func (c connection) For(may bool) connection {
	c.May = may
	return c
}

// window is the part of the table that an address of the page asks for.
type window struct {
	Search, Service, Sort, Order string
	Offset                       int
}

// columns of the table, with the order that a first click on their heading asks for; none: not sortable.
var columns = []struct{ Key, Sort, First string }{
	{"client", "client", "asc"}, {"service", "service", "asc"}, {"edge", "", ""}, {"origin", "origin", "asc"}, {"age", "started", "desc"},
	{"idle", "idle", "asc"}, {"bytes", "bytes", "desc"}, {"state", "state", "asc"}, {"protocol", "", ""},
}

// column is a heading: Link sorts by it, Sorted is as aria-sort has it.
type column struct{ Key, Sort, First, Link, Sorted string }

// Columns are the headings. The age runs against the start that sessions are sorted by.
func (w window) Columns() []column {
	var list []column
	for _, c := range columns {
		col := column{Key: c.Key, Sort: c.Sort, First: c.First, Sorted: "none"}
		next := w
		next.Offset, next.Sort, next.Order = 0, c.Sort, c.First
		if c.Sort == w.Sort {
			ascending := w.Order == "asc"
			if next.Order = "asc"; ascending {
				next.Order = "desc"
			}
			if col.Sorted = "descending"; ascending != (c.Sort == "started") {
				col.Sorted = "ascending"
			}
		}
		col.Link = next.Link()
		list = append(list, col)
	}
	return list
}

// Narrowed tells whether not all sessions are asked for.
func (w window) Narrowed() bool { return w.Search != "" || w.Service != "" }

// Link is the address of the window; what is as usual is left out.
func (w window) Link() string {
	v := url.Values{}
	for name, value := range map[string]string{"search": w.Search, "service": w.Service} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if w.Sort != "started" || w.Order != "desc" {
		v.Set("sort", w.Sort)
		v.Set("order", w.Order)
	}
	if w.Offset > 0 {
		v.Set("offset", strconv.Itoa(w.Offset))
	}
	if len(v) == 0 {
		return "/connections"
	}
	return "/connections?" + v.Encode()
}

// At is the same window elsewhere in the table.
func (w window) At(offset int) window {
	w.Offset = max(0, offset)
	return w
}

// windowOf reads the address of the page. Links of ours are right; whatever else somebody types falls back to what is
// usual.
func windowOf(v url.Values) window {
	w := window{Search: strings.TrimSpace(v.Get("search")), Service: v.Get("service"), Sort: v.Get("sort"), Order: v.Get("order")}
	if len(w.Search) > maxLookedFor {
		w.Search = strings.ToValidUTF8(w.Search[:maxLookedFor], "")
	}
	known := slices.ContainsFunc(columns, func(c struct{ Key, Sort, First string }) bool { return c.Sort == w.Sort })
	if w.Sort == "" || !known {
		w.Sort, w.Order = "started", "desc"
	}
	if w.Order != "asc" {
		w.Order = "desc"
	}
	if n, err := strconv.Atoi(v.Get("offset")); err == nil && n > 0 {
		w.Offset = min(n, maxOffset)
	}
	return w
}

// Connections answers who is connected.
func (p *Pages) Connections(c echo.Context) error {
	view := connectionsView{Window: windowOf(c.QueryParams())}
	s, _, err := p.current()
	if err != nil {
		return err
	}
	for _, service := range s.Services {
		view.Services = append(view.Services, service.Name)
	}
	w := view.Window
	view.List, err = p.Control.Sessions(c.Request().Context(), edgelink.SessionQuery{
		Limit: connectionsAtOnce, Offset: w.Offset, Service: w.Service, Search: w.Search, Sort: w.Sort, Descending: w.Order == "desc",
	})
	switch {
	case errors.Is(err, edgelink.ErrUnreachable): // every page says so
	case err != nil:
		view.Refused = sentence(err)
	}
	for i, session := range view.List.Sessions {
		view.Rows = append(view.Rows, connection{Session: session, Place: w.Offset + i + 1, Here: w.Link()})
	}
	return p.render(c, http.StatusOK, "connections", view)
}

// Blank is the row that scripts fill.
func (v connectionsView) Blank() connection { return connection{Here: v.Window.Link()} }

// First and Last are the places of the rows shown, from 1.
func (v connectionsView) First() int { return min(v.Window.Offset+1, v.Last()) }

// Last is the place of the last row shown.
func (v connectionsView) Last() int {
	if len(v.Rows) == 0 {
		return 0
	}
	return v.Window.Offset + len(v.Rows)
}

// Newer and Older are the pages beside this one; empty: there is none.
func (v connectionsView) Newer() string {
	if v.Window.Offset == 0 {
		return ""
	}
	return v.Window.At(v.Window.Offset - connectionsAtOnce).Link()
}

// Older is the next page.
func (v connectionsView) Older() string {
	if v.Last() >= v.List.Matched || len(v.Rows) == 0 {
		return ""
	}
	return v.Window.At(v.Window.Offset + connectionsAtOnce).Link()
}

// Kick ends one session or flow.
func (p *Pages) Kick(c echo.Context) error {
	var id status.ID
	if err := id.UnmarshalText([]byte(c.Param("id"))); err != nil {
		return badForm("A session id has 16 hex digits, as the table of connections shows it.")
	}
	here := localPath(c.FormValue("here"))
	err := p.Control.Kill(c.Request().Context(), id)
	if errors.Is(err, edgelink.ErrNoSession) {
		return p.back(c, here, "gone")
	}
	if err != nil {
		return err
	}
	p.record(c, "kill", id.String(), "")
	return p.back(c, here, "kicked")
}

// BanClient turns the client of a row away. A refusal is shown at the form of the Shield page, with what was sent.
func (p *Pages) BanClient(c echo.Context) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	return p.ban(c, typed, localPath(typed.Get("here")))
}

// bannable is an address, with or without its port as the table shows it, or a network.
func bannable(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if at, err := netip.ParseAddrPort(text); err == nil {
		text = at.Addr().String()
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is not an address or network; write it like 203.0.113.10 or 2001:db8::/64", text)
	}
	return p.Masked(), nil
}
