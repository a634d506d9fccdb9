package settings

import (
	"slices"
	"strings"
	"testing"
)

func TestAlerts(t *testing.T) {
	email := func(change func(*Email)) Alerts {
		e := Email{Server: "mail.example.org", From: "box@example.org", To: []string{"admin@example.org"}}
		change(&e)
		return Alerts{Email: e}
	}
	tests := []struct {
		name   string
		alerts Alerts
		want   []string // the beginnings of the problems
	}{
		{"none", Alerts{}, nil},
		{"webhooks", Alerts{Webhooks: []Webhook{{Name: "a"}, {Name: "b", Kind: "slack"}}}, nil},
		{"two of one name", Alerts{Webhooks: []Webhook{{Name: "a"}, {Name: "a"}}}, []string{"alerts.webhooks[1].name: "}},
		{"no name, no kind", Alerts{Webhooks: []Webhook{{Kind: "teams"}}}, []string{"alerts.webhooks[0].name: is missing", `alerts.webhooks[0].kind: "teams" is not known`}},
		{"e-mail", email(func(*Email) {}), nil},
		{"e-mail with all", email(func(e *Email) { e.Server, e.TLS, e.User = "[2001:db8::25]:2525", "tls", "box" }), nil},
		{"no server", Alerts{Email: Email{From: "box@example.org"}}, []string{"alerts.email.server: is missing"}},
		{"a URL as server", email(func(e *Email) { e.Server = "smtp://mail" }), []string{`alerts.email.server: "smtp://mail" is not`}},
		{"port 0", email(func(e *Email) { e.Server = "mail.example.org:0" }), []string{"alerts.email.server: "}},
		{"nobody", email(func(e *Email) { e.To = nil }), []string{"alerts.email.to: is missing"}},
		{"no addresses", email(func(e *Email) { e.From, e.To = "Box <box@example.org>", []string{"a@b\r\nBcc: c@d"} }), []string{"alerts.email.from: ", "alerts.email.to[0]: "}},
		{"twice", email(func(e *Email) { e.To = []string{"a@b.example", "a@b.example"} }), []string{"alerts.email.to[1]: "}},
		{"a readable password", email(func(e *Email) { e.User, e.TLS = "box", "none" }), []string{"alerts.email.tls: would send the password"}},
		{"a user of two lines", email(func(e *Email) { e.User = "a\r\nb" }), []string{"alerts.email.user: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := mustRead(t, "smallest.json")
			s.Alerts = test.alerts
			var got []string
			for _, p := range s.Validate() {
				got = append(got, p.String())
			}
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPortsOfMailServers(t *testing.T) {
	for e, want := range map[*Email]string{
		{Server: "mail.example.org", TLS: "starttls"}:    "mail.example.org:587",
		{Server: "mail.example.org", TLS: "tls"}:         "mail.example.org:465",
		{Server: "2001:db8::25", TLS: "none"}:            "[2001:db8::25]:25",
		{Server: "[2001:db8::25]:2525", TLS: "starttls"}: "[2001:db8::25]:2525",
	} {
		if got := e.HostPort(); got != want {
			t.Errorf("%+v: got %s, want %s", *e, got, want)
		}
	}
}

func TestSecretsThatAreNeeded(t *testing.T) {
	s := Settings{Alerts: Alerts{Webhooks: []Webhook{{Name: "a"}}, Email: Email{User: "box"}}}
	if got, want := s.Secrets(), []string{"webhook:a", "email"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
