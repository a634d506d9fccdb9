package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/settings"
	"breakwater/web/api"
	"breakwater/web/caller"
	"breakwater/web/sitemap"
)

// maxBody bounds a request: a settings document and some room, so that a document that is a little too large gets the
// sentence of the settings and not a broken connection.
const maxBody = settings.MaxSize + 64<<10

// A form that nobody is signed in for is kept in the page that asks for the login, which costs many times its size.
// Forms are small as a rule; larger ones pass only few at a time, so that strangers cannot fill the memory.
const (
	strangersBody  = 16 << 10 // bytes
	strangersLarge = 2        // at a time, of more bytes than that
)

// outer is what goes around every answer, whatever it is: headers first, so that refusals have them too; then the name
// under which the box was opened, since a page of somebody else whose name leads here passes every other check (DNS
// rebinding); then the check that no page of another site makes the browser of an operator do something.
func (s *site) outer(h http.Handler) http.Handler {
	return s.withHeaders(s.onlyOurNames(fromOurPages(h)))
}

// local goes around the answers over the unix socket. It has no name of its own, and programs send any.
func (s *site) local(h http.Handler) http.Handler { return s.withHeaders(fromOurPages(h)) }

func fromOurPages(h http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(denyCrossOrigin))
	return protection.Handler(bounded(h))
}

func denyCrossOrigin(w http.ResponseWriter, _ *http.Request) {
	(&api.Problem{Status: http.StatusForbidden, Code: "cross-origin", Detail: "A page of another site may not change anything here."}).Write(w)
}

// withHeaders follows OWASP ASVS 5.0, 3.4. Strict-Transport-Security is sent only with a certificate that browsers trust:
// with our own it would lock an operator out who has accepted it once.
func (s *site) withHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		header.Set("Cache-Control", "no-store")
		if r.TLS != nil && s.certificates.Trusted(r.TLS.ServerName) {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		h.ServeHTTP(w, r)
	})
}

// onlyOurNames answers under addresses and under names that are ours. An address cannot be rebound: whoever opens the
// box by one has typed it.
func (s *site) onlyOurNames(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ours(r.Host) {
			(&api.Problem{Status: http.StatusMisdirectedRequest, Code: "host", Detail: "This box is not known by the name in the request. Open it by its address, or add the name to the management names."}).Write(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (s *site) ours(host string) bool {
	name := hostOf(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.Contains(s.names(), name)
}

// hostOf is a Host header without its port and brackets.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// overSocket lets whoever can open the unix socket be the box's administrator.
func overSocket(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller.Caller{Identity: access.Local(), Peer: access.Peer{Agent: r.UserAgent(), At: "local"}}
		h.ServeHTTP(w, r.WithContext(caller.With(r.Context(), c)))
	})
}

// overNetwork finds out who calls: a token (RFC 6750) or the cookie of a login. Nobody is somebody too: the route
// decides whether that is enough.
func (s *site) overNetwork(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller.Caller{Peer: peerOf(r), Connected: connectedAt(r.Context())}
		if !s.control.MayReach(c.Peer.Addr) { // the connection is older than the networks
			w.Header().Set("Connection", "close")
			api.Refuse("forbidden", "The address that you come from is not in the management networks.").Write(w)
			return
		}
		var err error
		if secret, ok := bearer(r); ok {
			c.Identity, err = s.access.ByToken(secret, c.Peer)
		} else if cookie, missing := r.Cookie(caller.Cookie); missing == nil {
			c.Identity, err = s.access.ByCookie(cookie.Value, c.Peer)
		}
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			api.ProblemOf(err).Write(w)
			return
		}
		h.ServeHTTP(w, r.WithContext(caller.With(r.Context(), c)))
	})
}

func bearer(r *http.Request) (string, bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), strings.EqualFold(scheme, "Bearer")
}

// peerOf is the TCP peer. Headers that name another client are not looked at: anyone can send them.
func peerOf(r *http.Request) access.Peer {
	p := access.Peer{Agent: r.UserAgent(), At: r.Host} // with its port: passkeys are bound to the whole origin
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = ap.Addr().Unmap().WithZone("")
	}
	return p
}

type connectedKey struct{}

// noteConnected is the ConnContext of the servers.
func noteConnected(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectedKey{}, time.Now())
}

func connectedAt(ctx context.Context) time.Time {
	t, _ := ctx.Value(connectedKey{}).(time.Time)
	return t
}

// guarded is a route behind its permission and, where it is dangerous, a fresh proof of who is there.
func (s *site) guarded(r sitemap.Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		who := caller.Of(c.Request().Context())
		forAPI := isAPI(c.Request().URL.Path)
		switch {
		case r.Needs == access.Public:
		case who.Name == "" && forAPI:
			c.Response().Header().Set("WWW-Authenticate", `Bearer realm="breakwater"`)
			return &api.Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "A valid token is needed: Authorization: Bearer … ."}
		case who.Name == "":
			return s.formOf(c, s.pages.AskLogin)
		case !who.May(r.Needs):
			return &api.Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: "The role " + string(who.Role) + " may not do this."}
		}
		if err := notByAccident(c.Request(), who); err != nil {
			return err
		}
		if r.Danger && !who.Fresh(time.Now()) {
			if forAPI || r.Body > 0 { // a form of this size does not wait in a page until the password is given
				return &api.Problem{Status: http.StatusForbidden, Code: "proof-needed", Detail: "This needs the password again: it was last given more than 5 minutes ago."}
			}
			return s.formOf(c, func(c echo.Context) error { return s.pages.Prove(c, r.Handle) })
		}
		if r.Body > 0 {
			return large(c, r.Body, r.Handle)
		}
		if forAPI {
			return r.Handle(c)
		}
		return s.formOf(c, r.Handle)
	}
}

// formOf reads the form of a page before handle does: what cannot be read is refused in one way, and what strangers send
// is bounded.
func (s *site) formOf(c echo.Context, handle echo.HandlerFunc) error {
	if c.Request().Method != http.MethodPost {
		return handle(c)
	}
	if caller.Of(c.Request().Context()).Name == "" {
		defer s.boundStranger(c)()
	}
	_, err := c.FormParams()
	if _, large := errors.AsType[*http.MaxBytesError](err); err != nil && !large {
		return api.Refuse("bad-request", "The form cannot be read: "+err.Error()+".")
	}
	if err != nil {
		return err
	}
	return handle(c)
}

// boundStranger bounds the body of a request that nobody is signed in for. The function it returns gives the place of a
// large one back.
func (s *site) boundStranger(c echo.Context) (leave func()) {
	r := c.Request()
	if r.ContentLength > strangersBody {
		select {
		case s.large <- struct{}{}:
			return func() { <-s.large }
		default:
		}
	}
	r.Body = http.MaxBytesReader(c.Response().Writer, r.Body, strangersBody)
	return func() {}
}

// caught answers for a handler that panics. net/http would close the connection and tell nobody: its log is that of
// strangers' broken handshakes.
func (s *site) caught(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			what := recover()
			if what == nil {
				return
			}
			s.log.Error("a handler panicked", "path", c.Request().URL.Path, "err", what, "stack", string(debug.Stack()))
			if c.Response().Committed {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			err = api.Refuse("internal", "This is a fault of the box. Its log tells more.")
		}()
		return next(c)
	}
}

// notByAccident refuses what changes something and shows no sign of a browser's own page: CrossOriginProtection lets
// requests pass that carry neither Sec-Fetch-Site nor Origin, since programs send none. Programs have no cookie.
func notByAccident(r *http.Request, who caller.Caller) error {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if safe || who.Way != access.ByLogin || r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != "" {
		return nil
	}
	return &api.Problem{Status: http.StatusForbidden, Code: "cross-origin", Detail: "A request with a login must come from a page of this box; programs use a token."}
}

func isAPI(path string) bool { return strings.HasPrefix(path, "/api/") || path == "/metrics" }
