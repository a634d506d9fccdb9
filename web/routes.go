package web

import (
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
	"breakwater/web/pages"
	"breakwater/web/sitemap"
	"breakwater/web/tls"
)

// site is everything behind the two ways in.
type site struct {
	control      *control.Control
	access       *access.Access
	certificates *tls.Certificates
	api          *api.API
	pages        *pages.Pages
	log          *slog.Logger
	large        chan struct{} // places for large forms of strangers
}

func newSite(o Options) (*site, error) {
	p, err := pages.New(pages.Options{Control: o.Control, Access: o.Access, Certificates: o.Certificates, Log: o.Log})
	if err != nil {
		return nil, err
	}
	return &site{
		control: o.Control, access: o.Access, certificates: o.Certificates, log: o.Log, large: make(chan struct{}, strangersLarge),
		api: &api.API{Control: o.Control, Access: o.Access, Certificates: o.Certificates}, pages: p,
	}, nil
}

// routes is the whole site map, each row behind its permission.
func (s *site) routes() http.Handler { return s.serve(s.table()) }

func (s *site) serve(table []sitemap.Route) http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = s.answerError
	for _, r := range table {
		e.Add(r.Method, r.Path, s.caught(s.guarded(r)))
	}
	static := echo.WrapHandler(s.pages.Static())
	e.GET("/static/*", static)
	e.HEAD("/static/*", static)
	return e
}

func (s *site) table() []sitemap.Route { return slices.Concat(s.api.Routes(), s.pages.Routes()) }

// answerError words an error for whoever asked: a problem for programs, a page for browsers.
func (s *site) answerError(err error, c echo.Context) {
	if isAPI(c.Request().URL.Path) {
		if api.ProblemOf(err).Status == http.StatusInternalServerError {
			s.log.Error("a call could not be answered", "path", c.Request().URL.Path, "err", err)
		}
		api.HandleError(err, c)
		return
	}
	s.pages.HandleError(err, c)
}

// names are those that the box answers under, besides its addresses.
func (s *site) names() []string {
	names := append(slices.Clone(s.control.Management().Names), "localhost")
	if host := hostName(); host != "" {
		names = append(names, host, host+".local")
	}
	return names
}

// hostName is what the machine is called now; settings may change it. Empty: it is not known.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return strings.ToLower(host)
}

// useNames gives the certificates the names of the settings. What cannot be had is a condition, and the page goes on
// with the certificate that it has.
func (s *site) useNames(m settings.Management) {
	if err := s.certificates.Refresh(m.Names); err != nil {
		s.log.Error("renew the certificate", "err", err)
	}
	if err := s.certificates.SetACME(m.Names, m.ACME.Email, m.ACME.Directory); err != nil {
		s.log.Error("set up the certificate authority", "err", err)
	}
}
