package pages_test

import (
	"net/url"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

var powerForms = []string{"restart", "off", "other-slot", "factory-reset"}

func TestPowerElsewhere(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	if page := anna.Get("/system/power").Want(t, 200, "Not the appliance"); strings.Contains(page.Body, "<button class=\"danger\">") {
		t.Error("the page offers what cannot be done")
	}
	for _, form := range powerForms {
		anna.Post("/system/power/"+form, url.Values{"confirm": {"RESET"}}).Want(t, 409, "Not the appliance")
	}
}

func TestPowerOfTheAppliance(t *testing.T) {
	site, _ := webtest.StartAppliance(t)
	site.Edge.Observe(status.Edge{Services: []status.Service{{Name: "a", Sessions: 3, Flows: 1}, {Name: "b", Sessions: 2}}})
	anna, victor := site.Browser(t, "anna", access.Admin), site.Browser(t, "victor", access.Viewer)
	anna.Get("/system/power").Want(t, 200, "5 sessions", "1 flow", "/system/power/restart", "Type RESET")
	if page := victor.Get("/system/power").Want(t, 200, "An admin can do these.", "Every session and flow ends"); strings.Contains(page.Body, "/system/power/restart") {
		t.Error("a viewer is offered to restart the box")
	}
	for _, form := range powerForms {
		anna.Post("/system/power/"+form, url.Values{"confirm": {"RESET"}}).Want(t, 502, "The machine cannot be asked: reach the system bus")
		victor.Post("/system/power/"+form, url.Values{"confirm": {"RESET"}}).Want(t, 403)
	}
	anna.Post("/system/power/factory-reset", url.Values{"confirm": {"reset"}}).Want(t, 422, "Type RESET, in capital letters", `value="reset"`)
	site.Edge.Stop()
	anna.Get("/system/power").Want(t, 200, "the data plane does not answer")

	entries, err := site.Access.Audit(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	resets := 0
	for _, e := range entries {
		if e.Action == "host-factory-reset" && e.Who == "anna" {
			resets++
		}
	}
	if resets != 1 {
		t.Errorf("the audit log has %d factory resets, want the one that was tried with its word", resets)
	}
}
