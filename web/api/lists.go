package api

import (
	"fmt"
	"mime"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
)

// ListFiles are the lists of the settings in force, and the files about countries and networks.
type ListFiles struct {
	Lists []control.ListFile `json:"lists"`
	Geo   []control.ListFile `json:"geo"`
}

// ListLists answers what is known of each list and file: how old it is, how many entries it has, what was broken.
func (a *API) ListLists(c echo.Context) error {
	all, geo, err := a.Control.Lists()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, ListFiles{all, geo})
}

// PutList takes a list that the settings name without a URL; the body is its text, which may be packed with gzip.
func (a *API) PutList(c echo.Context) error {
	if err := requireFile(c, "text/plain"); err != nil {
		return err
	}
	f, err := a.Control.TakeList(c.Param("name"), c.Request().Body)
	if err != nil {
		return err
	}
	if err := a.record(c, "list-upload", f.Name, fmt.Sprintf("%d entries", f.Entries)); err != nil {
		return err
	}
	return a.ListLists(c)
}

// PutGeo takes a file about countries, AS numbers, or both; the body is an MMDB file, which may be packed with gzip.
func (a *API) PutGeo(c echo.Context) error {
	if err := requireFile(c, "application/octet-stream"); err != nil {
		return err
	}
	taken, err := a.Control.TakeGeo(c.Request().Body)
	if err != nil {
		return err
	}
	for _, f := range taken {
		if err := a.record(c, "geo-upload", f.Name, f.Type); err != nil {
			return err
		}
	}
	return a.ListLists(c)
}

// requireFile refuses a body that calls itself something else: a form of another site cannot call itself octets.
func requireFile(c echo.Context, also string) error {
	kind, _, err := mime.ParseMediaType(c.Request().Header.Get("Content-Type"))
	if err == nil && (kind == "application/octet-stream" || kind == also) {
		return nil
	}
	return Refuse("media-type", "Send the file as Content-Type: "+also+".")
}

// ofList is the problem for a list that was not taken, with its broken lines.
func ofList(e *control.ListUnusable) *Problem {
	p := Refuse("list-refused", sentence(e.Error()))
	for _, b := range e.Broken {
		p.Problems = append(p.Problems, settings.Problem{Field: fmt.Sprintf("line %d", b.Line), Text: fmt.Sprintf("%q: %s", b.Text, b.Why)})
	}
	return p
}
