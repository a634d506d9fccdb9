//go:build e2e

package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"breakwater/test/lab"
)

// TestPasskey: made on one's own page, then instead of name and password. Passkeys belong to names, so the page is
// opened under localhost.
func TestPasskey(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.open(t)
	p.authenticator(t)
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": "anna", "role": "admin", "password": password}, nil)

	p.visit("/login")
	p.see("Sign in to Breakwater")
	if strings.Contains(p.text(), "Use a passkey") {
		t.Error("a passkey is offered under an address, where no browser takes one")
	}
	p.home = strings.Replace(b.URL, "127.0.0.1", "localhost", 1)
	p.visit("/login")
	p.login("anna", password)
	p.visit("/me")
	p.fill("What to call it", "laptop")
	p.leave(func() { p.click("Make a passkey") })
	p.see("laptop")
	p.inspect("me-with-passkey")

	p.press("Sign out")
	p.visit("/changes") // what was asked for is shown after the login
	p.leave(func() { p.click("Use a passkey") })
	p.see("Who changed what, when and why.", "anna")

	p.visit("/me")
	p.press("Remove laptop")
	p.miss("laptop")
	p.press("Sign out")
	p.click("Use a passkey")
	p.see("Sign in to Breakwater")
	if path := p.path(); !strings.HasPrefix(path, "/login") {
		t.Errorf("a passkey that was removed leads to %s", path)
	}
}

// authenticator gives the browser a fingerprint reader of which the finger is always there.
func (p *browser) authenticator(t testing.TB) {
	t.Helper()
	_, err := chromedp.Call(p.ctx, webauthn.Enable, webauthn.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(p.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
	must(t, err)
}
