package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/sitemap"
)

const urlencoded = "application/x-www-form-urlencoded"

// TestStrangersCannotFillTheMemoryWithForms: 32 of a megabyte at a time, from one peer and without a login, took 500 MB.
// What somebody typed whose login is over is kept all the same.
func TestStrangersCannotFillTheMemoryWithForms(t *testing.T) {
	b := newBox(t)
	b.overNetwork()
	form := func(size int) string { return url.Values{"document": {strings.Repeat("w", size)}}.Encode() }
	send := func(body string) *httptest.ResponseRecorder {
		return b.call("POST", "/changes/import", body, "Content-Type", urlencoded, "Sec-Fetch-Site", "same-origin")
	}
	for range strangersLarge {
		b.site.large <- struct{}{} // others send large ones right now
	}
	if w := send(form(strangersBody / 2)); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), strings.Repeat("w", strangersBody/2)) {
		t.Errorf("a small form among large ones is answered with %d, want the login with all of it", w.Code)
	}
	if w := send(form(2 * strangersBody)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("one large form too much is answered with %d, want 413", w.Code)
	}
	<-b.site.large
	for range 3 {
		if w := send(form(500_000)); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), strings.Repeat("w", 500_000)) {
			t.Errorf("a large form is answered with %d, want the login with all of it", w.Code)
		}
	}
}

// TestAFormThatCannotBeReadIsNotAFaultOfTheBox: it was answered with 500 and filled the log with errors.
func TestAFormThatCannotBeReadIsNotAFaultOfTheBox(t *testing.T) {
	b := newBox(t)
	for _, test := range []struct{ name, kind, body string }{
		{"an escape that is none", urlencoded, "document=%zz"},
		{"a part without an end", "multipart/form-data; boundary=x", "--x\r\nfoo"},
		{"parts without a boundary", "multipart/form-data", "--x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if w := b.call("POST", "/changes/import", test.body, "Content-Type", test.kind); w.Code != http.StatusBadRequest {
				t.Errorf("got %d, want 400: %s", w.Code, w.Body)
			}
		})
	}
	b.expect("GET", "/connections?search=%zz", "", 200, "")
}

// TestAPanicIsAnsweredAndLogged: the connection was closed, and no log that anybody reads told why.
func TestAPanicIsAnsweredAndLogged(t *testing.T) {
	b := newBox(t)
	var log bytes.Buffer
	b.site.log = slog.New(slog.NewTextHandler(&log, nil))
	b.handler = b.site.outer(overSocket(b.site.serve([]sitemap.Route{{Method: "GET", Path: "/api/v1/status", Needs: access.View,
		Handle: func(echo.Context) error { panic("nil map") }}})))
	b.expect("GET", "/api/v1/status", "", 500, "internal")
	if !strings.Contains(log.String(), "nil map") || !strings.Contains(log.String(), "forms_test.go") {
		t.Errorf("the log says %q, want the panic and where it was", &log)
	}
}
