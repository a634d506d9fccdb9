package api

import (
	"errors"
	"net/http"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/settings"
)

// codes is every code that a problem may have, with its HTTP status. Programs branch on them: a code is never renamed
// and never given another meaning.
var codes = map[string]int{
	// What the wall around the site refuses.
	"unauthorized":      http.StatusUnauthorized,
	"no-such-page":      http.StatusNotFound,
	"method":            http.StatusMethodNotAllowed,
	"cross-origin":      http.StatusForbidden,
	"host":              http.StatusMisdirectedRequest,
	"forbidden":         http.StatusForbidden,
	"proof-needed":      http.StatusForbidden,
	"too-many-failures": http.StatusTooManyRequests,
	"not-claimed":       http.StatusServiceUnavailable,

	// What is wrong with a request.
	"bad-request": http.StatusBadRequest,
	"media-type":  http.StatusUnsupportedMediaType,
	"too-large":   http.StatusRequestEntityTooLarge,
	"invalid":     http.StatusUnprocessableEntity,
	"not-found":   http.StatusNotFound,
	"no-session":  http.StatusNotFound,

	// Settings.
	"no-settings":      http.StatusNotFound,
	"invalid-settings": http.StatusUnprocessableEntity,
	"change-pending":   http.StatusConflict,
	"nothing-pending":  http.StatusConflict,
	"stale":            http.StatusPreconditionFailed,
	"stale-connection": http.StatusConflict,
	"no-space":         http.StatusInsufficientStorage,
	"newer-store":      http.StatusConflict,

	// The data plane.
	"edge-unreachable": http.StatusServiceUnavailable,
	"edge-refused":     http.StatusBadGateway,
	"not-applied":      http.StatusBadGateway,
	"ban-refused":      http.StatusUnprocessableEntity,
	"forgeable":        http.StatusConflict,
	"list-refused":     http.StatusUnprocessableEntity,
	"try-refused":      http.StatusUnprocessableEntity,

	// Messages about incidents.
	"no-alerts":      http.StatusConflict,
	"secret-refused": http.StatusUnprocessableEntity,

	// Accounts, logins and tokens.
	"no-account":     http.StatusConflict,
	"claimed":        http.StatusConflict,
	"setup-dead":     http.StatusForbidden,
	"wrong":          http.StatusForbidden,
	"second-factor":  http.StatusForbidden,
	"last-admin":     http.StatusConflict,
	"account-name":   http.StatusUnprocessableEntity,
	"account-exists": http.StatusConflict,
	"weak-password":  http.StatusUnprocessableEntity,
	"token-name":     http.StatusUnprocessableEntity,
	"token-exists":   http.StatusConflict,
	"no-name":        http.StatusConflict,
	"role":           http.StatusUnprocessableEntity,
	"token-expired":  http.StatusUnprocessableEntity,
	"token-networks": http.StatusUnprocessableEntity,
	"passkey":        http.StatusUnprocessableEntity,
	"too-many":       http.StatusConflict,

	// The machine and its versions.
	"no-appliance":     http.StatusConflict,
	"no-update":        http.StatusNotFound,
	"no-update-url":    http.StatusConflict,
	"update-busy":      http.StatusConflict,
	"update-refused":   http.StatusUnprocessableEntity,
	"update-signature": http.StatusUnprocessableEntity,
	"update-older":     http.StatusConflict,
	"update-given-up":  http.StatusConflict,
	"too-slow":         http.StatusRequestTimeout,
	"host-failed":      http.StatusBadGateway,

	"certificate": http.StatusUnprocessableEntity,
	"internal":    http.StatusInternalServerError,
}

// Refuse is the problem with this code, one of those above, in the words of detail.
func Refuse(code, detail string) *Problem {
	status, known := codes[code]
	if !known {
		status = http.StatusInternalServerError
	}
	return &Problem{Status: status, Code: code, Detail: detail}
}

// invalid is a request with something wrong at a field of its body.
func invalid(code, field, text string) *Problem {
	p := Refuse(code, text)
	p.Problems = []settings.Problem{{Field: field, Text: text}}
	return p
}

// known gives the errors of the packages below their codes, and the field that they are about.
var known = []struct {
	err         error
	code, field string
}{
	{edgelink.ErrUnreachable, "edge-unreachable", ""},
	{control.ErrNothingPending, "nothing-pending", ""},
	{edgelink.ErrNoSession, "no-session", ""},
	{control.ErrNoSpace, "no-space", ""},
	{control.ErrNewer, "newer-store", ""},
	{control.ErrNoAppliance, "no-appliance", ""},
	{control.ErrNoUpdate, "no-update", ""},
	{control.ErrNoUpdateURL, "no-update-url", ""},
	{control.ErrUpdateBusy, "update-busy", ""},
	{control.ErrUpdateGivenUp, "update-given-up", ""},
	{access.ErrWrong, "wrong", ""},
	{access.ErrSecondFactor, "second-factor", "second"},
	{access.ErrSetupDead, "setup-dead", ""},
	{access.ErrClaimed, "claimed", ""},
	{access.ErrLastAdmin, "last-admin", ""},
	{access.ErrAccountName, "account-name", "name"},
	{access.ErrAccountExists, "account-exists", "name"},
	{access.ErrTokenName, "token-name", "name"},
	{access.ErrTokenExists, "token-exists", "name"},
	{access.ErrNoName, "no-name", ""},
	{access.ErrRole, "role", "role"},
	{access.ErrTokenExpired, "token-expired", "expires"},
	{access.ErrTokenNetworks, "token-networks", "networks"},
	{access.ErrPasskey, "passkey", ""},
	{access.ErrTooMany, "too-many", ""},
	{access.ErrForbidden, "forbidden", ""},
	{access.ErrNoLogin, "no-account", ""},
	{control.ErrNotFound, "not-found", ""},
	{control.ErrNoOrigin, "not-found", ""},
	{control.ErrNoAlerts, "no-alerts", ""},
	{control.ErrNoAppliance, "no-appliance", ""},
	{access.ErrNotFound, "not-found", ""},
}

// ofKnown is the problem for an error of the packages below; nil when it has no code.
func ofKnown(err error) *Problem {
	for _, k := range known {
		if !errors.Is(err, k.err) {
			continue
		}
		if k.field != "" {
			return invalid(k.code, k.field, sentence(err.Error()))
		}
		return Refuse(k.code, err.Error())
	}
	return nil
}
