package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	webtls "breakwater/web/tls"
)

func TestAccounts(t *testing.T) {
	newBox(t)
	code := strings.TrimSpace(expect(t, 0, "", "", "setup-code"))
	if len(code) != len("XXXX-XXXX-XXXX") {
		t.Errorf("the setup code is %q", code)
	}
	expect(t, 1, "it is empty", "", "accounts", "create", "anna")
	expect(t, 1, "password", "short\n", "accounts", "create", "anna", "--role", "admin")
	expect(t, 0, "Created.", "a long enough one 42\n", "accounts", "create", "anna", "--role", "admin")
	expect(t, 0, "Created.", "a long enough one 42\n", "accounts", "create", "bert")
	expect(t, 1, "has an account already", "", "setup-code")
	expect(t, 0, "viewer", "", "accounts")
	expect(t, 0, "Changed.", "", "accounts", "role", "bert", "operator")
	expect(t, 2, "king", "", "accounts", "role", "bert", "king")
	expect(t, 0, "Its logins are ended.", "another long one 43", "accounts", "password", "bert")
	expect(t, 1, "role admin", "", "accounts", "delete", "anna") // the last one
	expect(t, 0, "Removed.", "", "accounts", "delete", "bert")
	var list []access.Account
	if err := json.Unmarshal([]byte(expect(t, 0, "", "", "accounts", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].Name != "anna" {
		t.Errorf("accounts --json has %+v, %v", list, err)
	}
}

func TestTokensWithRoleEndAndNetworks(t *testing.T) {
	b := newBox(t)
	expect(t, 0, "", "", "token", "create", "far", "--role", "viewer", "--expires", "90d", "--network", "192.0.2.0/24", "--network", "2001:db8::1")
	secret := strings.TrimSpace(expect(t, 0, "", "", "token", "create", "near", "--role", "viewer"))
	expect(t, 1, "networks[0]", "", "token", "create", "x", "--network", "home")
	expect(t, 2, "write it like 90d", "", "token", "create", "x", "--expires", "soon")
	expect(t, 2, "king", "", "token", "create", "x", "--role", "king")
	out := expect(t, 0, "192.0.2.0/24 2001:db8::1/128", "", "token", "list")
	if want := time.Now().AddDate(0, 0, 90).Format(time.DateOnly); !strings.Contains(out, want) {
		t.Errorf("the end is not %s:\n%s", want, out)
	}
	if !regexp.MustCompile(`(?m)^near +viewer +local `).MatchString(out) {
		t.Errorf("the list does not say who made the token:\n%s", out)
	}
	certificate := filepath.Join(b.dir, webtls.CertificateFile)
	expect(t, 0, "There are no settings yet", "", "status", "--url", b.tls, "--token", secret, "--ca", certificate)
	expect(t, 1, "may not do this", documentOne, "apply", "-", "--url", b.tls, "--token", secret, "--ca", certificate)
}

func TestExpiry(t *testing.T) {
	now := time.Date(2030, 1, 30, 12, 0, 0, 0, time.Local)
	tests := []struct {
		name, text string
		want       time.Time
		wantErr    bool
	}{
		{"never", "never", time.Time{}, false},
		{"days", "2d", time.Date(2030, 2, 1, 12, 0, 0, 0, time.Local), false},
		{"hours", "36h", time.Date(2030, 2, 1, 0, 0, 0, 0, time.Local), false},
		{"a day", "2030-03-01", time.Date(2030, 3, 1, 0, 0, 0, 0, time.Local), false},
		{"a moment", "2030-03-01T00:00:00Z", time.Date(2030, 3, 1, 0, 0, 0, 0, time.UTC), false},
		{"half a day", "1.5d", time.Time{}, true},
		{"the past", "-1h", time.Time{}, true},
		{"a word", "soon", time.Time{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := expiryOf(test.text, now)
			if !got.Equal(test.want) || (err != nil) != test.wantErr {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}
