//go:build e2e

package browser

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"breakwater/test/lab"
)

const (
	// slack is within how much time a click ends a session. On an idle machine it is a tenth of a second.
	slack = 3 * time.Second
	// players and addresses of the crowd; each address has as many.
	players, addresses = 8000, 8
)

// TestKickAndBan: 8,000 players, of whom one is kicked and then one address banned, from the live table.
func TestKickAndBan(t *testing.T) {
	b := start(t, lab.Options{})
	b.allow(t, players+players/10)
	var from []netip.Addr
	for i := range byte(addresses) {
		from = append(from, netip.AddrFrom4([4]byte{198, 18, 1, 101 + i}))
	}
	c := gather(t, wanted{From: from, At: b.edge(25565), Many: players})
	p := b.signIn(t, "anna", "admin")
	p.visit("/connections")
	p.see("8 000 sessions and flows")

	p.fill("search", from[2].String()+":")
	p.see("1 000 of 8 000 sessions and flows")
	kicked := p.firstClient(t)
	clicked := time.Now()
	p.click("Kick", kicked.String())
	eventually(t, slack, func() error {
		if _, ended := c.ended(kicked); !ended {
			return fmt.Errorf("%s goes on", kicked)
		}
		return nil
	})
	end, _ := c.ended(kicked)
	t.Logf("the kicked player's connection ended %.2f s after the click: %s", end.At.Sub(clicked).Seconds(), end.Why)
	p.see("Kicked "+kicked.String(), "999 of 7 999 sessions and flows")

	p.banFirst(t, c, from[2], players/addresses-1)
	if n, _ := c.endedOf(from[3]); n > 0 {
		t.Errorf("%d players of %s were ended, who was not banned", n, from[3])
	}
	if _, err := answer(from[2], b.edge(25565)); err == nil {
		t.Error("a banned player connects")
	} else {
		t.Logf("a banned player sees: %v", err)
	}
	p.visit("/shield")
	p.see("198.18.1.103", "anna", "floods")
	p.press("Remove the ban of 198.18.1.103/32")
	p.see("The ban is removed.")
	eventually(t, slack, func() error { _, err := answer(from[2], b.edge(25565)); return err })
}

// banFirst bans the client of the first row for an hour.
func (p *browser) banFirst(t testing.TB, c *crowd, address netip.Addr, others int) {
	t.Helper()
	already, _ := c.endedOf(address)
	p.click("Ban…", p.firstClient(t).String())
	if banned := p.value("client"); banned != address.String() {
		t.Errorf("the form bans %q, want %s", banned, address)
	}
	p.fill("reason", "floods")
	clicked := time.Now()
	p.click("1 hour")
	var last time.Time
	eventually(t, slack, func() (err error) {
		var n int
		if n, last = c.endedOf(address); n < already+others {
			err = fmt.Errorf("%d of %d sessions of the banned player ended", n-already, others)
		}
		return err
	})
	t.Logf("the last of %d sessions of the banned address ended %.2f s after the click", others, last.Sub(clicked).Seconds())
	p.see("Banned " + address.String())
}

// firstClient is the player in the first row of the table.
func (p *browser) firstClient(t testing.TB) (client netip.AddrPort) {
	t.Helper()
	eventually(t, patience, func() error {
		text, err := eval[string](p, `document.querySelector("tbody tr th[scope=row]").innerText`)
		if err == nil {
			client, err = netip.ParseAddrPort(text)
		}
		return errors.Join(err)
	})
	return client
}

// allow lets the box take so many sessions: descriptors are shared with flows, of which there are none here.
func (b *box) allow(t testing.TB, sessions int) {
	t.Helper()
	var document map[string]any
	b.call(t, http.MethodGet, "/settings", nil, &document)
	document["limits"] = map[string]any{"maxSessions": sessions, "maxFlows": 100}
	b.call(t, http.MethodPut, "/settings?reason=room+for+players", document, nil)
	b.inForce(t)
}
