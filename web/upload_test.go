package web

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/api"
	"breakwater/web/sitemap"
)

// TestASlowUploadIsEnded: each step has its time, however much there is to come.
func TestASlowUploadIsEnded(t *testing.T) {
	const wait = time.Second
	ended := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, &upload{ReadCloser: r.Body, server: http.NewResponseController(w), wait: wait})
		if err != nil {
			api.ProblemOf(err).Write(w)
		}
		if n < uploadStep {
			t.Errorf("ended after %d bytes", n)
		}
		ended <- err
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: box\r\nContent-Length: 10000000000\r\n\r\n"+strings.Repeat("x", uploadStep)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for err == nil && time.Since(begun) < 10*time.Second { // a byte now and then
		_, err = conn.Write([]byte("x"))
		select {
		case end := <-ended:
			if p := api.ProblemOf(end); p.Code != "too-slow" || p.Status != http.StatusRequestTimeout {
				t.Errorf("ended with %v", end)
			}
			return
		case <-time.After(wait / 10):
		}
	}
	t.Errorf("it was not ended: %v", err)
}

// TestALargeBodyIsForOneRow: past the bound of other requests only where the site map says so, and only for who may.
func TestALargeBodyIsForOneRow(t *testing.T) {
	b := newBox(t)
	visitors := b.visitors()
	read := func(c echo.Context) error {
		n, err := io.Copy(io.Discard, c.Request().Body)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, n)
	}
	routes := b.site.serve([]sitemap.Route{
		{Method: http.MethodPut, Path: "/api/v1/large", Needs: access.Administer, Danger: true, Body: 4 << 20, Handle: read},
		{Method: http.MethodPut, Path: "/api/v1/small", Needs: access.Administer, Handle: read},
	})
	server := httptest.NewUnstartedServer(b.site.outer(b.site.overNetwork(routes)))
	server.StartTLS()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ExpectContinueTimeout: time.Minute}}
	put := func(path string, size int, v visitor) (int, string) {
		request, err := http.NewRequest(http.MethodPut, server.URL+path, bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = v.header.Clone()
		if request.Header == nil {
			request.Header = http.Header{}
		}
		request.Header.Set("Expect", "100-continue") // so that a refusal is read and not a broken connection
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, strings.TrimSpace(string(body))
	}
	for _, v := range visitors {
		if v.socket {
			continue
		}
		status, body := put("/api/v1/large", 3<<20, v)
		may := v.name == "admin" || v.name == "t:admin"
		if may != (status == http.StatusOK && body == "3145728") || !may && status != http.StatusForbidden && status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", v.name, status, body)
		}
		if !may {
			continue
		}
		if status, body := put("/api/v1/large", 4<<20+1, v); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s, more than the row takes: %d %s", v.name, status, body)
		}
		if status, body := put("/api/v1/small", 3<<20, v); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s, another row: %d %s", v.name, status, body)
		}
	}
}
