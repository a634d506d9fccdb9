package api_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/web/webtest"
)

const octets = "application/octet-stream"

func newAppliance(t *testing.T) (*box, *webtest.Machine) {
	t.Helper()
	site, machine := webtest.StartAppliance(t)
	return boxOf(t, site), machine
}

func (p *person) update() (u control.Update) {
	p.b.t.Helper()
	p.call("GET", "/api/v1/update", "").want(200, "").into(&u)
	return u
}

func TestUpdates(t *testing.T) {
	b, machine := newAppliance(t)
	ci := b.token("ci", access.Admin)
	if u := ci.update(); u.Version != webtest.Running || u.Slot != "A" || u.State != control.UpdateNone {
		t.Errorf("got %+v", u)
	}
	ci.call("POST", "/api/v1/update/install", "").want(404, "no-update")
	ci.call("DELETE", "/api/v1/update", "").want(404, "no-update")
	ci.call("POST", "/api/v1/update/fetch", "").want(409, "no-update-url")

	whole := string(machine.Update(t, webtest.Newer, 4<<20)) // larger than any other body
	ci.call("PUT", "/api/v1/update", whole, "Content-Type", octets).want(200, "", `"state":"received"`, `"version":"`+webtest.Newer+`"`)
	b.wantAudit("update-upload", webtest.Newer, "")
	ci.call("DELETE", "/api/v1/update", "").want(204, "")
	b.wantAudit("update-remove", "", "")
	ci.call("PUT", "/api/v1/update", whole, "Content-Type", octets).want(200, "")

	machine.Fail(&host.Failed{Unit: host.Update, Why: "version 1 is on trial still"})
	ci.call("POST", "/api/v1/update/install", "").want(202, "")
	eventually(t, "the installation fails", func() bool { return ci.update().Reason == "Version 1 is on trial still." })
	if u := ci.update(); u.State != control.UpdateReceived {
		t.Errorf("after an installation that failed: %+v", u)
	}
	machine.Fail(nil)
	release := machine.Hold()
	defer release()
	ci.call("POST", "/api/v1/update/install", "").want(202, "", `"state":"installing"`)
	ci.call("POST", "/api/v1/update/install", "").want(409, "update-busy")
	ci.call("PUT", "/api/v1/update", whole, "Content-Type", octets).want(409, "update-busy")
	ci.call("DELETE", "/api/v1/update", "").want(409, "update-busy")
	release()
	eventually(t, "it is installed", func() bool { return ci.update().State == control.UpdateInstalled })
	b.wantAudit("update-install", webtest.Newer, "")
}

func TestUpdatesAreRefused(t *testing.T) {
	b, machine := newAppliance(t)
	ci := b.token("ci", access.Admin)
	whole := machine.Update(t, webtest.Newer, 2<<20)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	machine.Runs(host.System{Version: webtest.Running, Failed: []string{"20270101.000000"}})
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	tests := []struct {
		name, body, code string
		status           int
	}{
		{"another key", string((&webtest.Machine{Key: other}).Update(t, webtest.Newer, 2<<20)), "update-signature", 422},
		{"older", string(machine.Update(t, "20200101.000000", 2<<20)), "update-older", 409},
		{"the same", string(machine.Update(t, webtest.Running, 1)), "update-older", 409},
		{"given up", string(machine.Update(t, "20270101.000000", 1)), "update-given-up", 409},
		{"cut short", string(whole[:len(whole)-600]), "update-refused", 422},
		{"damaged", string(flipped), "update-refused", 422},
		{"a picture", "\x89PNG", "update-refused", 422},
		{"nothing", "", "update-refused", 422},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := ci.call("PUT", "/api/v1/update", test.body, "Content-Type", octets)
			a.t = t
			a.want(test.status, test.code)
		})
	}
	ci.call("PUT", "/api/v1/update", "{}").want(415, "media-type")
	ci.call("PUT", "/api/v1/update", "x=1", "Content-Type", "application/x-www-form-urlencoded").want(415, "media-type")
	if u := ci.update(); u.State != control.UpdateNone || u.Reason == "" {
		t.Errorf("got %+v", u)
	}
	ci.call("DELETE", "/api/v1/update", "").want(204, "") // the reason
	if u := ci.update(); u.Reason != "" {
		t.Errorf("got %+v", u)
	}
	op := b.token("op", access.Operator)
	op.call("PUT", "/api/v1/update", string(whole), "Content-Type", octets).want(403, "forbidden")
	op.call("POST", "/api/v1/update/install", "").want(403, "forbidden")
	// Other calls take no more than they did.
	ci.call("PUT", "/api/v1/settings", string(whole)).want(413, "too-large")
}

func TestNoApplianceTakesNoUpdates(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	if u := ci.update(); u.Version != "" {
		t.Errorf("got %+v", u)
	}
	ci.call("PUT", "/api/v1/update", "x", "Content-Type", octets).want(409, "no-appliance")
	ci.call("POST", "/api/v1/update/fetch", "").want(409, "no-appliance")
	ci.call("POST", "/api/v1/update/install", "").want(409, "no-appliance")
	ci.call("DELETE", "/api/v1/update", "").want(409, "no-appliance")
	if err := b.Control.Restart(t.Context()); !errors.Is(err, control.ErrNoAppliance) {
		t.Errorf("restart: %v", err)
	}
}
