package settings

import (
	"cmp"
	"net"
	"net/mail"
	"slices"
	"strconv"
	"strings"
)

// Alerts are who is told when an incident begins and ends. URLs of webhooks and the password of e-mail are secrets, which
// are kept apart from the document: see Secrets.
type Alerts struct {
	Webhooks []Webhook `json:"webhooks,omitempty"`
	Email    Email     `json:"email,omitzero"`
}

// Webhook is a URL that messages are sent to. The URL itself is the secret "webhook:" and its name.
type Webhook struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // generic (default: JSON with the incident), discord, slack
}

// Email is how messages are mailed. Left out: they are not.
type Email struct {
	Server string   `json:"server,omitempty"` // name or address, with the port where it is not that of tls: "mail.example.org:2525"
	TLS    string   `json:"tls,omitempty"`    // starttls (default, port 587), tls (port 465), none (port 25)
	From   string   `json:"from,omitempty"`
	To     []string `json:"to,omitempty"`
	User   string   `json:"user,omitempty"` // default: no login; the password is the secret "email"
}

// The bounds of alerts.
const (
	maxWebhooks   = 16
	maxRecipients = 16
	maxMail       = 254 // of an e-mail address (RFC 5321 section 4.5.3.1.3)
)

// EmailSecret is the name of the password for the mail server.
const EmailSecret = "email"

// Secret is the name of the secret with the URL.
func (w Webhook) Secret() string { return "webhook:" + w.Name }

// Secrets are the names of the secrets that the settings need, in the order of the document.
func (s Settings) Secrets() []string {
	var names []string
	for _, w := range s.Alerts.Webhooks {
		names = append(names, w.Secret())
	}
	if s.Alerts.Email.User != "" {
		names = append(names, EmailSecret)
	}
	return names
}

// On tells whether messages are mailed.
func (e Email) On() bool { return e.Server != "" }

func (a Alerts) withDefaults() Alerts {
	a.Webhooks = slices.Clone(a.Webhooks)
	for i := range a.Webhooks {
		a.Webhooks[i].Kind = cmp.Or(a.Webhooks[i].Kind, "generic")
	}
	if a.Email.On() {
		a.Email.TLS = cmp.Or(a.Email.TLS, "starttls")
	}
	return a
}

// HostPort is the server with its port.
func (e Email) HostPort() string {
	if host, port, err := net.SplitHostPort(e.Server); err == nil {
		return net.JoinHostPort(host, port)
	}
	port := map[string]string{"tls": "465", "none": "25"}[e.TLS]
	return net.JoinHostPort(e.Server, cmp.Or(port, "587"))
}

func (v *validator) alerts() {
	at := path("alerts")
	seen := map[string]path{}
	for i, w := range cut(v, at.field("webhooks"), v.s.Alerts.Webhooks, maxWebhooks, "webhooks") {
		at := at.field("webhooks").index(i)
		if wrong := nameProblem(w.Name, maxName); wrong != "" {
			v.add(at.field("name"), "%s", wrong)
		}
		v.unique(at.field("name"), w.Name, seen)
		v.oneOf(at.field("kind"), w.Kind, "generic", "discord", "slack")
	}
	v.email(at.field("email"), v.s.Alerts.Email)
}

func (v *validator) email(at path, e Email) {
	if !e.On() {
		if e.TLS != "" || e.From != "" || len(e.To) > 0 || e.User != "" {
			v.add(at.field("server"), "is missing; write the mail server, like \"mail.example.org\", or leave all of email out")
		}
		return
	}
	if !isServer(e.Server) {
		v.add(at.field("server"), "%s is not a mail server; write its name or address, with the port where that is special, like \"mail.example.org\" or \"192.0.2.25:2525\"", quote(e.Server))
	}
	v.oneOf(at.field("tls"), e.TLS, "starttls", "tls", "none")
	v.mailAddress(at.field("from"), e.From)
	if len(e.To) == 0 {
		v.add(at.field("to"), "is missing; write who gets the messages")
	}
	seen := map[string]path{}
	for i, to := range cut(v, at.field("to"), e.To, maxRecipients, "addresses") {
		v.mailAddress(at.field("to").index(i), to)
		v.once(at.field("to").index(i), to, seen)
	}
	if len(e.User) > maxMail || strings.ContainsFunc(e.User, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		v.add(at.field("user"), "%s is not a user of a mail server; it has at most %d characters, all of them printable", quote(e.User), maxMail)
	}
	if e.User != "" && e.TLS == "none" {
		v.add(at.field("tls"), "would send the password of %s readable over the network; use starttls or tls, or leave user out", quote(e.User))
	}
}

// mailAddress checks a plain address, without a name in front.
func (v *validator) mailAddress(at path, text string) {
	if text == "" {
		v.add(at, "is missing; write an e-mail address, like \"admin@example.org\"")
		return
	}
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text || len(text) > maxMail || strings.ContainsAny(text, "<>\" \r\n") {
		v.add(at, "%s is not an e-mail address; write it like \"admin@example.org\"", quote(text))
	}
}

func isServer(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return isAddress(text) || isHostName(text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && (isAddress(host) || isHostName(host))
}
