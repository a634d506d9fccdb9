package api

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

// NewToken is a token with its secret, which only the answer to its creation shows.
type NewToken struct {
	access.Token
	Secret string `json:"secret"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Name     string      `json:"name"`
	Role     access.Role `json:"role,omitempty"`     // default: admin
	Expires  time.Time   `json:"expires,omitzero"`   // left out: never
	Networks []string    `json:"networks,omitempty"` // from where it may be used; left out: from anywhere
}

// CreateToken makes a token: {"name": "ci", "role": "viewer", "expires": "2030-01-01T00:00:00Z", "networks": ["10.0.0.0/8"]}.
func (a *API) CreateToken(c echo.Context) error {
	var body TokenRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	wanted := access.NewToken{Name: body.Name, Role: body.Role, Expires: body.Expires}
	if wanted.Role == "" {
		wanted.Role = access.Admin
	}
	var err error
	if wanted.Networks, err = networksOf(body.Networks); err != nil {
		return err
	}
	by := callerOf(c)
	token, secret, err := a.Access.CreateToken(by.Identity, by.Peer, wanted)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, NewToken{token, secret})
}

func networksOf(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for i, text := range texts {
		p, err := prefixOf(text)
		if err != nil {
			return nil, invalid("invalid", "networks["+strconv.Itoa(i)+"]", sentence(err.Error()))
		}
		networks = append(networks, p)
	}
	return networks, nil
}

// ListTokens answers the tokens without their secrets.
func (a *API) ListTokens(c echo.Context) error {
	tokens, err := a.Access.Tokens()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(tokens))
}

// DeleteToken revokes a token at once.
func (a *API) DeleteToken(c echo.Context) error {
	by := callerOf(c)
	return done(c, a.Access.DeleteToken(by.Identity, by.Peer, c.Param("name")))
}
