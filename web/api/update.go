package api

import (
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"
)

// GetUpdate answers which versions there are, and how far the next one has come.
func (a *API) GetUpdate(c echo.Context) error { return a.answerUpdate(c, http.StatusOK) }

func (a *API) answerUpdate(c echo.Context, status int) error {
	u, err := a.Control.Update(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(status, u)
}

// PutUpdate takes an update file, which is the body. It is checked while it arrives, and installed by InstallUpdate.
func (a *API) PutUpdate(c echo.Context) error {
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/octet-stream" {
		return Refuse("media-type", "Send the update file as Content-Type: application/octet-stream.")
	}
	release, err := a.Control.ReceiveUpdate(r.Body, r.ContentLength)
	if err != nil {
		return err
	}
	if err := a.record(c, "update-upload", release.Version, ""); err != nil {
		return err
	}
	return a.answerUpdate(c, http.StatusOK)
}

// FetchUpdate begins to fetch the update from the URL of the settings.
func (a *API) FetchUpdate(c echo.Context) error {
	if err := a.Control.FetchUpdate(); err != nil {
		return err
	}
	if err := a.record(c, "update-fetch", "", ""); err != nil {
		return err
	}
	return a.answerUpdate(c, http.StatusAccepted)
}

// InstallUpdate begins to write the received update into the other slot. It starts at the next restart.
func (a *API) InstallUpdate(c echo.Context) error {
	version, err := a.Control.InstallUpdate()
	if err != nil {
		return err
	}
	if err := a.record(c, "update-install", version, ""); err != nil {
		return err
	}
	return a.answerUpdate(c, http.StatusAccepted)
}

// DeleteUpdate throws the received update away.
func (a *API) DeleteUpdate(c echo.Context) error {
	if err := a.Control.ForgetUpdate(); err != nil {
		return err
	}
	return done(c, a.record(c, "update-remove", "", ""))
}
