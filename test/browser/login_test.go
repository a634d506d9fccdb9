//go:build e2e

package browser

import (
	"net/http"
	"testing"

	"breakwater/test/lab"
)

// TestLoginThrottle: whoever guesses has to wait, and is told how long; the right password gets in afterwards.
func TestLoginThrottle(t *testing.T) {
	b := start(t, lab.Options{})
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": "anna", "role": "admin", "password": password}, nil)
	p := b.open(t)
	p.visit("/services")
	for range 12 {
		p.login("anna", "not the password")
		if p.code() == http.StatusTooManyRequests {
			break
		}
		if got := p.value("login.name"); got != "anna" {
			t.Errorf("the name is %q, want what was typed", got)
		}
		if got := p.value("login.password"); got != "" {
			t.Errorf("the page holds the password %q", got)
		}
	}
	if p.code() != http.StatusTooManyRequests {
		t.Fatalf("a guesser is not slowed down: %d %s", p.code(), p.text())
	}
	t.Logf("the guesser reads: %s", p.text())
}
