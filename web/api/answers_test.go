package api_test

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// full is a status in which every field and list has something.
func full() status.Edge {
	return status.Edge{
		Version: "test", Started: time.Unix(1e9, 0),
		Conditions: []health.Condition{{Code: "return-path", Subject: "games-1", Severity: health.Warning, Title: "t", Detail: "d", Since: time.Unix(1e9, 0)}},
		Services:   []status.Service{{Name: "everything", Sessions: 3, SessionsOpened: 5, BytesToClient: 77}},
		Pools:      []status.Pool{{Name: "games", Origins: []status.Origin{{Name: "games-1", Address: "10.0.0.20", State: plan.Active, Up: true}, {Name: "games-2", Address: "10.0.0.21", State: plan.Drain}}}},
		Reasons:    []status.ReasonCounter{{Reason: status.OriginRefused, Code: 521, Protocol: plan.TCP, Count: 4}, {Reason: status.Banned, Code: status.Banned.Code(), Protocol: plan.UDP, Count: 9}},
		Events:     status.EventCounters{Sent: 10, Lost: 1},
		Interfaces: []status.Interface{{Name: "wan0", MAC: "02:00:00:00:00:01", Up: true, Running: true, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/24")}, Speed: 1000, Driver: "veth"}},
		Gateways:   []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		Shield: status.Shield{
			Mode: plan.ShieldOn, Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"}},
			Vectors:   []status.VectorCounter{{Service: "everything", Vector: status.VectorSYN, Packets: 5, Bytes: 300, Dropped: 2, Armed: true}},
			Addresses: []status.SourceCounter{{Kind: status.SourceList, Name: "drop", Packets: 7}},
			Rules:     []status.RuleCounter{{Service: "everything", Rule: "short", Action: plan.RuleDrop, Packets: 3}},
			Would:     []status.ReasonCounter{{Reason: status.Bogon, Code: status.Bogon.Code(), Protocol: "icmp", Count: 2}},
		},
	}
}

func session(id status.ID) status.Session {
	return status.Session{ID: id, Protocol: plan.TCP, Path: plan.PathUser, Service: "everything", Client: netip.MustParseAddrPort("198.51.100.7:4000"),
		Edge: netip.MustParseAddrPort("203.0.113.10:25565"), Origin: "games-1", OriginAddress: netip.MustParseAddrPort("10.0.0.20:25565"), Started: time.Unix(1e9, 0), State: "open"}
}

// TestEveryAnswerIsAsDescribed reads everything there is, of a box with something of everything, and of an empty one.
func TestEveryAnswerIsAsDescribed(t *testing.T) {
	for _, test := range []struct {
		name string
		fill func(*box)
	}{{"empty", func(*box) {}}, {"full", fill}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t)
			test.fill(b)
			local, anna := b.local(), b.browser("anna", access.Admin)
			for path, methods := range b.document.paths {
				_, ok := methods["get"]
				if !ok || path == "/api/v1/events" || path == "/api/v1/live" {
					continue
				}
				who := local
				if strings.HasPrefix(path, "/api/v1/me") {
					who = anna
				}
				a := who.call("GET", strings.ReplaceAll(path, "{number}", "1"), "")
				if test.name == "full" && a.status != 200 {
					t.Errorf("GET %s: %d %s", path, a.status, a.body)
				}
			}
		})
	}
}

func fill(b *box) {
	b.Edge.Observe(full(), session(0xabc), session(0xdef))
	b.Edge.Log(logs.Record{Time: time.Unix(1e9, 0), Level: "WARN", Message: "m", Attrs: map[string]string{"origin": "games-1"}})
	b.Apply(b.t, webtest.Document)
	local := b.local()
	local.call("POST", "/api/v1/bans", `{"prefix":"198.51.100.9","for":"1h","reason":"flood"}`).want(201, "", `"198.51.100.9/32"`)
	local.call("POST", "/api/v1/tokens", `{"name":"ci","role":"viewer","expires":"2099-01-01T00:00:00Z","networks":["10.0.0.0/8","2001:db8::1"]}`).want(201, "", `"2001:db8::1/128"`)
	local.call("PUT", "/api/v1/settings?confirm=60s&reason=two", documentTwo).want(202, "", `"deadline"`)
	b.attack()
	local.call("PUT", "/api/v1/secrets/webhook:on-call", `{"secret":"https://hooks.example/s3cret"}`).want(204, "")
	eventually(b.t, "there are two samples", func() bool { return len(b.Control.Samples(time.Time{})) > 1 })
}

// attack lets packets of a SYN flood be counted until it is an incident.
func (b *box) attack() {
	b.t.Helper()
	b.Edge.Sample(status.Sample{Time: time.Now(), Interface: "wan0", Service: "everything", Vector: status.VectorSYN, Verdict: status.SampleWould, Reason: status.AddressRate,
		Length: 60, Bytes: append(make([]byte, 12), 8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 203, 0, 113, 10)})
	var packets uint64
	eventually(b.t, "a flood is an incident", func() bool {
		packets += 5000
		seen := full() // another each time: the edge still reads the one before
		seen.Shield.Vectors[0].Packets += packets
		seen.Shield.Vectors[0].Would += packets / 500
		b.Edge.Observe(seen, session(0xabc), session(0xdef))
		open := b.Control.Incidents(control.IncidentQuery{Open: true})
		return len(open) > 0 && open[0].Evidence.Samples > 0
	})
}

func TestSettingsOverTheNetwork(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	ci.call("GET", "/api/v1/settings", "").want(404, "no-settings")
	ci.call("GET", "/api/v1/backup", "").want(404, "no-settings")
	ci.call("PUT", "/api/v1/settings?reason=first", webtest.Document).want(200, "", `"revision":1`)
	ci.call("PUT", "/api/v1/settings", documentTwo, "Content-Type", "text/plain").want(415, "media-type")
	ci.call("PUT", "/api/v1/settings", documentTwo, "If-Match", `"7"`).want(412, "stale")
	ci.call("PUT", "/api/v1/settings?check=true", documentTwo).want(200, "", "services[everything].pool", `"dangerous":false`)
	ci.call("PUT", "/api/v1/settings?check=true", strings.ReplaceAll(webtest.Document, "wan0", "wan1")).want(200, "", `"dangerous":true`)
	if a := ci.call("PUT", "/api/v1/settings", documentTwo, "If-Match", `"1"`).want(200, ""); a.header.Get("ETag") != `"2"` {
		t.Errorf("ETag %s, want \"2\"", a.header.Get("ETag"))
	}
	ci.call("POST", "/api/v1/revisions/1/rollback", "").want(200, "", `"revision":3`)
	a := ci.call("GET", "/api/v1/backup", "").want(200, "", "203.0.113.10/32")
	if got := a.header.Get("Content-Disposition"); !regexp.MustCompile(`^attachment; filename="breakwater-settings-r3-\d{4}-\d\d-\d\d\.json"$`).MatchString(got) {
		t.Errorf("the backup is sent as %s", got)
	}
	ci.call("PUT", "/api/v1/settings", string(a.body)).want(200, "", `"unchanged":true`)
	b.wantAudit("settings-change", "revision 1", "first")
	b.wantAudit("settings-rollback", "revision 3", "to revision 1")
}

// wantAudit looks for one entry of the audit log.
func (b *box) wantAudit(action, subject, detail string) {
	b.t.Helper()
	entries, err := b.Access.Audit(0, 100)
	if err != nil {
		b.t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e access.AuditEntry) bool {
		return e.Action == action && strings.Contains(e.Subject, subject) && strings.Contains(e.Detail, detail) && e.Who != ""
	}) {
		b.t.Errorf("the audit log has no %s of %q with %q: %+v", action, subject, detail, entries)
	}
}

// TestOnlyANewConnectionConfirms: one that was open before the change could be the only one that still works.
func TestOnlyANewConnectionConfirms(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	ci.call("PUT", "/api/v1/settings?confirm=60s", webtest.Document).want(202, "")
	a := ci.call("POST", "/api/v1/settings/confirm", "").want(409, "stale-connection", `"pending"`)
	if !a.closed {
		t.Error("the old connection goes on")
	}
	ci.call("POST", "/api/v1/settings/confirm", "").want(200, "", `"revision":1`) // the client had to connect again
	ci.call("POST", "/api/v1/settings/confirm", "").want(409, "nothing-pending")
	b.wantAudit("settings-keep", "revision 1", "")

	local := b.local()
	local.call("PUT", "/api/v1/settings?confirm=60s", documentTwo).want(202, "")
	ci.call("PUT", "/api/v1/settings", webtest.Document).want(409, "change-pending", `"author":"local"`)
	local.call("POST", "/api/v1/settings/confirm", "").want(200, "") // no change cuts the socket off
	local.call("PUT", "/api/v1/settings?confirm=60s", webtest.Document).want(202, "")
	local.call("POST", "/api/v1/settings/revert", "").want(204, "")
	local.call("POST", "/api/v1/settings/revert", "").want(409, "nothing-pending")
	b.wantAudit("settings-revert", "", "")
}

func TestOriginStateIsTheOneChangeOfAnOperator(t *testing.T) {
	b := newBox(t)
	op := b.token("op", access.Operator)
	op.call("POST", "/api/v1/origins/games/games-1/state", `{"state":"drain"}`).want(404, "not-found")
	b.Apply(t, webtest.Document)
	op.call("PUT", "/api/v1/settings", documentTwo).want(403, "forbidden")
	op.call("POST", "/api/v1/origins/games/games-1/state", `{"state":"drain"}`).want(200, "", `"revision":2`)
	if got := b.Edge.Plan().Pools[0].Origins[0].State; got != plan.Drain {
		t.Errorf("the origin is %s, want drain", got)
	}
	op.call("POST", "/api/v1/origins/games/games-1/state", `{"state":"drain"}`).want(200, "", `"unchanged":true`)
	op.call("POST", "/api/v1/origins/games/games-1/state", `{"state":"active"}`).want(200, "", `"revision":3`)
	first, err := b.Control.Revision(1)
	if err != nil {
		t.Fatal(err)
	}
	if third, err := b.Control.Revision(3); err != nil || !bytes.Equal(first.Document, third.Document) {
		t.Errorf("drained and back again, the settings are %s (%v), want %s", third.Document, err, first.Document)
	}
	op.call("POST", "/api/v1/origins/games/nobody/state", `{"state":"drain"}`).want(404, "not-found")
	a := op.call("POST", "/api/v1/origins/games/games-1/state", `{"state":"gone"}`).want(422, "invalid-settings")
	if got := a.fields(); !slices.Equal(got, []string{"state"}) {
		t.Errorf("the fields are %v, want state", got)
	}
	b.wantAudit("origin-state", "revision 2", "games-1: drain")
	b.token("viewer", access.Viewer).call("POST", "/api/v1/origins/games/games-1/state", `{"state":"drain"}`).want(403, "forbidden")
}

func TestBodiesAreBoundedAndStrict(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	for _, test := range []struct {
		name, body, code string
		status           int
		header           []string
	}{
		{"no JSON", `prefix=1`, "bad-request", 400, nil},
		{"a list", `[]`, "bad-request", 400, nil},
		{"null", `null`, "bad-request", 400, nil},
		{"nothing", ``, "bad-request", 400, nil},
		{"two values", `{"prefix":"198.51.100.1"} {}`, "bad-request", 400, nil},
		{"another type", `{"prefix":"198.51.100.1"}`, "media-type", 415, []string{"Content-Type", "text/plain"}},
		{"a form", `{"prefix":"198.51.100.1"}`, "media-type", 415, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"too large", `{"prefix":"` + strings.Repeat("x", 70<<10) + `"}`, "too-large", 413, nil},
		{"much too large", `{"prefix":"` + strings.Repeat("x", 3<<20) + `"}`, "too-large", 413, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := ci.call("POST", "/api/v1/bans", test.body, test.header...)
			a.t = t
			a.want(test.status, test.code)
		})
	}
}
