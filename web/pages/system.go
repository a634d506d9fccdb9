package pages

import (
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/web/api"
)

// systemView is the box itself: what runs, since when, and what its clock says.
type systemView struct {
	Host     string
	System   api.System // of the appliance; elsewhere empty
	Platform string
	Go       string
	Control  time.Time // when it started
	Edge     time.Time // zero: it does not answer
	Version  string    // of edge
	Zone     string
	Local    string // the clock in the zone of the box
	UTC      string
	Kept     clockView
}

// clockView is whether something keeps the clock right.
type clockView struct {
	Known, Synchronised bool
	Off                 string // at most, while it is
}

// System answers what this box is and whether its two processes run.
func (p *Pages) System(c echo.Context) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	now := time.Now()
	zone, _ := now.Zone()
	system, _ := p.Control.System()
	view := systemView{Host: host, System: api.System{Version: system.Version, Slot: system.Slot}, Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Control: seen.Started, Zone: zone, Local: now.Format(time.DateTime), UTC: now.UTC().Format(time.DateTime)}
	if clock, known := p.Control.Clock(); known {
		view.Kept = clockView{true, clock.Synchronised, short(float64(clock.Off)/float64(time.Millisecond)) + " ms"}
	}
	if seen.Edge != nil {
		view.Edge, view.Version = seen.Edge.Started, seen.Edge.Version
	}
	return p.renderSeen(c, http.StatusOK, "system", seen, view)
}
