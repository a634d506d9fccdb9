package api

import (
	"context"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// Host is the machine and the version that runs on it.
type Host struct {
	Appliance bool   `json:"appliance"` // the machine is all Breakwater's; else it has no system that is known here
	Name      string `json:"name"`
	System    System `json:"system"`
}

// System is the image that runs. Empty on a machine that is not the appliance.
type System struct {
	Version string   `json:"version"`
	Slot    string   `json:"slot"`   // A or B
	Failed  []string `json:"failed"` // newer versions that are not started: never found healthy, or chosen away
}

// ResetWord is what confirms a factory reset.
const ResetWord = "RESET"

// GetHost answers what machine this is and what runs on it.
func (a *API) GetHost(c echo.Context) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	system, appliance := a.Control.System()
	return c.JSON(http.StatusOK, Host{appliance, name, System{system.Version, system.Slot, list(system.Failed)}})
}

// Restart starts the machine again.
func (a *API) Restart(c echo.Context) error { return a.end(c, "host-restart", a.Control.Restart) }

// PowerOff turns the machine off.
func (a *API) PowerOff(c echo.Context) error { return a.end(c, "host-power-off", a.Control.PowerOff) }

// StartOther starts the machine again, with the version in the other slot.
func (a *API) StartOther(c echo.Context) error {
	return a.end(c, "host-other-slot", a.Control.StartOther)
}

// FactoryReset starts the machine again without anything that it knows: {"confirm": "RESET"}.
func (a *API) FactoryReset(c echo.Context) error {
	var body struct {
		Confirm string `json:"confirm"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	if body.Confirm != ResetWord {
		return invalid("invalid", "confirm", "A factory reset cannot be taken back. Send the word "+ResetWord+" to confirm it.")
	}
	return a.end(c, "host-factory-reset", a.Control.FactoryReset)
}

// end does what ends the system. It is written to the audit log before, as there may be no time for it after; a log that
// cannot be written keeps nobody from restarting a box whose disk is full.
func (a *API) end(c echo.Context, action string, do func(context.Context) error) error {
	system, appliance := a.Control.System()
	if !appliance {
		return control.ErrNoAppliance
	}
	recorded := a.record(c, action, system.Version, "")
	if err := do(context.WithoutCancel(c.Request().Context())); err != nil {
		return err
	}
	if recorded != nil {
		return recorded
	}
	return c.NoContent(http.StatusAccepted)
}
