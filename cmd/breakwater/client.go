package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"breakwater/test/lab"
	"breakwater/web/api"
	webtls "breakwater/web/tls"
)

const (
	defaultSocket = "/run/breakwater/control.sock"
	// labFile is what a running lab writes, so that commands find it.
	labFile = "/run/breakwater/lab.json"
	// callWait is longer than control takes to apply settings and to go back.
	callWait = 60 * time.Second
)

// connection says which box a command talks to. Without flags: the one on this machine, or else the running lab.
type connection struct {
	URL         string `help:"The box, such as https://192.0.2.1:8443 or unix:///run/breakwater/control.sock. Default: the box on this machine, or else the running lab." env:"BREAKWATER_URL" placeholder:"URL"`
	Token       string `help:"Token for https." env:"BREAKWATER_TOKEN" placeholder:"TOKEN"`
	CA          string `help:"File with the certificate of the box, or of who signed it." type:"path" placeholder:"FILE"`
	Fingerprint string `help:"SHA-256 of the certificate of the box, as its screen shows it." placeholder:"HEX"`

	// Where the box of this machine and the running lab are found; empty: defaultSocket and labFile.
	socket, labFile string
}

// client talks to one box.
type client struct {
	http  http.Client
	base  string
	token string
	name  string // for messages
	match string // the revision that a change is made for, as If-Match has it; empty: any
}

// errNoAnswer is a box that cannot be reached or does not answer in time.
var errNoAnswer = errors.New("no answer")

// dial finds the box. It connects to nothing yet.
func (c *connection) dial() (*client, error) {
	socket := cmp.Or(c.socket, defaultSocket)
	running, hasLab := c.readLab()
	switch {
	case c.URL == "" && (answers(socket) || !hasLab):
		return overSocket(socket), nil
	case c.URL == "" && answers(running.Socket):
		return overSocket(running.Socket), nil
	case c.URL == "":
		return c.overTLS(running.URL, running)
	}
	if path, ok := strings.CutPrefix(c.URL, "unix://"); ok {
		return overSocket(path), nil
	}
	return c.overTLS(c.URL, running)
}

func (c *connection) readLab() (l lab.Access, ok bool) {
	data, err := os.ReadFile(cmp.Or(c.labFile, labFile))
	return l, err == nil && json.Unmarshal(data, &l) == nil
}

// answers tells whether a process listens on a unix socket.
func answers(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was written
	return true
}

func overSocket(path string) *client {
	c := &client{base: "http://box", name: path}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	return c
}

// overTLS trusts what the flags name, else for the lab's own URL what the lab wrote, else the certificates of the
// operating system.
func (c *connection) overTLS(base string, running lab.Access) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a box; write it like https://192.0.2.1:8443 or unix:///path", base)
	}
	base = strings.TrimSuffix(base, "/")
	ca, token := c.CA, c.Token
	if base == strings.TrimSuffix(running.URL, "/") {
		if ca == "" {
			ca = running.Certificate
		}
		if token == "" {
			token = running.Token
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case c.Fingerprint != "":
		pin(config, c.Fingerprint)
	case ca != "":
		if config.RootCAs, err = readCertificates(ca); err != nil {
			return nil, err
		}
	}
	if token == "" {
		return nil, fmt.Errorf("%s needs a token: --token or BREAKWATER_TOKEN", base)
	}
	return &client{http: http.Client{Transport: &http.Transport{TLSClientConfig: config}}, base: base, token: token, name: base}, nil
}

func readCertificates(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// pin accepts the one certificate with this fingerprint, whatever its names.
func pin(config *tls.Config, fingerprint string) {
	want := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
	config.InsecureSkipVerify = true // replaced by the comparison below
	config.VerifyConnection = func(state tls.ConnectionState) error {
		got := webtls.Fingerprint(state.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			return fmt.Errorf("the box shows another certificate, with the fingerprint %s", got)
		}
		return nil
	}
}

// call sends body, if there is one, and reads the answer into answer: JSON, or the bytes themselves for a *[]byte.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	response, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.name, err)
	}
	if raw, ok := answer.(*[]byte); ok {
		*raw = data
		return nil
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.name, err)
	}
	return nil
}

// change makes one call that changes the box and says that it is done. Content is sent as JSON, if there is any.
func (c *connection) change(ctx context.Context, e *env, method, path string, content map[string]string, said string) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var body []byte
	if content != nil {
		if body, err = json.Marshal(content); err != nil {
			return err
		}
	}
	if err := box.call(ctx, method, path, nil, body, nil); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, said)
	return nil
}

// onRevision makes calls that are refused when the settings are of another revision than n.
func (c *client) onRevision(n uint64) *client {
	conditional := *c
	conditional.match = fmt.Sprintf("%q", fmt.Sprint(n))
	return &conditional
}

func (c *client) get(ctx context.Context, path string, answer any) error {
	return c.call(ctx, http.MethodGet, path, nil, nil, answer)
}

// do returns a response of the 200s; the caller closes its body.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	return c.send(request)
}

// send makes a request and returns a response of the 200s; the caller closes its body.
func (c *client) send(request *http.Request) (*http.Response, error) {
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.match != "" {
		request.Header.Set("If-Match", c.match)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the method and address, which nobody typed
		}
		return nil, fmt.Errorf("%w from %s: %w; is breakwater control running there?", errNoAnswer, c.name, err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	var p api.Problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil || p.Detail == "" {
		return nil, fmt.Errorf("%s answered %s", c.name, response.Status)
	}
	return nil, problemError(&p)
}

// problemError is a problem in the words of the box, with one line for each problem of a document.
func problemError(p *api.Problem) error {
	lines := []string{p.Detail}
	for _, each := range p.Problems {
		lines = append(lines, each.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}
