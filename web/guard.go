package web

import (
	"errors"
	"net/http"
	"strings"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
)

// maxBody bounds a request: a settings document and some room, so that a document that is a little too large gets the
// sentence of the settings and not a broken connection.
const maxBody = settings.MaxSize + 64<<10

// socketHandler serves the unix socket. Whoever can open its file is an administrator.
func socketHandler(c *control.Control) http.Handler {
	return outer(as("local", routes(c)))
}

// networkHandler serves the network: a token is needed for everything.
func networkHandler(c *control.Control) http.Handler {
	return outer(withToken(c, newThrottle(), routes(c)))
}

// outer is what goes around every answer. The cross-origin check is the outermost: a web page of somebody else must not
// reach anything with the browser of an operator.
func outer(h http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(withHeaders(http.HandlerFunc(denyCrossOrigin)))
	return protection.Handler(withHeaders(http.MaxBytesHandler(h, maxBody)))
}

func denyCrossOrigin(w http.ResponseWriter, _ *http.Request) {
	(&api.Problem{Status: http.StatusForbidden, Code: "cross-origin", Detail: "A page of another site may not change anything here."}).Write(w)
}

func withHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// as lets h answer author.
func as(author string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(api.WithAuthor(r.Context(), author)))
	})
}

// withToken lets the bearer of a token in (RFC 6750). A good token always gets in: its 256 random bits cannot be
// guessed, so the throttle is for the wrong ones only and nobody can lock an operator out with them.
func withToken(c *control.Control, t *throttle, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			secret = ""
		}
		token, err := c.Authenticate(strings.TrimSpace(secret))
		switch {
		case err == nil:
			as(token.Name, h).ServeHTTP(w, r)
		case !errors.Is(err, control.ErrNotFound):
			(&api.Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "The tokens cannot be read: " + err.Error()}).Write(w)
		case secret != "" && !t.admit(r.RemoteAddr):
			w.Header().Set("Retry-After", retryAfter)
			(&api.Problem{Status: http.StatusTooManyRequests, Code: "too-many-failures", Detail: "Too many wrong tokens came from this address. Wait a little."}).Write(w)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="breakwater"`)
			(&api.Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "A valid token is needed: Authorization: Bearer … ."}).Write(w)
		}
	})
}
