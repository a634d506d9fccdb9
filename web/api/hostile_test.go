package api_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/web/webtest"
)

// TestHostileInputIsRefused puts what nobody should send into every place of every call. Nothing of it may be an error
// of the box's own, change anything, or be answered by anything but a problem.
func TestHostileInputIsRefused(t *testing.T) {
	b := newBox(t)
	b.Apply(t, webtest.Document)
	ci := b.token("ci", access.Admin)
	anna := b.browser("anna", access.Admin)
	bodies := []string{"{}", "[]", "null", "7", `"`, "{\x00}", strings.Repeat("[", 50_000), `{"name":"` + strings.Repeat("é", 20_000) + `"}`,
		`{"prefix":"203.0.113.10/-1"}`, `{"prefix":"fe80::1%eth0"}`, `{"network":"icmp","address":"x"}`, `{"role":null,"password":null,"name":null}`}
	values := []string{"..", "../..", "%", "a b", "<script>", strings.Repeat("x", 4000), "\x00", "é\n", "-1", "99999999999999999999", "'\"", "fe80::1%eth0", "0.0.0.0/0", "::/0"}
	for path, methods := range b.document.paths {
		for method := range methods {
			if method == "get" && !strings.Contains(path, "{") || strings.HasSuffix(path, "/own") && method == "delete" {
				continue // nothing to send
			}
			for i := range max(len(values), len(bodies)) {
				place := url.PathEscape(values[i%len(values)])
				at := regexp.MustCompile(`\{\w+\}`).ReplaceAllLiteralString(path, place)
				who := ci
				if strings.HasPrefix(path, "/api/v1/me") {
					who = anna
				}
				if path == "/api/v1/me/totp" || path == "/api/v1/me/recovery-codes" || strings.HasSuffix(path, "/revert") || path == "/api/v1/settings/confirm" {
					continue // takes nothing from its caller
				}
				a := who.call(strings.ToUpper(method), at, bodies[i%len(bodies)])
				if a.status < 400 || a.status >= 500 && a.status != 502 {
					t.Errorf("%s %s with %.60q: %d %.200s", method, at, bodies[i%len(bodies)], a.status, a.body)
				}
			}
		}
	}
	if current, err := b.Control.Current(); err != nil || current.Number != 1 {
		t.Errorf("revision %d is current (%v), want 1", current.Number, err)
	}
}

func TestHostileQueriesAreRefused(t *testing.T) {
	b := newBox(t)
	b.Apply(t, webtest.Document)
	ci := b.token("ci", access.Admin)
	for _, call := range []string{"/sessions?limit=", "/sessions?offset=", "/sessions?client=", "/sessions?sort=", "/sessions?order=", "/samples?minutes=", "/logs?limit=",
		"/audit?limit=", "/audit?before=", "/audit/download?format="} {
		for _, value := range []string{"-1", "0x10", "1e9", "99999999999999999999", "<script>", strings.Repeat("9", 2000), "\x00", "é"} {
			ci.call("GET", "/api/v1"+call+url.QueryEscape(value), "").want(400, "bad-request")
		}
	}
}
