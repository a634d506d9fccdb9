package api_test

import (
	"testing"

	"breakwater/appliance/access"
)

// TestHostElsewhere: where the machine is not Breakwater's, nothing of it is changed, and nothing is written down.
func TestHostElsewhere(t *testing.T) {
	b := newBox(t)
	local := b.local()
	local.call("GET", "/api/v1/host", "").want(200, "", `"appliance":false`, `"failed":[]`)
	for path, body := range map[string]string{"restart": "", "power-off": "", "other-slot": "", "factory-reset": `{"confirm":"RESET"}`} {
		local.call("POST", "/api/v1/host/"+path, body).want(409, "no-appliance")
	}
	entries, err := b.Access.Audit(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Action == "host-restart" || e.Action == "host-factory-reset" {
			t.Errorf("the audit log has %+v", e)
		}
	}
}

func TestFactoryResetWantsItsWord(t *testing.T) {
	b := newBox(t)
	anna := b.browser("anna", access.Admin)
	for _, body := range []string{`{}`, `{"confirm":"reset"}`, `{"confirm":"RESET "}`} {
		a := anna.call("POST", "/api/v1/host/factory-reset", body).want(422, "invalid")
		if got := a.fields(); len(got) != 1 || got[0] != "confirm" {
			t.Errorf("%s: the problem is at %q, want confirm", body, got)
		}
	}
	anna.call("POST", "/api/v1/host/factory-reset", "").want(400, "bad-request")
}

// TestHostOfTheAppliance: what the machine does not do is told in its words, and that it was tried is written down.
func TestHostOfTheAppliance(t *testing.T) {
	b, _ := newAppliance(t)
	local := b.local()
	local.call("GET", "/api/v1/host", "").want(200, "", `"appliance":true`)
	for path, body := range map[string]string{"restart": "", "power-off": "", "other-slot": "", "factory-reset": `{"confirm":"RESET"}`} {
		local.call("POST", "/api/v1/host/"+path, body).want(502, "host-failed", "The machine cannot be asked")
		b.wantAudit("host-"+path, "", "")
	}
}
