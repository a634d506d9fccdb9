package api

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// NewToken is a token with its secret, which only the answer to its creation shows.
type NewToken struct {
	control.Token
	Secret string `json:"secret"`
}

// CreateToken makes a token: {"name": "ci"}.
func (a *API) CreateToken(c echo.Context) error {
	var body struct {
		Name string `json:"name"`
	}
	decoder := json.NewDecoder(c.Request().Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return badRequest("The body must be JSON like {\"name\": \"ci\"}.")
	}
	token, secret, err := a.Control.CreateToken(body.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, NewToken{token, secret})
}

// ListTokens answers the tokens without their secrets.
func (a *API) ListTokens(c echo.Context) error {
	list, err := a.Control.Tokens()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list)
}

// DeleteToken revokes a token at once.
func (a *API) DeleteToken(c echo.Context) error {
	if err := a.Control.DeleteToken(c.Param("name")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
