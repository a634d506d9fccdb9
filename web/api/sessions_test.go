package api_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

func TestSessionsAreAWindow(t *testing.T) {
	b := newBox(t)
	b.Edge.Observe(full(), session(0xabc), session(0xdef))
	op := b.token("op", access.Operator)
	var window status.SessionList
	op.call("GET", "/api/v1/sessions?limit=5&offset=0&service=everything&sort=client&order=desc&search=198.51", "").want(200, "").into(&window)
	if window.Total != 2 || len(window.Sessions) == 0 {
		t.Errorf("the window is %+v", window)
	}
	for _, query := range []string{"limit=-1", "limit=x", "offset=-1", "client=x", "sort=colour", "order=up", "search=" + strings.Repeat("x", 101), "limit=99999999999999999999"} {
		op.call("GET", "/api/v1/sessions?"+query, "").want(400, "bad-request")
	}
	op.call("DELETE", "/api/v1/sessions/0000000000000abc", "").want(204, "")
	op.call("DELETE", "/api/v1/sessions/0000000000000abc", "").want(404, "no-session")
	op.call("DELETE", "/api/v1/sessions/abc", "").want(400, "bad-request")
	b.wantAudit("kill", "0000000000000abc", "")
	b.Edge.Stop()
	op.call("GET", "/api/v1/sessions", "").want(503, "edge-unreachable")
}

func TestBans(t *testing.T) {
	b := newBox(t)
	op := b.token("op", access.Operator)
	op.call("POST", "/api/v1/bans", `{"prefix":"198.51.100.0/24","reason":"flood"}`).want(201, "", `"author":"op"`)
	op.call("POST", "/api/v1/bans", `{"prefix":"::ffff:198.51.100.9","for":"1h"}`).want(201, "", `"198.51.100.9/32"`, `"until"`)
	op.call("POST", "/api/v1/bans", `{"prefix":"::ffff:198.18.7.0/120","for":"1h"}`).want(201, "", `"198.18.7.0/24"`) // was carried out and answered with 404
	op.call("DELETE", "/api/v1/bans/198.18.7.0%2F24", "").want(204, "")
	op.call("POST", "/api/v1/bans", `{"prefix":"2001:db8:9::/48","until":"2099-01-01T00:00:00Z"}`).want(201, "")
	op.call("GET", "/api/v1/bans", "").want(200, "", "198.51.100.0/24", "198.51.100.9/32", "2001:db8:9::/48")
	if got := len(b.Edge.Bans()); got != 3 {
		t.Errorf("edge has %d bans, want 3", got)
	}
	for body, field := range map[string]string{
		`{"prefix":"0.0.0.0/0"}`: "prefix", `{"prefix":"127.0.0.1"}`: "prefix", `{"prefix":"here"}`: "prefix", `{}`: "prefix",
		`{"prefix":"198.51.100.1","for":"soon"}`: "for", `{"prefix":"198.51.100.1","for":"1h","until":"2099-01-01T00:00:00Z"}`: "until",
		`{"prefix":"198.51.100.1","until":"9999-12-31T23:59:59-01:00"}`: "prefix", // there is no such year in JSON
		`{"prefix":"198.51.100.1","until":"2001-01-01T00:00:00Z"}`:      "prefix", `{"prefix":"198.51.100.1","color":"red"}`: "color", `{"prefix":7}`: "prefix",
		`{"prefix":"198.51.100.1","reason":"` + strings.Repeat("x", 501) + `"}`: "reason",
	} {
		if a := op.call("POST", "/api/v1/bans", body); a.status != 422 || !slices.Equal(a.fields(), []string{field}) {
			t.Errorf("%.80s: %d with the fields %v, want 422 and %s", body, a.status, a.fields(), field)
		}
	}
	op.call("DELETE", "/api/v1/bans/198.51.100.0%2F24", "").want(204, "")
	op.call("DELETE", "/api/v1/bans/198.51.100.9", "").want(204, "")
	op.call("DELETE", "/api/v1/bans/198.51.100.9", "").want(404, "not-found")
	op.call("DELETE", "/api/v1/bans/nobody", "").want(400, "bad-request")
	b.wantAudit("ban", "198.51.100.0/24", "for ever flood")
	b.wantAudit("unban", "198.51.100.0/24", "")
}

func TestTrials(t *testing.T) {
	b := newBox(t)
	b.Edge.Observe(full())
	b.Edge.Answer(func(try plan.Try) (status.Trial, error) {
		return status.Trial{Address: try.Address, Connected: true, ConnectMS: 1.5, HeaderSent: []byte("PROXY"), HeaderText: "v1", Received: try.Send, Ending: "closed"}, nil
	})
	op := b.token("op", access.Operator)
	op.call("POST", "/api/v1/try", `{"network":"tcp","address":"10.0.0.20:25565","send":"aGk="}`).want(200, "", `"received":"aGk="`, `"reason":"normal"`)
	b.wantAudit("try", "10.0.0.20:25565", "tcp")
	for body, field := range map[string]string{
		`{"network":"icmp","address":"10.0.0.20:1"}`: "network", `{"network":"tcp","address":"10.0.0.20"}`: "address", `{"network":"tcp","address":"10.0.0.20:0"}`: "address",
		`{"network":"tcp","address":"10.0.0.20:1","header":"spp"}`: "header", `{"network":"udp","address":"10.0.0.20:1","wait":-1}`: "wait",
		`{"network":"udp","address":"10.0.0.20:1","send":"` + base64.StdEncoding.EncodeToString(make([]byte, 1201)) + `"}`: "send",
	} {
		if a := op.call("POST", "/api/v1/try", body).want(422, "invalid"); !slices.Equal(a.fields(), []string{field}) {
			t.Errorf("%.80s: the fields are %v, want %s", body, a.fields(), field)
		}
	}
	b.Edge.Answer(func(plan.Try) (status.Trial, error) { return status.Trial{}, errors.New("127.0.0.1 is this box") })
	op.call("POST", "/api/v1/try", `{"network":"tcp","address":"127.0.0.1:22"}`).want(422, "try-refused", "127.0.0.1 is this box")
	b.Edge.Answer(nil)
	op.call("POST", "/api/v1/services/everything/test", "").want(404, "not-found")
	b.Apply(t, webtest.Document)
	op.call("POST", "/api/v1/services/everything/test", "").want(200, "", `"origin":"games-1"`, `"origin":"games-2"`)
	op.call("POST", "/api/v1/services/nothing/test", "").want(404, "not-found")
}
