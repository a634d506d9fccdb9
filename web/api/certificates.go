package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/web/tls"
)

// ListCertificates answers what browsers may be shown.
func (a *API) ListCertificates(c echo.Context) error {
	if a.Certificates == nil {
		return c.JSON(http.StatusOK, []tls.Certificate{})
	}
	all := a.Certificates.Describe()
	for i := range all {
		all[i].Names = list(all[i].Names)
	}
	return c.JSON(http.StatusOK, all)
}

// PutCertificate takes the operator's own certificate: {"certificate": PEM of the chain, "key": PEM}.
func (a *API) PutCertificate(c echo.Context) error {
	if a.Certificates == nil {
		return noListener()
	}
	var body struct {
		Certificate string `json:"certificate"`
		Key         string `json:"key"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	if err := a.Certificates.SetOwn([]byte(body.Certificate), []byte(body.Key)); err != nil {
		return err
	}
	return done(c, a.record(c, "certificate-upload", a.ownFingerprint(), ""))
}

func (a *API) ownFingerprint() string {
	for _, d := range a.Certificates.Describe() {
		if d.Kind == tls.Own {
			return d.Fingerprint
		}
	}
	return ""
}

// DeleteCertificate goes back to the box's other certificates.
func (a *API) DeleteCertificate(c echo.Context) error {
	if a.Certificates == nil {
		return noListener()
	}
	fingerprint := a.ownFingerprint()
	if err := a.Certificates.RemoveOwn(); err != nil {
		return err
	}
	return done(c, a.record(c, "certificate-remove", fingerprint, ""))
}

func noListener() error {
	return Refuse("not-found", "This box listens on its socket only, without TLS.")
}
