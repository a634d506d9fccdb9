package pages

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// incidentsAtOnce is how many incidents that are over a page lists.
const incidentsAtOnce = 30

// incidentsView is the attacks, the newest first.
type incidentsView struct {
	Open  []control.Incident
	Past  []incidentRow
	Older uint64 // the ID before which the next page begins; 0: there is none
	First bool
	Strip []stripPart // the last 24 hours, from the left to the right
	Today int         // how many there were in them
}

// incidentRow is an incident that is over, or goes on.
type incidentRow struct{ control.Incident }

// Lasted is how long it went on, or does until now.
func (r incidentRow) Lasted() time.Duration { return time.Duration(r.Seconds) * time.Second }

// Stopped is how much of it was dropped, in words; empty: nothing came.
func (r incidentRow) Stopped() string {
	return shareText(float64(r.Totals.Dropped), float64(r.Totals.Packets))
}

// Incidents lists the attacks that were and are.
func (p *Pages) Incidents(c echo.Context) error {
	before, err := strconv.ParseUint(c.QueryParam("before"), 10, 64)
	if err != nil {
		before = 0
	}
	now := time.Now()
	v := incidentsView{Open: p.Control.Incidents(control.IncidentQuery{Open: true}), First: before == 0}
	v.Strip, v.Today = incidentStrip(p.Control.Incidents(control.IncidentQuery{}), now)
	for _, i := range p.Control.Incidents(control.IncidentQuery{Before: before}) {
		if i.Open() {
			continue
		}
		if len(v.Past) == incidentsAtOnce {
			v.Older = v.Past[incidentsAtOnce-1].ID
			break
		}
		v.Past = append(v.Past, incidentRow{i})
	}
	return p.render(c, http.StatusOK, "incidents", v)
}

// incidentStrip draws the last 24 hours as strips of health are drawn. Each incident can be seen, however short it was.
func incidentStrip(all []control.Incident, now time.Time) (parts []stripPart, count int) {
	from := now.Add(-stripTime)
	x := func(t time.Time) int { return int(float64(t.Sub(from)) / float64(stripTime) * stripWidth) }
	for _, i := range all {
		end := i.End
		if i.Open() {
			end = now
		}
		if end.Before(from) {
			continue
		}
		count++
		left := min(max(0, x(i.Start)), stripWidth-2)
		parts = append(parts, stripPart{X: left, Width: max(2, min(stripWidth, x(end))-left)})
	}
	return parts, count
}
