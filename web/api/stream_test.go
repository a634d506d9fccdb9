package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/api"
	"breakwater/web/webtest"
)

// open opens a stream, and gives its lines.
func (p *person) open(path string) *bufio.Scanner {
	p.b.t.Helper()
	r, err := http.NewRequestWithContext(p.b.t.Context(), http.MethodGet, p.base+path, nil)
	if err != nil {
		p.b.t.Fatal(err)
	}
	r.Header = p.header.Clone()
	response, err := p.client.Do(r)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.b.t.Cleanup(func() { _ = response.Body.Close() })
	if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || got != "text/event-stream" {
		p.b.t.Fatalf("%s answers %d %s", path, response.StatusCode, got)
	}
	return bufio.NewScanner(response.Body)
}

// follow opens a stream and gives the data of its events.
func (p *person) follow(path string) func() string {
	p.b.t.Helper()
	lines := p.open(path)
	return func() string {
		p.b.t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		p.b.t.Fatalf("%s ended: %v", path, lines.Err())
		return ""
	}
}

func TestLiveStream(t *testing.T) {
	b := newBox(t)
	b.Edge.Observe(full())
	next := b.token("viewer", access.Viewer).follow("/api/v1/live")
	schema := b.document.schema(t, "components", "schemas", "Live")
	read := func() (l api.Live) {
		data := next()
		validate(t, schema, "an event of the live stream", []byte(data))
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := read()
	busy := full()
	busy.Services[0].BytesToClient += 5 << 20
	b.Edge.Observe(busy)
	b.Apply(t, webtest.Document)
	for fast, changed, deadline := false, false, time.Now().Add(10*time.Second); !fast || !changed; {
		l := read()
		fast = fast || l.ToClient > 1<<20 && l.Sessions == 3
		changed = changed || l.Revision == 1 && l.State != first.State
		if time.Now().After(deadline) {
			t.Fatalf("the stream told of the traffic: %v, of the new revision: %v", fast, changed)
		}
	}
	b.Edge.Stop()
	for deadline := time.Now().Add(30 * time.Second); read().EdgeUp; {
		if time.Now().After(deadline) {
			t.Fatal("the stream does not tell that edge is gone")
		}
	}
}

func TestEventStream(t *testing.T) {
	b := newBox(t)
	next := b.local().follow("/api/v1/events")
	killed := status.Killed
	eventually(t, "somebody reads", func() bool {
		return b.Edge.Send(status.Event{Time: time.Now(), Type: status.Disconnect, Reason: &killed, Code: 603, Session: session(7)}) > 0
	})
	validate(t, b.document.schema(t, "components", "schemas", "Event"), "an event", []byte(next()))
}

// TestStreamsEndWithTheirLogin: a request is let in once, and a stream went on for up to 15 seconds after its login or token had
// been ended.
func TestStreamsEndWithTheirLogin(t *testing.T) {
	b := newBox(t)
	admin := b.browser("anna", access.Admin)
	ask := func(method, path, body string) func(*person) {
		return func(*person) { admin.call(method, path, body).want(204, "") }
	}
	expires := time.Now().Add(5 * time.Second)
	_, brief, err := b.Access.CreateToken(access.Local(), access.Peer{}, access.NewToken{Name: "brief", Role: access.Viewer, Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		who  *person
		end  func(*person)
	}{
		{"the token expires", b.network(http.Header{"Authorization": {"Bearer " + brief}}), func(*person) { time.Sleep(time.Until(expires)) }},
		{"the token is deleted", b.token("ci", access.Viewer), ask("DELETE", "/api/v1/tokens/ci", "")},
		{"the token is made anew", b.token("cd", access.Viewer), func(*person) { ask("DELETE", "/api/v1/tokens/cd", "")(nil); b.token("cd", access.Viewer) }},
		{"signed out", b.browser("sid", access.Viewer), (*person).signOut},
		{"the login is revoked", b.browser("rob", access.Viewer), func(p *person) { ask("DELETE", "/api/v1/logins/"+p.loginID(), "")(nil) }},
		{"all logins are revoked", b.browser("alf", access.Viewer), ask("DELETE", "/api/v1/accounts/alf/logins", "")},
		{"another password", b.browser("pat", access.Viewer), ask("PUT", "/api/v1/accounts/pat/password", `{"password":"another long one 43"}`)},
		{"another role", b.browser("ron", access.Viewer), ask("PUT", "/api/v1/accounts/ron/role", `{"role":"operator"}`)},
		{"the account is deleted", b.browser("deb", access.Viewer), ask("DELETE", "/api/v1/accounts/deb", "")},
	}
	other := b.browser("olga", access.Viewer).follow("/api/v1/live")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			live, events := test.who.open("/api/v1/live"), test.who.open("/api/v1/events")
			if !live.Scan() || !events.Scan() {
				t.Fatalf("the streams end at once: %v, %v", live.Err(), events.Err())
			}
			test.end(test.who)
			asked := time.Now()
			for live.Scan() || events.Scan() {
			}
			if took := time.Since(asked); took > 5*time.Second {
				t.Errorf("the streams went on for %s", took)
			}
		})
	}
	other()
}

// signOut ends the login of a browser by the button of its pages.
func (p *person) signOut() {
	p.b.t.Helper()
	r, err := http.NewRequestWithContext(p.b.t.Context(), http.MethodPost, p.base+"/logout", nil)
	if err != nil {
		p.b.t.Fatal(err)
	}
	r.Header = p.header.Clone()
	response, err := p.client.Do(r)
	if err != nil {
		p.b.t.Fatal(err)
	}
	_ = response.Body.Close()
	p.call("GET", "/api/v1/me", "").want(401, "unauthorized")
}

// loginID is the public name of a browser's own login.
func (p *person) loginID() string {
	p.b.t.Helper()
	var me access.Identity
	p.call("GET", "/api/v1/me", "").want(200, "").into(&me)
	return me.LoginID
}
