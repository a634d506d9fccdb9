package api

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"
)

// TestAlerts sends a test message to everybody who is told of incidents, and answers what they said.
func (a *API) TestAlerts(c echo.Context) error {
	trials, err := a.Control.TestAlerts(c.Request().Context())
	if err != nil {
		return err
	}
	if err := a.record(c, "alerts-test", "", ""); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(trials))
}

// SecretRequest sets a secret.
type SecretRequest struct {
	Secret string `json:"secret"`
}

// ListSecrets answers which secrets are set and which the settings need. What they are is never told.
func (a *API) ListSecrets(c echo.Context) error {
	secrets, err := a.Control.Secrets()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(secrets))
}

// PutSecret sets a secret: {"secret": "https://discord.com/api/webhooks/…"}.
func (a *API) PutSecret(c echo.Context) error {
	name, err := secretName(c)
	if err != nil {
		return err
	}
	var body SecretRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	if err := a.Control.SetSecret(name, body.Secret, authorOf(c)); err != nil {
		return err
	}
	return done(c, a.record(c, "secret-set", name, ""))
}

// DeleteSecret forgets a secret.
func (a *API) DeleteSecret(c echo.Context) error {
	name, err := secretName(c)
	if err != nil {
		return err
	}
	if err := a.Control.DeleteSecret(name); err != nil {
		return err
	}
	return done(c, a.record(c, "secret-delete", name, ""))
}

func secretName(c echo.Context) (string, error) {
	name, err := url.PathUnescape(c.Param("name"))
	if err != nil {
		return "", badRequest("The name in the address cannot be read.")
	}
	return name, nil
}
