package pages

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/history"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/caller"
)

// originsView is every pool with its origins.
type originsView struct {
	Pools   []poolCard
	History []history.OriginChange
	Strip   []originStrip
}

// poolCard is one pool: as it is wanted, and as it is seen.
type poolCard struct {
	settings.Pool // with its defaults
	Panic         bool
	UsedBy        []string
	Rows          []originRow
}

// originRow is one address of an origin. A DNS name can have several.
type originRow struct {
	settings.Origin        // with its defaults
	Target          string // the address that is connected to; empty: as written, or not known yet
	State           string // up, down, drain, maintenance or unknown
	Seen            status.Origin
	FirstOfOrigin   bool // the row with the buttons
}

// shownHistory is how many changes of health the page lists.
const shownHistory = 50

// Few tells whether the page is small enough to be read again every few seconds.
func (v originsView) Few() bool { return len(v.Pools) <= readAgain }

// Origins shows the pools.
func (p *Pages) Origins(c echo.Context) error {
	now, _, err := p.readable()
	if err != nil {
		return err
	}
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	full := now.WithDefaults()
	view := originsView{}
	for _, pool := range full.Pools {
		card := poolCard{Pool: pool, UsedBy: usersOf(full, pool.Name), Rows: originRows(pool, seen.Edge)}
		if seen.Edge != nil {
			card.Panic = seenPool(*seen.Edge, pool.Name).Panic
		}
		view.Pools = append(view.Pools, card)
	}
	history := p.Control.OriginHistory()
	view.History = history[:min(len(history), shownHistory)]
	if seen.Edge != nil {
		view.Strip = strips(*seen.Edge, history, seen.Started)
	}
	return p.renderSeen(c, http.StatusOK, "origins", seen, view)
}

// usersOf are the names of the services that lead to a pool.
func usersOf(s settings.Settings, pool string) []string {
	var names []string
	for _, service := range s.Services {
		if service.Pool == pool {
			names = append(names, service.Name)
		}
	}
	return names
}

func seenPool(edge status.Edge, name string) status.Pool {
	i := slices.IndexFunc(edge.Pools, func(p status.Pool) bool { return p.Name == name })
	if i < 0 {
		return status.Pool{}
	}
	return edge.Pools[i]
}

// originRows pairs the origins of a pool with what is seen of them. An origin that nothing is seen of has one row too.
func originRows(pool settings.Pool, edge *status.Edge) []originRow {
	var seen []status.Origin
	if edge != nil {
		seen = seenPool(*edge, pool.Name).Origins
	}
	var rows []originRow
	for _, o := range pool.Origins {
		first := true
		for _, s := range seen {
			if s.Name == o.Name {
				rows = append(rows, originRow{o, s.Address, stateOf(o, s), s, first})
				first = false
			}
		}
		if first {
			rows = append(rows, originRow{Origin: o, State: stateOf(o, status.Origin{}), FirstOfOrigin: true})
		}
	}
	return rows
}

// stateOf is one word for how an origin is: what the operator wants comes before what is seen.
func stateOf(o settings.Origin, seen status.Origin) string {
	switch {
	case o.State != "active":
		return o.State
	case seen.Name == "":
		return "unknown"
	case seen.Up:
		return "up"
	}
	return "down"
}

// OriginState drains an origin, takes it out or back in. It is a change of the settings, applied at once, and the only
// one that an operator may make.
func (p *Pages) OriginState(c echo.Context) error {
	pool, origin, state := c.Param("pool"), c.Param("origin"), c.FormValue("state")
	result, err := p.Control.SetOriginState(c.Request().Context(), pool, origin, state, caller.Of(c.Request().Context()).Name)
	if err != nil {
		return err
	}
	if result.Unchanged {
		return p.back(c, "/origins", "unchanged")
	}
	p.record(c, "origin-state", fmt.Sprintf("revision %d", result.Revision), origin+": "+state)
	return p.back(c, "/origins", "origin-"+state)
}

// Shown is the address of an origin as people read it.
func (r originRow) Shown() string {
	if r.Target == "" || r.Target == r.Address {
		return withPort(r.Address, r.Port)
	}
	return r.Target
}

// FromName is the DNS name that the address was found under; empty: it was written as an address.
func (r originRow) FromName() string {
	if r.Record == "" {
		return ""
	}
	return r.Address
}

func withPort(address string, port settings.Ports) string {
	if port.Count() == 0 {
		return address
	}
	if slices.Contains([]byte(address), ':') {
		address = "[" + address + "]"
	}
	return address + ":" + port.String()
}
