//go:build e2e

package browser

import (
	"net/http"
	"strings"
	"testing"

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
