package web_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/web/caller"
	"breakwater/web/webtest"
)

// TestEveryAnswerHasTheHeaders asks for pages, calls, files and refusals.
func TestEveryAnswerHasTheHeaders(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	for _, path := range []string{"/", "/login", "/nothing", "/api/v1/status", "/api/v1/nothing", "/static/x/none.js", "/metrics"} {
		for name, b := range map[string]*webtest.Browser{"anna": anna, "stranger": site.Stranger(t)} {
			header := b.Get(path).Header
			for want, value := range map[string]string{
				"Content-Security-Policy":      "default-src 'self'",
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Opener-Policy":   "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin",
				"Permissions-Policy":           "camera=()",
				"Cache-Control":                "no-store",
			} {
				if !strings.Contains(header.Get(want), value) {
					t.Errorf("%s as %s: %s is %q, want %q in it", path, name, want, header.Get(want), value)
				}
			}
			if header.Get("Strict-Transport-Security") != "" || header.Get("Access-Control-Allow-Origin") != "" || header.Get("Server") != "" {
				t.Errorf("%s as %s: a header too much in %v", path, name, header)
			}
		}
	}
}

// TestOptionsOfTheServerHasTheHeaders: net/http answers OPTIONS * by itself unless it is told not to.
func TestOptionsOfTheServerHasTheHeaders(t *testing.T) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(webtest.Start(t).URL, "https://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own, on loopback
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound || response.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("OPTIONS * is answered with %s %v", response.Status, response.Header)
	}
}

// TestRequestsOfOtherSites come with the browser's cookie and must change nothing. SameSite keeps the cookie away from
// them too; this is the second wall.
func TestRequestsOfOtherSites(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	with := func(pairs ...string) http.Header {
		h := form.Clone()
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = []string{pairs[i+1]}
			if pairs[i+1] == "" {
				delete(h, pairs[i])
				h[pairs[i]] = nil
			}
		}
		return h
	}
	for _, test := range []struct {
		name   string
		header http.Header
		want   int
	}{
		{"another site", with("Sec-Fetch-Site", "cross-site"), 403},
		{"another name of the same site", with("Sec-Fetch-Site", "same-site"), 403},
		{"another origin, old browser", with("Sec-Fetch-Site", "", "Origin", "https://evil.example"), 403},
		{"no origin at all", with("Sec-Fetch-Site", "", "Origin", "null"), 403},
		{"no sign of a page", with("Sec-Fetch-Site", ""), 403},
		{"a name that leads here", with("Host", "rebind.example", "Origin", "https://rebind.example"), 421},
		{"its own page", with("Sec-Fetch-Site", "same-origin"), 303},
	} {
		t.Run(test.name, func(t *testing.T) {
			anna.Do("POST", "/logout", "", test.header).Want(t, test.want)
		})
	}
	anna.Get("/").Want(t, http.StatusSeeOther) // only the last one signed her out
}

// TestAnOpenConnectionEndsWithItsNetwork: connections are looked at as they come, and one that was open already went on
// for as long as somebody used it.
func TestAnOpenConnectionEndsWithItsNetwork(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	anna.Get("/changes").Want(t, http.StatusOK)
	site.Apply(t, `{"schema":1,"management":{"networks":["192.0.2.0/24"]},"edge":{"interfaces":[],"addresses":[]},"pools":[],"services":[]}`)
	anna.Get("/changes").Want(t, http.StatusForbidden, "management networks")
	if r, err := anna.Client.Get(site.URL + "/login"); err == nil {
		_ = r.Body.Close()
		t.Errorf("the connection goes on: %s", r.Status)
	}
}

// TestAPlantedCookieIsNotUsed: whoever makes a browser carry a cookie of his choice must not know the login after it.
func TestAPlantedCookieIsNotUsed(t *testing.T) {
	site := webtest.Start(t)
	site.Browser(t, "anna", access.Viewer)
	victim := site.Stranger(t)
	victim.Cookie = "planted"
	victim.Get("/").Want(t, http.StatusSeeOther)
	page := victim.Post("/login", url.Values{"login.name": {"anna"}, "login.password": {webtest.Password}})
	page.Want(t, http.StatusSeeOther)
	if victim.Cookie == "planted" || len(victim.Cookie) < 40 {
		t.Errorf("after the login the cookie is %q", victim.Cookie)
	}
	cookie := page.Header.Get("Set-Cookie")
	for _, want := range []string{caller.Cookie + "=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie lacks %s: %s", want, cookie)
		}
	}
	before := victim.Cookie
	victim.Get("/").Want(t, http.StatusOK)
	victim.Post("/logout", nil).Want(t, http.StatusSeeOther)
	victim.Cookie = before
	victim.Get("/").Want(t, http.StatusSeeOther)
}

// TestANewLoginEndsTheFormerOneOfTheBrowser: its cookie is overwritten, and whoever has a copy could go on with it.
func TestANewLoginEndsTheFormerOneOfTheBrowser(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	before := anna.Cookie
	anna.Post("/login", url.Values{"login.name": {"anna"}, "login.password": {"wrong"}}).Want(t, http.StatusUnauthorized)
	anna.Get("/").Want(t, http.StatusOK)
	anna.Post("/login", url.Values{"login.name": {"anna"}, "login.password": {webtest.Password}}).Want(t, http.StatusSeeOther)
	anna.Get("/").Want(t, http.StatusOK)
	anna.Cookie = before
	anna.Get("/").Want(t, http.StatusSeeOther)
}

// TestTheBoxIsClaimedOnce by a hundred at the same time, all with the right code.
func TestTheBoxIsClaimedOnce(t *testing.T) {
	site := webtest.Start(t)
	code := site.Access.SetupCode()
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 100 {
		b := site.Stranger(t)
		all.Go(func() {
			page := b.Post("/claim", url.Values{"code": {code}, "account": {fmt.Sprintf("anna%d", i)}, "newPassword": {webtest.Password}})
			if page.Status == http.StatusSeeOther && b.Cookie != "" {
				won.Add(1)
			} else if i%10 == 0 {
				t.Log(page.Status, page.Body)
			}
		})
	}
	all.Wait()
	accounts, err := site.Access.Accounts()
	if err != nil || len(accounts) != 1 || won.Load() != 1 {
		t.Errorf("%d won and there are %d accounts (%v), want 1 and 1", won.Load(), len(accounts), err)
	}
}

// TestPathsThatMeanOthers must not reach a file or pass the wall around a route.
func TestPathsThatMeanOthers(t *testing.T) {
	site := webtest.Start(t)
	stranger := site.Stranger(t)
	for _, path := range []string{
		"/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/static/x/..%2f..%2fpages.go", "/static/x/%5c..%5cpages.go",
		"//api/v1/status", "/api/v1//status", "/api%2fv1%2fstatus", "/api/v1/../v1/status", "/login/../api/v1/status", "/API/v1/status",
		"/static/../api/v1/status", "/api/v1/status/", "/api/v1/status%00", "/api/v1/status;x", "/.git/config", "/templates/layout.html",
	} {
		page := stranger.Get(path)
		if page.Status == http.StatusOK || strings.Contains(page.Body, "root:") || strings.Contains(page.Body, `"revision"`) {
			t.Errorf("%s is answered with %d: %.200s", path, page.Status, page.Body)
		}
	}
}

// TestTooLargeAndTooManyHeaders get one sentence or a closed connection, and cost the others nothing.
func TestTooLargeAndTooManyHeaders(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	big := strings.Repeat("x", 3<<20)
	json := http.Header{"Content-Type": {"application/json"}}
	anna.Do("PUT", "/api/v1/settings", big, json).Want(t, http.StatusRequestEntityTooLarge, "too-large")
	anna.Do("POST", "/login", "login.name="+big, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}).Want(t, http.StatusRequestEntityTooLarge)
	anna.Do("GET", "/", "", http.Header{"X-Much": {big[:64<<10]}}).Want(t, http.StatusRequestHeaderFieldsTooLarge)
	anna.Get("/").Want(t, http.StatusOK)
}

// TestSlowClientsDoNotKeepOthersOut: as many as one address may have wait without a word, and somebody else is
// answered. When their time for a request is over they are closed.
func TestSlowClientsDoNotKeepOthersOut(t *testing.T) {
	site := webtest.Start(t)
	address := strings.TrimPrefix(site.URL, "https://")
	var slow []net.Conn
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 99, 2)}}
	for range 100 {
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			continue // more than one address may have
		}
		defer conn.Close()
		slow = append(slow, conn)
	}
	handshaken := tls.Client(slow[0], &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own, on loopback
	if err := handshaken.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(handshaken, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	site.Stranger(t).Get("/login").Want(t, http.StatusSeeOther) // to /claim: it is new
	if err := handshaken.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(handshaken).ReadString('\n'); err == nil && !strings.Contains(line, "408") {
		t.Errorf("a request that does not end is answered: %q", line)
	}
}
