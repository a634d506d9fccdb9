package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/web/webtest"
)

func TestIncidents(t *testing.T) {
	b := newBox(t)
	viewer, op := b.token("viewer", access.Viewer), b.token("op", access.Operator)
	viewer.call("GET", "/api/v1/incidents", "").want(200, "", "[]")
	viewer.call("GET", "/api/v1/incidents/1", "").want(404, "not-found")
	viewer.call("GET", "/api/v1/incidents/1/packets.pcapng", "").want(404, "not-found")
	viewer.call("GET", "/api/v1/incidents/x", "").want(400, "bad-request")
	b.attack()
	viewer.call("GET", "/api/v1/incidents?open=true&service=everything&vector=syn&limit=1&before=2", "").want(200, "", `"id":1`, `"vector":"syn"`, `"value":"192.0.2.1"`)
	viewer.call("GET", "/api/v1/incidents?vector=udp", "").want(200, "", "[]")
	for _, query := range []string{"open=maybe", "limit=0", "limit=501", "before=-1"} {
		viewer.call("GET", "/api/v1/incidents?"+query, "").want(400, "bad-request")
	}
	viewer.call("GET", "/api/v1/incidents/1", "").want(200, "", `"series"`, `"proven":false`)
	eventually(t, "the status tells of the attack", func() bool {
		body := viewer.call("GET", "/api/v1/status", "").want(200, "").body
		return bytes.Contains(body, []byte(`"under-attack","subject":"everything"`)) && bytes.Contains(body, []byte("Under attack: SYN flood on everything"))
	})
	viewer.call("GET", "/metrics", "").want(200, "", `breakwater_incidents_open{vector="syn"} 1`, "breakwater_incidents_total 1", `breakwater_shield_dropped_total{service="everything",vector="syn"} 2`)
	viewer.call("GET", "/api/v1/shield/would", "").want(200, "", `"reason":"address-rate","samples":1`)
	a := viewer.call("GET", "/api/v1/incidents/1/packets.pcapng", "").want(200, "")
	if !bytes.HasPrefix(a.body, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || !bytes.Contains(a.body, []byte("would, address-rate")) {
		t.Errorf("the capture is %x", a.body)
	}
	if kind, name := a.header.Get("Content-Type"), a.header.Get("Content-Disposition"); kind != "application/x-pcapng" || !strings.Contains(name, "breakwater-incident-1-") {
		t.Errorf("it is sent as %s, %s", kind, name)
	}
	assertForgeable(b, op)
}

// assertForgeable bans a source of a flood that anybody can send under any address.
func assertForgeable(b *box, op *person) {
	op.call("POST", "/api/v1/bans", `{"prefix":"192.0.2.1","for":"1h","incident":9}`).want(404, "not-found")
	op.call("POST", "/api/v1/bans", `{"prefix":"192.0.2.1","for":"1h","incident":1}`).want(409, "forgeable")
	if bans, err := b.Control.Bans(); err != nil || len(bans) > 0 {
		b.t.Errorf("it is banned all the same: %v, %v", bans, err)
	}
	op.call("POST", "/api/v1/bans", `{"prefix":"192.0.2.1","for":"1h","incident":1,"evenIfForged":true}`).
		want(201, "", "incident 1: SYN flood on everything (the address may be forged)")
}

func TestAlertsAndSecrets(t *testing.T) {
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer hook.Close()
	b := newBox(t)
	admin, op, viewer := b.token("admin", access.Admin), b.token("op", access.Operator), b.token("viewer", access.Viewer)
	op.call("POST", "/api/v1/alerts/test", "").want(409, "no-alerts")
	document := strings.Replace(webtest.Document, `"schema": 1,`, `"schema": 1, "alerts": { "webhooks": [ { "name": "on-call", "kind": "slack" } ] },`, 1)
	admin.call("PUT", "/api/v1/settings", document).want(200, "")
	viewer.call("GET", "/api/v1/secrets", "").want(200, "", `"name":"webhook:on-call","set":false,"needed":true`)
	op.call("PUT", "/api/v1/secrets/webhook:on-call", `{"secret":"`+hook.URL+`/s3cret"}`).want(403, "forbidden")
	admin.call("PUT", "/api/v1/secrets/webhook:on-call", `{"secret":"s3cret"}`).want(422, "secret-refused")
	admin.call("PUT", "/api/v1/secrets/tokens", `{"secret":"s3cret"}`).want(422, "secret-refused")
	admin.call("PUT", "/api/v1/secrets/webhook:on-call", `{"secret":"`+hook.URL+`/s3cret"}`).want(204, "")
	b.wantAudit("secret-set", "webhook:on-call", "")
	// The test's web server is on the box itself, where no message is sent.
	op.call("POST", "/api/v1/alerts/test", "").want(200, "", `"target":"webhook:on-call","delivered":false`, "is loopback, where no message is sent")
	for _, path := range []string{"/api/v1/secrets", "/api/v1/settings", "/api/v1/backup", "/api/v1/revisions/1/diff", "/api/v1/status", "/metrics", "/api/v1/logs"} {
		if a := viewer.call("GET", path, "").want(200, ""); bytes.Contains(a.body, []byte("s3cret")) {
			t.Errorf("GET %s shows the secret: %s", path, a.body)
		}
	}
	if a := admin.call("GET", "/api/v1/audit", "").want(200, ""); bytes.Contains(a.body, []byte("s3cret")) {
		t.Errorf("the audit log shows the secret: %s", a.body)
	}
	admin.call("DELETE", "/api/v1/secrets/webhook:on-call", "").want(204, "")
	admin.call("DELETE", "/api/v1/secrets/webhook:on-call", "").want(404, "not-found")
	b.wantAudit("secret-delete", "webhook:on-call", "")
}
