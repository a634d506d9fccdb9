package pages

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/incident"
)

const (
	// pointsAtOnce is how many rows the table below the chart has.
	pointsAtOnce = 60
	// seenAtOnce is how many of the most frequent addresses and ports are listed.
	seenAtOnce = 10
)

// incidentView is one attack: what happened, who did it, what the shield did.
type incidentView struct {
	incidentRow
	Words  []string
	Points []incident.Point // some of the series
	Seen   []seenTable
	Ban    string // why a ban from here is made
}

// seenTable is what was seen most among the packets that the shield picked out.
type seenTable struct {
	Key  string // its text is incident.seen.KEY
	Bans bool   // its rows are addresses that could be banned
	Rows []seenRow
}

type seenRow struct {
	Value string
	Share string
}

// Incident shows one attack.
func (p *Pages) Incident(c echo.Context) error {
	number, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil {
		return echo.ErrNotFound
	}
	i, err := p.Control.Incident(number)
	if err != nil {
		return err
	}
	v := &incidentView{incidentRow: incidentRow{i}, Words: i.Words(), Points: somePoints(i.Series), Seen: seenIn(i.Evidence),
		Ban: p.text.say("incident.ban.reason", i.ID, i.Title())}
	return p.render(c, http.StatusOK, "incident", v)
}

// Would is how much of it mode monitor would have dropped, in words.
func (v incidentView) Would() string {
	return shareText(float64(v.Totals.Would), float64(v.Totals.Packets))
}

// somePoints are as many of the points as a table shows, evenly.
func somePoints(all []incident.Point) []incident.Point {
	every := (len(all) + pointsAtOnce - 1) / pointsAtOnce
	var some []incident.Point
	for i := 0; i < len(all); i += every {
		some = append(some, all[i])
	}
	return some
}

// seenIn leaves out what says nothing.
func seenIn(e incident.Evidence) []seenTable {
	var tables []seenTable
	for _, t := range []struct {
		key  string
		bans bool
		list []incident.Count
	}{
		{"sources", true, e.Sources}, {"networks", true, e.Networks}, {"ports", false, e.Ports}, {"sourcePorts", false, e.SourcePorts},
		{"destinations", false, e.Destinations},
	} {
		table := seenTable{Key: t.key, Bans: t.bans}
		for _, c := range t.list[:min(seenAtOnce, len(t.list))] {
			table.Rows = append(table.Rows, seenRow{c.Value, shareText(float64(c.Count-c.Error), float64(e.Samples))})
		}
		if len(table.Rows) > 0 {
			tables = append(tables, table)
		}
	}
	return tables
}

// openIncidents are those that go on, for the pages that tell so at their top.
func (p *Pages) openIncidents() []control.Incident {
	return p.Control.Incidents(control.IncidentQuery{Open: true})
}
