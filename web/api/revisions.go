package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// ListRevisions answers what is kept, the newest first, without documents.
func (a *API) ListRevisions(c echo.Context) error {
	revisions, err := a.Control.Revisions()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(revisions))
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
	return c.JSON(http.StatusOK, Changes{list(changes)})
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
	return a.changed(c, "settings-rollback", fmt.Sprintf("to revision %d", n), result, err)
}

func numberOf(c echo.Context) (uint64, error) {
	n, err := strconv.ParseUint(c.Param("number"), 10, 64)
	if err != nil || n == 0 {
		return 0, badRequest("What stands in the address is not a number from 1.")
	}
	return n, nil
}
