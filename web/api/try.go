package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/plan"
)

// Try makes one connection from the box and answers what came of it. The body is that of control.TryRequest, with the
// bytes to send in base64.
func (a *API) Try(c echo.Context) error {
	var request control.TryRequest
	if err := readJSON(c, &request); err != nil {
		return err
	}
	if err := checkTry(request); err != nil {
		return err
	}
	trial, err := a.Control.Try(c.Request().Context(), request)
	if no, ok := errors.AsType[*edgelink.Refusal](err); ok && no.Status == http.StatusUnprocessableEntity {
		return invalid("try-refused", "address", sentence(no.Error())) // a target that is not for trying
	}
	if err != nil {
		return err
	}
	if err := a.record(c, "try", request.Address, string(request.Network)); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, trial)
}

// checkTry refuses what edge could not even try, at its field.
func checkTry(r control.TryRequest) error {
	headers := []string{"", string(plan.TCPNone), string(plan.TCPV1), string(plan.TCPV2)}
	if r.Network == plan.UDP {
		headers = []string{"", string(plan.UDPNone), string(plan.UDPV2Each), string(plan.UDPV2First), string(plan.UDPSPP)}
	}
	_, port, err := net.SplitHostPort(r.Address)
	number, numberErr := strconv.ParseUint(port, 10, 16)
	switch {
	case r.Network != plan.TCP && r.Network != plan.UDP:
		return invalid("invalid", "network", "Write tcp or udp.")
	case err != nil || numberErr != nil || number == 0:
		return invalid("invalid", "address", "Write an address or name and a port, like \"10.0.0.20:25565\".")
	case !slices.Contains(headers, r.Header):
		return invalid("invalid", "header", fmt.Sprintf("%.40q is not a header of this protocol; write one of %s.", r.Header, strings.Join(headers[1:], ", ")))
	case len(r.Send) > plan.MaxTrySend:
		return invalid("invalid", "send", fmt.Sprintf("At most %d bytes can be sent.", plan.MaxTrySend))
	case r.Wait < 0:
		return invalid("invalid", "wait", "Write milliseconds from 0.")
	}
	return nil
}

// Trials are what came of trying each origin of a service.
type Trials struct {
	Trials []control.OriginTrial `json:"trials"`
}

// TestService connects to every origin of a service as one of its sessions would.
func (a *API) TestService(c echo.Context) error {
	trials, err := a.Control.TryService(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, Trials{list(trials)})
}
