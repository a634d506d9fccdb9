package api

import (
	"cmp"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// GetStatus answers what is wanted, what is observed and what is wrong.
func (a *API) GetStatus(c echo.Context) error {
	s, err := a.Control.Status(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, withLists(s))
}

// withLists has an empty list wherever edge left one out, so that a program need not ask for null.
func withLists(s control.Status) control.Status {
	s.Conditions = list(s.Conditions)
	if s.Edge == nil {
		return s
	}
	e := *s.Edge
	e.Conditions, e.Services, e.Reasons = list(e.Conditions), list(e.Services), list(e.Reasons)
	e.Gateways = list(e.Gateways)
	e.Shield.Mode = cmp.Or(e.Shield.Mode, plan.ShieldOff)
	e.Shield.Addresses = list(e.Shield.Addresses)
	e.Shield.Attachments, e.Shield.Vectors, e.Shield.Rules = list(e.Shield.Attachments), list(e.Shield.Vectors), list(e.Shield.Rules)
	e.Shield.Would = list(e.Shield.Would)
	e.Pools = append([]status.Pool{}, e.Pools...)
	for i := range e.Pools {
		e.Pools[i].Origins, e.Pools[i].SourceAddresses = list(e.Pools[i].Origins), list(e.Pools[i].SourceAddresses)
	}
	e.Interfaces = append([]status.Interface{}, e.Interfaces...)
	for i := range e.Interfaces {
		e.Interfaces[i].Addresses = list(e.Interfaces[i].Addresses)
	}
	s.Edge = &e
	return s
}
