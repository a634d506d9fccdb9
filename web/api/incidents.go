package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/incident/pcapng"
	"breakwater/appliance/status"
)

const (
	// incidentPage is how many incidents an answer has unless the query says otherwise, maxIncidentPage the most.
	incidentPage    = 50
	maxIncidentPage = 500
)

// ListIncidents answers incidents, the newest first, without their series. The query: before (an ID; only incidents older
// than that), limit, service, vector, open=true.
func (a *API) ListIncidents(c echo.Context) error {
	before, err := numberParam(c, "before", 0, 1<<53)
	if err != nil {
		return err
	}
	limit, err := numberParam(c, "limit", incidentPage, maxIncidentPage)
	if err != nil {
		return err
	}
	q := control.IncidentQuery{Before: uint64(before), Limit: limit, Service: c.QueryParam("service"), Vector: status.Vector(c.QueryParam("vector"))}
	switch open := c.QueryParam("open"); open {
	case "", "false":
	case "true":
		q.Open = true
	default:
		return badRequest(fmt.Sprintf("open=%.40q is not true or false.", open))
	}
	incidents := a.Control.Incidents(q)
	for i := range incidents {
		whole(&incidents[i])
	}
	return c.JSON(http.StatusOK, list(incidents))
}

// GetIncident answers one incident with its series.
func (a *API) GetIncident(c echo.Context) error {
	n, err := numberOf(c)
	if err != nil {
		return err
	}
	i, err := a.Control.Incident(n)
	if err != nil {
		return err
	}
	whole(&i)
	return c.JSON(http.StatusOK, i)
}

// whole makes every list of an incident one that JSON shows.
func whole(i *control.Incident) {
	e := &i.Evidence
	i.Parts, i.Services, i.Actions, i.Lines = list(i.Parts), list(i.Services), list(i.Actions), list(i.Lines)
	e.Sources, e.Networks, e.Destinations = list(e.Sources), list(e.Networks), list(e.Destinations)
	e.SourcePorts, e.Ports, e.Reasons = list(e.SourcePorts), list(e.Ports), list(e.Reasons)
}

// GetIncidentPackets answers the packets that are kept of an incident as a capture file.
func (a *API) GetIncidentPackets(c echo.Context) error {
	n, err := numberOf(c)
	if err != nil {
		return err
	}
	packets, err := a.Control.IncidentPackets(n)
	if err != nil {
		return err
	}
	attach(c, fmt.Sprintf("breakwater-incident-%d", n), "pcapng", "application/x-pcapng")
	return pcapng.Write(c.Response(), "Breakwater", packets)
}

// GetDryRun answers what mode monitor let pass although the shield would have dropped it.
func (a *API) GetDryRun(c echo.Context) error {
	d, err := a.Control.DryRun(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, d)
}
