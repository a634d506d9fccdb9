package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// BanRequest turns the clients of a prefix away.
type BanRequest struct {
	Prefix string    `json:"prefix"`          // a network, or one address
	For    string    `json:"for,omitempty"`   // such as "1h"; left out, and without until: for ever
	Until  time.Time `json:"until,omitzero"`  // instead of for
	Reason string    `json:"reason,omitzero"` // why, for the list
	// Incident is where the prefix was seen, if it was in one. Anybody can send what most incidents are made of under any
	// address, so a ban from one of those needs EvenIfForged.
	Incident     uint64 `json:"incident,omitempty"`
	EvenIfForged bool   `json:"evenIfForged,omitempty"`
}

// ListBans answers the bans in force, ordered by prefix.
func (a *API) ListBans(c echo.Context) error {
	bans, err := a.Control.Bans()
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(bans))
}

// CreateBan turns the clients of a prefix away and ends what they have open: {"prefix": "203.0.113.7", "for": "24h"}.
func (a *API) CreateBan(c echo.Context) error {
	var body BanRequest
	if err := readJSON(c, &body); err != nil {
		return err
	}
	prefix, until, err := body.read(time.Now())
	if err != nil {
		return err
	}
	if err := a.checkEvidence(&body); err != nil {
		return err
	}
	who := callerOf(c)
	var protect []netip.Addr
	if who.Peer.Addr.IsValid() {
		protect = append(protect, who.Peer.Addr)
	}
	if err := a.Control.Ban(c.Request().Context(), prefix, until, body.Reason, who.Name, protect...); err != nil {
		return err
	}
	if err := a.record(c, "ban", prefix.String(), strings.TrimSpace(untilText(until)+" "+body.Reason)); err != nil {
		return err
	}
	return a.answerBan(c, prefix)
}

// checkEvidence refuses a ban that follows from addresses that may be forged, unless it is wanted all the same. A ban from
// an incident says so as its reason.
func (a *API) checkEvidence(r *BanRequest) error {
	if r.Incident == 0 {
		return nil
	}
	i, err := a.Control.Incident(r.Incident)
	if err != nil {
		return err
	}
	if !i.Evidence.Proven && !r.EvenIfForged {
		return Refuse("forgeable", "The packets of this incident can be sent under any address, so a ban may hit somebody who has nothing to do with it. Send evenIfForged to ban all the same.")
	}
	if r.Reason == "" {
		r.Reason = fmt.Sprintf("incident %d: %s", i.ID, i.Title())
	}
	if !i.Evidence.Proven {
		r.Reason = strings.ToValidUTF8(r.Reason[:min(len(r.Reason), maxReason-len(mayBeForged))], "") + mayBeForged
	}
	return nil
}

const mayBeForged = " (the address may be forged)"

func (a *API) answerBan(c echo.Context, prefix netip.Prefix) error {
	bans, err := a.Control.Bans()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(bans, func(b control.Ban) bool { return b.Prefix == prefix })
	if i < 0 {
		return control.ErrNotFound // over already, or taken back by somebody else
	}
	return c.JSON(http.StatusCreated, bans[i])
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "for ever"
	}
	return "until " + until.UTC().Format(time.RFC3339)
}

// read turns the words of a request into values.
func (r BanRequest) read(now time.Time) (prefix netip.Prefix, until time.Time, err error) {
	if prefix, err = prefixOf(r.Prefix); err != nil {
		return prefix, until, invalid("invalid", "prefix", sentence(err.Error()))
	}
	if len(r.Reason) > maxReason {
		return prefix, until, invalid("invalid", "reason", fmt.Sprintf("The reason has %d bytes; at most %d are kept.", len(r.Reason), maxReason))
	}
	switch {
	case r.For == "":
		return prefix, r.Until, nil
	case !r.Until.IsZero():
		return prefix, until, invalid("invalid", "until", "Give either for or until.")
	}
	d, err := time.ParseDuration(r.For)
	if err != nil || d <= 0 {
		return prefix, until, invalid("invalid", "for", fmt.Sprintf("%.40q is not a duration; write it like \"1h\" or \"24h\".", r.For))
	}
	return prefix, now.Add(d), nil
}

// DeleteBan lets the clients of a prefix in again. A network is written with its slash as %2F.
func (a *API) DeleteBan(c echo.Context) error {
	text, err := url.PathUnescape(c.Param("prefix"))
	if err != nil {
		return badRequest("The prefix in the address cannot be read.")
	}
	prefix, err := prefixOf(text)
	if err != nil {
		return badRequest(sentence(err.Error()))
	}
	if err := a.Control.Unban(c.Request().Context(), prefix); err != nil {
		return err
	}
	return done(c, a.record(c, "unban", prefix.String(), ""))
}
