package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// ListRevisions answers what is kept, the newest first, without documents.
func (a *API) ListRevisions(c echo.Context) error {
	list, err := a.Control.Revisions()
	if err != nil {
		return err
	}
	if list == nil {
		list = []control.Revision{}
	}
	return c.JSON(http.StatusOK, list)
}

// GetRevision answers the document of a revision.
func (a *API) GetRevision(c echo.Context) error {
	n, err := numberOf(c)
	if err != nil {
		return err
	}
	r, err := a.Control.Revision(n)
	if err != nil {
		return err
	}
	return document(c, r)
}

// DiffRevision answers what a revision changed.
func (a *API) DiffRevision(c echo.Context) error {
	n, err := numberOf(c)
	if err != nil {
		return err
	}
	changes, err := a.Control.DiffBefore(n)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, changesOf(changes))
}

// Rollback applies the document of a revision again, as a new one. The query is that of PutSettings.
func (a *API) Rollback(c echo.Context) error {
	n, err := numberOf(c)
	if err != nil {
		return err
	}
	meta, err := metaOf(c)
	if err != nil {
		return err
	}
	result, err := a.Control.Rollback(c.Request().Context(), n, meta)
	return answer(c, result, err)
}

func numberOf(c echo.Context) (uint64, error) {
	n, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil || n == 0 {
		return 0, badRequest("A revision is a number from 1.")
	}
	return n, nil
}
