// Package webtest runs the whole site for tests: the real server with TLS on loopback, the real control, access and
// store in a folder that ends with the test. Only edge is a stand-in (control/edgetest), so that no root is needed.
//
//	site := webtest.Start(t)
//	anna := site.Browser(t, "anna", access.Admin)
//	page := anna.Get("/services")
//	page = anna.Post("/logout", nil)
package webtest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/store"
	"breakwater/web"
	"breakwater/web/caller"
	webtls "breakwater/web/tls"
)

// Document is a small valid settings document.
const Document = `{ "schema": 1,
  "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32", "2001:db8::10/128"] },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" }, { "address": "10.0.0.21" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp", "udp"], "ports": ["1-65535"], "pool": "games", "tcpHeader": "v2" } ] }`

// Password is that of every account of a test.
const Password = "Seven gulls over 9 grey stones"

// Site is a site that runs.
type Site struct {
	Control *control.Control
	Access  *access.Access
	Edge    *edgetest.Edge
	URL     string // https://127.0.0.1:PORT
	Dir     string // the state

	browsers atomic.Int32
}

// Start runs a site without settings and accounts until the test ends. The options may change what control is made of.
func Start(t testing.TB, options ...func(*control.Options)) *Site {
	t.Helper()
	dir, err := os.MkdirTemp("", "web") // a socket's path has at most 107 bytes
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, report, err := store.Open(filepath.Join(dir, "state"), store.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	certificates, err := webtls.Open(dir, log)
	must(t, err)
	edge := edgetest.Start(t)
	o := control.Options{Store: s, Report: report, Edge: edgelink.New(edge.Socket), Version: "test", Conditions: certificates.Conditions,
		Lists: control.ListOptions{Dir: filepath.Join(dir, "lists")}}
	for _, option := range options {
		option(&o)
	}
	c, err := control.New(o)
	must(t, err)
	a, err := access.New(access.Options{Store: s, Log: log, HashMemory: 8})
	must(t, err)
	server, err := web.Listen(web.Options{Control: c, Access: a, Certificates: certificates, Log: log, Socket: filepath.Join(dir, "c.sock"), Address: "127.0.0.1:0"})
	must(t, err)
	run(t, server, c)
	return &Site{Control: c, Access: a, Edge: edge, URL: "https://" + server.Addresses()[1], Dir: dir}
}

// run serves until the test ends; what ends badly fails the test.
func run(t testing.TB, server *web.Server, c *control.Control) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(ctx) }()
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("the site ended with: %v", err)
			}
		}
	})
}

// Apply makes a document the settings.
func (s *Site) Apply(t testing.TB, document string) {
	t.Helper()
	_, err := s.Control.Propose(t.Context(), []byte(document), control.Meta{Author: "test"})
	must(t, err)
}

// Browser signs somebody in, whose account is made. The first one claims the box, whatever the role, so that the
// accounts of a test can be made in any order.
func (s *Site) Browser(t testing.TB, name string, role access.Role) *Browser {
	t.Helper()
	b := s.Stranger(t)
	peer := access.Peer{At: "127.0.0.1"}
	if !s.Access.Claimed() {
		_, _, err := s.Access.Claim(t.Context(), peer, s.Access.SetupCode(), "owner-"+strings.ToLower(rand.Text()[:6]), Password)
		must(t, err)
	}
	must(t, s.Access.CreateAccount(access.Local(), peer, name, role, Password))
	_, secret, err := s.Access.Login(t.Context(), peer, name, Password, "")
	must(t, err)
	b.Cookie = secret
	return b
}

// Stranger is a browser that nobody is signed in with, on a machine of its own: each has another loopback address, as
// connections and failures are counted by address.
func (s *Site) Stranger(t testing.TB) *Browser {
	n := s.browsers.Add(1) + 1
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(n>>8), byte(n))}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // our own, on loopback
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{t: t, url: s.URL, Client: &http.Client{Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Browser makes requests as a browser does: with its cookie, and with the header that tells which page they come from.
type Browser struct {
	t      testing.TB
	url    string
	Client *http.Client
	Cookie string // of the login; kept up to date
}

// Page is an answer.
type Page struct {
	Status int
	Header http.Header
	Body   string
}

// Get opens a page. Redirects are not followed.
func (b *Browser) Get(path string) Page { return b.Do(http.MethodGet, path, "", nil) }

// Post sends a form.
func (b *Browser) Post(path string, form url.Values) Page {
	return b.Do(http.MethodPost, path, form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
}

// Do makes any request. The headers of a browser's own page can be replaced.
func (b *Browser) Do(method, path, body string, header http.Header) Page {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	must(b.t, err)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	maps.Copy(r.Header, header)
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	if b.Cookie != "" {
		r.AddCookie(&http.Cookie{Name: caller.Cookie, Value: b.Cookie}) //nolint:gosec // a request has no attributes
	}
	response, err := b.Client.Do(r)
	must(b.t, err)
	defer response.Body.Close()
	for _, c := range response.Cookies() {
		if c.Name == caller.Cookie {
			b.Cookie = c.Value
		}
	}
	data, err := io.ReadAll(response.Body)
	must(b.t, err)
	return Page{response.StatusCode, response.Header, string(data)}
}

// Want fails the test unless the page has the status and all the texts.
func (p Page) Want(t testing.TB, status int, texts ...string) Page {
	t.Helper()
	if p.Status != status {
		t.Errorf("status %d, want %d: %s", p.Status, status, p.short())
	}
	for _, text := range texts {
		if !strings.Contains(p.Body, text) {
			t.Errorf("the page lacks %q: %s", text, p.short())
		}
	}
	return p
}

func (p Page) short() string {
	if len(p.Body) > 3000 {
		return fmt.Sprintf("%s … (%d bytes) %v", p.Body[:3000], len(p.Body), p.Header)
	}
	return fmt.Sprintf("%s %v", p.Body, p.Header)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
