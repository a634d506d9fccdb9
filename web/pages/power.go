package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/web/api"
)

// powerView is what runs on the machine, and what ends when it does not.
type powerView struct {
	Form            form
	Appliance       bool
	System          api.System
	Sessions, Flows int64
}

// Power says what each way to stop or change the machine interrupts, before the button that does it.
func (p *Pages) Power(c echo.Context) error { return p.showPower(c, http.StatusOK, form{}) }

func (p *Pages) showPower(c echo.Context, status int, f form) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	system, appliance := p.Control.System()
	view := powerView{Form: f, Appliance: appliance, System: api.System{Version: system.Version, Slot: system.Slot, Failed: system.Failed}}
	if seen.Edge != nil {
		for _, s := range seen.Edge.Services {
			view.Sessions += s.Sessions
			view.Flows += s.Flows
		}
	}
	return p.renderSeen(c, status, "power", seen, view)
}

// Restart starts the machine again.
func (p *Pages) Restart(c echo.Context) error {
	return p.power(c, "restart", "host-restart", p.Control.Restart)
}

// PowerOff turns the machine off.
func (p *Pages) PowerOff(c echo.Context) error {
	return p.power(c, "off", "host-power-off", p.Control.PowerOff)
}

// StartOther starts the machine again, with the version in the other slot.
func (p *Pages) StartOther(c echo.Context) error {
	return p.power(c, "other", "host-other-slot", p.Control.StartOther)
}

// FactoryReset starts the machine again without anything that it knows.
func (p *Pages) FactoryReset(c echo.Context) error {
	sent, err := c.FormParams()
	if err != nil {
		return err
	}
	if sent.Get("confirm") != api.ResetWord {
		return p.showPower(c, http.StatusUnprocessableEntity, form{Values: sent}.problem("confirm", p.text.say("power.reset.wrong")))
	}
	return p.power(c, "reset", "host-factory-reset", p.Control.FactoryReset)
}

// power does what ends the system, and says when it is back. It is written to the audit log before, as there may be no
// time for it after.
func (p *Pages) power(c echo.Context, kind, action string, do func(context.Context) error) error {
	system, appliance := p.Control.System()
	if !appliance {
		return p.showPower(c, http.StatusConflict, form{})
	}
	p.record(c, action, system.Version, "")
	err := do(context.WithoutCancel(c.Request().Context()))
	if failed, ok := errors.AsType[*control.HostFailed](err); ok {
		return p.showPower(c, http.StatusBadGateway, form{}.problem("", sentence(failed)))
	}
	if err != nil {
		return err
	}
	return p.render(c, http.StatusAccepted, "powering", kind)
}
