package pages

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/web/caller"
)

// bansAtOnce is how many bans the page lists; more are found by searching.
const bansAtOnce = 200

// banTimes are how long a ban can last, as the form and the table of connections offer it. The zero is for ever.
var banTimes = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "168h": 7 * 24 * time.Hour, "ever": 0}

// list takes the bans that match the search, at most bansAtOnce.
func (v *shieldView) list(c *control.Control) error {
	all, err := c.Bans()
	if err != nil {
		return err
	}
	v.Banned = len(all)
	wanted := strings.ToLower(v.Search)
	for _, b := range all {
		if !strings.Contains(strings.ToLower(b.Prefix.String()+" "+b.Author+" "+b.Reason), wanted) {
			continue
		}
		if v.Found++; len(v.Bans) < bansAtOnce {
			v.Bans = append(v.Bans, b)
		}
	}
	return nil
}

// AddBan turns an address or network away.
func (p *Pages) AddBan(c echo.Context) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	return p.ban(c, typed, "/shield")
}

// ban carries out a form with client, for and reason, wherever it stands. What is refused is shown with its sentence.
func (p *Pages) ban(c echo.Context, typed url.Values, back string) error {
	f := form{Values: typed}
	prefix, err := bannable(typed.Get("client"))
	if err != nil {
		f = f.problem("client", sentence(err))
	}
	lasts, known := banTimes[typed.Get("for")]
	if !known {
		f = f.problem("for", p.text.say("shield.for.unknown"))
	}
	if len(f.Problems) > 0 {
		return p.shield(c, http.StatusUnprocessableEntity, f)
	}
	var until time.Time
	if lasts > 0 {
		until = time.Now().Add(lasts)
	}
	who := caller.Of(c.Request().Context())
	err = p.Control.Ban(c.Request().Context(), prefix, until, bounded(typed.Get("reason")), who.Name, own(who.Peer.Addr)...)
	if refused, ok := errors.AsType[*control.BanRefused](err); ok {
		return p.shield(c, http.StatusUnprocessableEntity, f.problem("client", refused.Why))
	}
	if err != nil && !errors.Is(err, edgelink.ErrUnreachable) {
		return err
	}
	p.record(c, "ban", prefix.String(), fmt.Sprintf("for %s %s", typed.Get("for"), bounded(typed.Get("reason"))))
	if err != nil {
		return p.back(c, back, "banned-later")
	}
	return p.back(c, back, "banned")
}

// own is the address that must not be banned: that of the reader.
func own(a netip.Addr) []netip.Addr {
	if !a.IsValid() {
		return nil // over the unix socket
	}
	return []netip.Addr{a}
}

// RemoveBan lets an address or network in again.
func (p *Pages) RemoveBan(c echo.Context) error {
	prefix, err := netip.ParsePrefix(c.FormValue("prefix"))
	if err != nil {
		return badForm("The page that sent this is not from here. Open it again.")
	}
	err = p.Control.Unban(c.Request().Context(), prefix)
	switch {
	case errors.Is(err, control.ErrNotFound): // over already, or removed by somebody else: as it was wanted
	case err != nil && !errors.Is(err, edgelink.ErrUnreachable):
		return err
	default:
		p.record(c, "unban", prefix.String(), "")
	}
	return p.back(c, "/shield", "unbanned")
}
