package api_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"breakwater/appliance/access"
	"breakwater/web/api"
	"breakwater/web/caller"
	"breakwater/web/webtest"
)

// box is a whole site. Every call of a test is also held to openapi.json: its address, its status, the schema of its
// answer, the code of its problem.
type box struct {
	*webtest.Site
	t        *testing.T
	document *document
	patterns map[*regexp.Regexp]string
}

// newBox runs a site of the test's own, beside those of other tests: most of their time is waiting for seconds to pass.
func newBox(t *testing.T) *box {
	t.Helper()
	t.Parallel()
	return boxOf(t, webtest.Start(t))
}

func boxOf(t *testing.T, site *webtest.Site) *box {
	t.Helper()
	b := &box{Site: site, t: t, document: readDocument(t), patterns: map[*regexp.Regexp]string{}}
	for path := range b.document.paths {
		pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
		b.patterns[regexp.MustCompile("^"+pattern+"$")] = path
	}
	return b
}

// person is somebody who calls, over one way in.
type person struct {
	b      *box
	client *http.Client
	base   string
	header http.Header
}

// local calls over the unix socket.
func (b *box) local() *person {
	socket := filepath.Join(b.Dir, "c.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &person{b, &http.Client{Transport: transport, Timeout: time.Minute}, "http://localhost", http.Header{}}
}

func (b *box) network(header http.Header) *person {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // our own, on loopback
	b.t.Cleanup(transport.CloseIdleConnections)
	return &person{b, &http.Client{Transport: transport, Timeout: time.Minute}, b.URL, header}
}

// token calls over the network with a token of this role.
func (b *box) token(name string, role access.Role) *person {
	b.t.Helper()
	_, secret, err := b.Access.CreateToken(access.Local(), access.Peer{}, access.NewToken{Name: name, Role: role})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.network(http.Header{"Authorization": {"Bearer " + secret}})
}

// browser calls over the network with the login of an account.
func (b *box) browser(name string, role access.Role) *person {
	b.t.Helper()
	cookie := b.Browser(b.t, name, role).Cookie
	return b.network(http.Header{"Cookie": {caller.Cookie + "=" + cookie}, "Sec-Fetch-Site": {"same-origin"}})
}

type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
	closed bool // the box does not go on with this connection
}

// call makes one call and holds the answer to the document; headers are pairs of name and value.
func (p *person) call(method, path, body string, headers ...string) answer {
	p.b.t.Helper()
	r, err := http.NewRequestWithContext(p.b.t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.b.t.Fatal(err)
	}
	maps.Copy(r.Header, p.header)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := p.client.Do(r)
	if err != nil {
		p.b.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		p.b.t.Fatal(err)
	}
	a := answer{p.b.t, response.StatusCode, response.Header, data, response.Close}
	p.b.hold(method, r.URL.EscapedPath(), a)
	return a
}

// always are the codes that any call may answer.
var always = []string{"unauthorized", "forbidden", "proof-needed", "cross-origin", "host", "too-many-failures", "bad-request", "media-type", "too-large",
	"invalid", "internal", "no-such-page", "method"}

func (b *box) hold(method, path string, a answer) {
	b.t.Helper()
	what := method + " " + path + ": " + strconv.Itoa(a.status)
	documented, o := b.operation(method, path)
	if a.status >= 400 {
		var p api.Problem
		if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" || p.Status != a.status {
			b.t.Errorf("%s is no problem of RFC 9457: %s", what, a.body)
		}
		validate(b.t, b.document.schema(b.t, "components", "schemas", "Problem"), what, a.body)
		if !slices.Contains(always, p.Code) && !slices.Contains(o.Problems, p.Code) {
			b.t.Errorf("%s: the code %s is not described there", what, p.Code)
		}
		return
	}
	described, ok := o.Responses[strconv.Itoa(a.status)]
	if !ok {
		b.t.Errorf("%s is not described", what)
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content, ok := described.Content[kind]
	switch {
	case len(described.Content) == 0 && len(a.body) == 0:
	case !ok:
		b.t.Errorf("%s: an answer of type %q is not described", what, kind)
	case kind == "application/json" && content.Schema != nil:
		validate(b.t, b.schemaOf(method, documented, strconv.Itoa(a.status), kind), what, a.body)
	}
}

func (b *box) schemaOf(method, path, status, kind string) *jsonschema.Schema {
	return b.document.schema(b.t, "paths", path, strings.ToLower(method), "responses", status, "content", kind, "schema")
}

// operation finds what the document says about a call. Paths without parameters come before those with.
func (b *box) operation(method, path string) (string, operation) {
	if methods, ok := b.document.paths[path]; ok {
		return path, methods[strings.ToLower(method)]
	}
	for pattern, documented := range b.patterns {
		if o, ok := b.document.paths[documented][strings.ToLower(method)]; ok && pattern.MatchString(path) {
			return documented, o
		}
	}
	return "", operation{}
}

// want fails the test unless the answer has the status, the code (of a problem; else empty) and all the texts.
func (a answer) want(status int, code string, texts ...string) answer {
	a.t.Helper()
	var p api.Problem
	if a.status >= 400 {
		_ = json.Unmarshal(a.body, &p) // hold has read it before
	}
	if a.status != status || p.Code != code {
		a.t.Errorf("got %d %q, want %d %q: %s", a.status, p.Code, status, code, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(string(a.body), text) {
			a.t.Errorf("the answer lacks %q: %.3000s", text, a.body)
		}
	}
	return a
}

// into reads the answer.
func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("read %s: %v", a.body, err)
	}
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// fields are the fields of a problem's problems.
func (a answer) fields() (fields []string) {
	var p api.Problem
	a.into(&p)
	for _, each := range p.Problems {
		fields = append(fields, each.Field)
	}
	return fields
}

var documentTwo = strings.ReplaceAll(webtest.Document, `"games"`, `"lobby"`)
