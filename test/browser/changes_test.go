//go:build e2e

package browser

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/test/lab"
)

// reaches waits until a player of bw-client who dials this gets the origin's line with this header.
func (b *box) reaches(t testing.TB, at netip.AddrPort, header string) {
	t.Helper()
	eventually(t, patience, func() error {
		a, err := answer(b.Client.Addresses[0], at)
		if err == nil && a.Header != header {
			err = fmt.Errorf("%s is answered with the header %s, want %s", at, a.Header, header)
		}
		return err
	})
}

// edge is where players dial a port.
func (b *box) edge(port uint16) netip.AddrPort { return netip.AddrPortFrom(b.Edge.Addresses[0], port) }

// TestEdit: what is wrong with a form is told at its field and what was typed stays; the change is shown in words, then
// applied, then in force; and what was applied can be rolled back.
func TestEdit(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin")
	b.reaches(t, b.edge(25570), "v2") // the service for everything

	p.visit("/services/minecraft-java/edit")
	p.fill("ports", "25565-25570, 70000")
	p.press("Review the change")
	if p.code() != http.StatusUnprocessableEntity {
		t.Errorf("status %d for a port that does not exist, want 422", p.code())
	}
	if problem := p.problemAt("ports"); !strings.Contains(problem, "70000") {
		t.Errorf("the field says %q, want what is wrong with 70000", problem)
	}
	if typed := p.value("ports"); typed != "25565-25570, 70000" {
		t.Errorf("the field holds %q, want what was typed", typed)
	}
	p.inspect("form-with-problem")
	p.fill("ports", "25565-25570")
	p.press("Review the change")
	p.see("This would change", "25565-25570", "minecraft-java")
	p.inspect("review")
	b.reaches(t, b.edge(25570), "v2") // nothing has changed yet
	p.fill("reason", "more servers")
	p.press("Apply")
	p.see("Applied. The change is in force.")
	b.reaches(t, b.edge(25570), "v1")

	p.visit("/changes")
	p.see("more servers", "anna")
	p.press("1")
	p.press("Roll back to this")
	p.see("25565-25570", "25565")
	p.press("Apply")
	b.reaches(t, b.edge(25570), "v2")
	p.visit("/changes")
	p.see("roll back to revision 1")
}

// TestTwoEditAtOnce: the second loses nothing, sees what the first changed, and can apply on top.
func TestTwoEditAtOnce(t *testing.T) {
	b := start(t, lab.Options{})
	anna, boris := b.signIn(t, "anna", "admin"), b.signIn(t, "boris", "admin")
	boris.visit("/services/minecraft-java/edit")
	boris.fill("ports", "25565-25567")
	boris.press("Review the change")

	anna.visit("/services/minecraft-java/edit")
	anna.fill("tcpHeader", "none")
	anna.press("Review the change")
	anna.press("Apply")
	anna.see("Applied. The change is in force.")
	b.reaches(t, b.edge(25565), "none")

	boris.fill("reason", "three servers")
	boris.press("Apply")
	boris.see("Not applied", "25565-25567")
	if boris.code() != http.StatusConflict {
		t.Errorf("status %d for a form that is older than the settings, want 409", boris.code())
	}
	if reason := boris.value("reason"); reason != "three servers" {
		t.Errorf("the reason is %q, want what was typed", reason)
	}
	boris.inspect("stale")
	boris.press("Apply")
	boris.see("Applied. The change is in force.")
	b.reaches(t, b.edge(25567), "none") // the second change is on top of the first
}

// TestKeep: an edge address is added, which could cut the operator off. The browser reaches the box after it and keeps
// it; until then others see who is at it, and cannot change anything.
func TestKeep(t *testing.T) {
	b := start(t, lab.Options{})
	anna, boris := b.signIn(t, "anna", "admin"), b.signIn(t, "boris", "admin")
	before := b.status(t).Revision
	added := netip.MustParseAddr("198.18.1.11")
	anna.visit("/system/network")
	anna.fill("addresses", anna.value("addresses")+", "+added.String())
	anna.press("Review the change")
	anna.see("60 seconds", added.String())
	anna.press("Apply")
	anna.see("A change is waiting to be kept")
	b.reaches(t, netip.AddrPortFrom(added, 443), "v2")
	anna.inspect("pending")

	boris.visit("/services/minecraft-java/edit")
	boris.see("A change is waiting to be kept", "anna")
	boris.fill("ports", "25565-25567")
	boris.press("Review the change")
	boris.press("Apply")
	boris.see("Not applied", "Another change is in the way", "anna")

	anna.press("Keep")
	anna.see("Kept. The change stays.")
	if s := b.status(t); s.Pending != nil || s.Revision != before+1 {
		t.Errorf("got revision %d (pending: %v), want %d", s.Revision, s.Pending, before+1)
	}
	b.reaches(t, netip.AddrPortFrom(added, 443), "v2")
}

// TestRevert: management networks that leave the operator out make the page unreachable, and after 60 s it is back with
// the settings from before and says so.
func TestRevert(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin")
	before := b.status(t).Revision
	p.visit("/system/network")
	p.fill("networks", "192.0.2.0/24")
	p.press("Review the change")
	p.see("This can cut you off", "192.0.2.0/24")
	p.lose(true)
	p.press("Apply")
	applied := time.Now()
	eventually(t, patience, func() error {
		if p.tryVisit(b.URL+"/") == nil {
			return errors.New("the page can be reached from outside of the management networks")
		}
		return nil
	})
	if s := b.status(t); s.Pending == nil || s.Pending.Author != "anna" {
		t.Fatalf("no change of anna waits: %+v", s)
	}
	eventually(t, 90*time.Second, func() error {
		if s := b.status(t); s.Pending != nil {
			return fmt.Errorf("the change still waits: %+v", s)
		}
		return nil
	})
	took := time.Since(applied)
	eventually(t, patience, func() error { return p.tryVisit(b.URL + "/") })
	p.lose(false)
	t.Logf("the change was taken back after %.1f s, and the page was back after %.1f s", took.Seconds(), time.Since(applied).Seconds())
	if took < 50*time.Second || took > 80*time.Second {
		t.Errorf("the change was taken back after %s, want 60s", took)
	}
	p.see("A change was taken back")
	p.inspect("taken-back")
	if s := b.status(t); s.Pending != nil || s.Revision != before {
		t.Errorf("got revision %d (pending: %v), want %d", s.Revision, s.Pending, before)
	}
	p.visit("/system/network")
	if networks := p.value("networks"); networks != "" {
		t.Errorf("the management networks are %q, want none", networks)
	}
}

// TestRevertAfterKill: control is killed while a change waits. Its successor takes the change back in time.
func TestRevertAfterKill(t *testing.T) {
	const window = 12 * time.Second
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin")
	before := b.status(t).Revision
	var document map[string]any
	b.call(t, http.MethodGet, "/settings", nil, &document)
	document["services"].([]any)[0].(map[string]any)["tcpHeader"] = "v1"
	b.call(t, http.MethodPut, "/settings?reason=try+v1&confirm="+window.String(), document, nil)
	applied := time.Now()
	b.reaches(t, b.edge(443), "v1")
	p.visit("/")
	p.see("A change is waiting to be kept", "try v1")

	p.lose(true)
	must(t, syscall.Kill(b.process(t, "control"), syscall.SIGKILL))
	eventually(t, patience, func() error { return p.tryVisit(b.URL + "/changes") })
	p.lose(false)
	p.miss("A change is waiting to be kept")
	b.reaches(t, b.edge(443), "v2")
	t.Logf("the change was taken back %.1f s after it was applied for %s", time.Since(applied).Seconds(), window)
	p.visit("/")
	p.see("A change was taken back")
	if s := b.status(t); s.Pending != nil || s.Revision != before {
		t.Errorf("got revision %d (pending: %v), want %d", s.Revision, s.Pending, before)
	}
}
