package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/web/api"
)

// A large body has to go on: somebody who sends a byte now and then would hold its place for days.
const (
	uploadWait = 30 * time.Second // for the next uploadStep
	uploadStep = 1 << 20          // bytes: 1 GiB takes at most nine hours
)

type wholeBody struct{}

// bounded lets maxBody bytes of a request through. A row of the site map that takes more finds the body as it came with
// large, which is called only once it is known who calls.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), wholeBody{}, r.Body))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

// large lets handle read up to most bytes, without the time that ends other requests. What handle leaves of a body that
// is on its way is read and thrown away: a browser that still sends does not read what became of it. Who asks before
// sending (RFC 9110, Expect) is answered at once.
func large(c echo.Context, most int64, handle echo.HandlerFunc) error {
	r := c.Request()
	body, ok := r.Context().Value(wholeBody{}).(io.ReadCloser)
	if !ok {
		return handle(c)
	}
	whole := &upload{ReadCloser: http.MaxBytesReader(c.Response(), body, most), server: http.NewResponseController(c.Response()), wait: uploadWait}
	r.Body = whole
	err := handle(c)
	if whole.begun || r.Header.Get("Expect") == "" {
		_, _ = io.Copy(io.Discard, whole) // whatever comes of it, err is the answer
	}
	return err
}

// upload is a large body whose deadlines move on with it.
type upload struct {
	io.ReadCloser
	server *http.ResponseController
	wait   time.Duration // for the next uploadStep
	left   int           // bytes of that
	begun  bool
}

// Read ends with a problem when too little has come for too long.
func (u *upload) Read(p []byte) (int, error) {
	u.begun = true
	if u.left <= 0 {
		u.left = uploadStep
		now := time.Now()
		if err := errors.Join(u.server.SetReadDeadline(now.Add(u.wait)), u.server.SetWriteDeadline(now.Add(u.wait+writeWait))); err != nil {
			return 0, err
		}
	}
	n, err := u.ReadCloser.Read(p)
	u.left -= n
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = api.Refuse("too-slow", "The upload was ended: less than 1 MiB came in 30 seconds.")
	}
	return n, err
}
