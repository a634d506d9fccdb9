//go:build e2e

package browser

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"breakwater/test/lab"
)

// firstPacket is within how much time a new box carries a player, with someone who knows what to click.
const firstPacket = 60 * time.Second

// TestClaimToFirstPacket: a new box, its setup code, and nothing else. Six steps later a player reaches the server, which
// learns the player's address.
func TestClaimToFirstPacket(t *testing.T) {
	b := start(t, lab.Options{Empty: true})
	p := b.open(t)
	p.visit("/services") // whatever is asked for
	p.see("This box has no owner yet")
	p.inspect("claim")

	began := time.Now()
	arrived := b.firstPlayer(t)
	secret := p.claim(b.SetupCode)
	p.wizard("198.18.1.10, 2001:db8:1::10", "198.18.2.2", p.press)
	p.press("Apply")
	p.press("Keep")
	p.see("The box carries traffic")
	select {
	case at := <-arrived:
		t.Logf("claim to first packet: %.1f s", at.Sub(began).Seconds())
		if took := at.Sub(began); took > firstPacket {
			t.Errorf("claim to first packet took %s, want at most %s", took, firstPacket)
		}
	case <-time.After(patience):
		t.Fatal("no player reached the server")
	}
	p.inspect("welcome-done")

	t.Run("the code works once", func(t *testing.T) {
		other := b.open(t)
		other.visit("/claim")
		other.see("Sign in")
	})
	t.Run("the second factor is asked for", func(t *testing.T) {
		other := b.open(t)
		other.visit("/login")
		other.login("anna", password)
		other.fill("login.password", password)
		other.fill("login.second", totp(t, secret, 1))
		other.press("Sign in")
		other.see("Overview", "anna")
	})
	t.Run("every step", func(t *testing.T) {
		defer func(outer testing.TB) { p.t = outer }(p.t)
		p.t = t
		step := 0
		p.visit("/welcome")
		p.wizard("", "198.18.2.2", func(name string, area ...string) {
			step++
			p.inspect(fmt.Sprintf("welcome-%d", step))
			p.press(name, area...)
		})
		p.inspect("welcome-summary")
	})
}

// firstPlayer tells when the first player got an answer with a PROXY header.
func (b *box) firstPlayer(t testing.TB) <-chan time.Time {
	arrived := make(chan time.Time, 1)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	at := b.edge(25565)
	go func() {
		for {
			if a, err := answer(b.Client.Addresses[0], at); err == nil && a.Header == "v2" && a.Source.Addr() == b.Client.Addresses[0] {
				arrived <- time.Now()
				return
			}
			select {
			case <-over:
				return
			case <-time.After(look):
			}
		}
	}()
	return arrived
}

// claim takes the box with its code and turns on the second factor, whose secret it returns.
func (p *browser) claim(code string) (secret string) {
	p.t.Helper()
	p.fill("code", "AAAA-AAAA-AAAA")
	p.fill("account", "anna")
	p.fill("newPassword", password)
	p.press("Take the box")
	if problem := p.problemAt("code"); p.code() != http.StatusForbidden || problem == "" {
		p.t.Errorf("a wrong code: got %d %q", p.code(), problem)
	}
	if account := p.value("account"); account != "anna" {
		p.t.Errorf("the account is %q, want what was typed", account)
	}
	p.fill("code", strings.ToLower(code))
	p.fill("newPassword", password)
	p.press("Take the box")
	p.press("Set up an authenticator app")
	secret = ask[string](p, `document.querySelector("main").innerText.replace(/ /g, "").match(/\b[A-Z2-7]{32}\b/)[0]`)
	p.fill("Code", totp(p.t, secret, 0))
	p.press("Turn it on")
	p.see("The second factor is on")
	p.press("I have kept them")
	return secret
}

// wizard answers the steps after the first one up to the summary; next is how a step is left.
func (p *browser) wizard(edge, origin string, next func(name string, area ...string)) {
	p.t.Helper()
	if strings.Contains(p.text(), "A second factor for your account") {
		next("Next")
	}
	p.see("Who may open this page")
	next("Next")
	p.see("Where players arrive")
	p.pick("interfaces", "wan0")
	if edge != "" {
		p.fill("addresses", edge)
	}
	next("Next")
	p.see("What is behind this box?")
	p.pick("preset", "minecraft-java")
	next("Next")
	p.fill("origin", origin)
	p.press("Test whether the box reaches it")
	p.see("The box reaches " + origin)
	next("Next")
	p.see("This is what you said")
}

// totp is the code of an authenticator app (RFC 6238), of now or of that many steps later. Each works once.
func totp(t testing.TB, secret string, later int64) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	must(t, err)
	if len(key) < 16 {
		must(t, errors.New("the secret is shorter than RFC 4226 demands"))
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, time.Now().Unix()/30+later)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%1_000_000)
}
