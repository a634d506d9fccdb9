//go:build e2e

package browser

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control/edgetest"
	"breakwater/test/lab"
)

// TestLoginThrottle: whoever guesses has to wait, is told how long, and learns nothing of a right guess meanwhile. Who is
// signed in already goes on.
func TestLoginThrottle(t *testing.T) {
	b := start(t, lab.Options{})
	inside := b.signIn(t, "anna", "admin")
	p := b.open(t)
	p.visit("/services")
	guesses := 0
	for ; p.code() != http.StatusTooManyRequests; guesses++ {
		if guesses == 30 {
			t.Fatalf("a guesser is not slowed down: %d %s", p.code(), p.text())
		}
		p.login("anna", "not the password")
		if got := p.value("login.name"); got != "anna" {
			t.Errorf("the name is %q, want what was typed", got)
		}
		if got := p.value("login.password"); got != "" {
			t.Errorf("the page holds the password %q", got)
		}
	}
	p.see("Too many attempts")
	t.Logf("after %d guesses: %s", guesses, strings.Split(p.text(), "\n"))
	p.inspect("login-throttled")
	p.login("anna", password)
	p.see("Too many attempts")
	inside.visit("/changes")
	inside.see("Who changed what")
}

// TestLeavingAPageAsksNothing: a page that is being left has no stream of live numbers any more, whose login may end before the next page
// is there. One that stays after all, because what was asked for is a download, goes on.
func TestLeavingAPageAsksNothing(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin")
	p.visit("/services")
	ask[bool](p, `import(performance.getEntriesByType("resource").find(e => e.name.endsWith("/live.js")).name).then(live => {
		window.sample = () => new Promise(done => live.samples.addEventListener("sample", () => done(true), {once: true}));
		return window.sample();
	})`)
	ask[bool](p, `dispatchEvent(new Event("beforeunload")), true`)
	// A sample comes every two seconds.
	if ask[bool](p, `Promise.race([window.sample(), new Promise(done => setTimeout(() => done(false), 5000))])`) {
		t.Error("a page that is being left reads live numbers")
	}
	ask[bool](p, "window.sample()")
}

// TestSignedOutElsewhere: a page went on with its live numbers for up to 15 seconds after its login had been ended, and asked for the
// password only then.
func TestSignedOutElsewhere(t *testing.T) {
	b, _ := standIn(t, edgetest.Start(t))
	p := b.signIn(t, "anna", "admin")
	p.visit("/services")
	p.see("Services")
	p.lose(true) // what it asks for next is refused
	b.call(t, http.MethodDelete, "/accounts/anna/logins", nil, nil)
	p.seeWithin(5*time.Second, "Sign in to Breakwater")
}
