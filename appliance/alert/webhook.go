package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind is the form that a webhook wants.
type Kind string

// The kinds.
const (
	Generic Kind = "generic" // a Message as JSON
	Discord Kind = "discord" // https://discord.com/developers/docs/resources/webhook#execute-webhook
	Slack   Kind = "slack"   // https://api.slack.com/messaging/webhooks
)

const (
	// sendWait bounds one delivery.
	sendWait = 20 * time.Second
	// maxSaid is how much of an answer is told, in bytes.
	maxSaid = 300
	// maxURL bounds the URL of a webhook.
	maxURL = 2048
)

// Webhook is a URL that takes messages. The URL is secret: no error names it.
type Webhook struct {
	Kind Kind
	URL  string
	// Dial connects; it decides which addresses may be reached.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// CheckURL says what is wrong with the URL of a webhook, without showing it; nil: nothing.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return fmt.Errorf("the URL has more than %d characters", maxURL)
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "":
		return errors.New("this is not the URL of a webhook; one begins with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("a webhook is called by https or http only")
	}
	return nil
}

// Rejected is an answer that trying again does not change.
type Rejected struct{ Why string }

func (e *Rejected) Error() string { return e.Why }

// Later is an answer that asks for a pause.
type Later struct {
	Why   string
	After time.Duration
}

func (e *Later) Error() string { return e.Why }

// Send delivers m once and returns what the other side said.
func (h Webhook) Send(ctx context.Context, m Message) (said string, err error) {
	body, err := h.body(m)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return "", &Rejected{"the URL of the webhook cannot be used"} // the error would show it
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Breakwater")
	transport := &http.Transport{DialContext: h.Dial, TLSHandshakeTimeout: sendWait, DisableKeepAlives: true, DisableCompression: true}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which is a secret
		}
		return "", fmt.Errorf("the webhook cannot be reached: %w", err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxSaid)) // half an answer says enough
	return judge(response, printable(string(text)))
}

// judge tells deliveries, refusals and pauses apart.
func judge(r *http.Response, text string) (said string, err error) {
	said = strings.TrimSpace(r.Status + " " + text)
	switch {
	case r.StatusCode/100 == 2:
		return said, nil
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(r.Header.Get("Retry-After")) // a date or nothing: our own pause
		return said, &Later{"the webhook answered " + said, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	case r.StatusCode/100 == 3:
		return said, &Rejected{"the webhook leads elsewhere (" + r.Status + "), and redirects are not followed; set its final URL"}
	case r.StatusCode/100 == 4 && r.StatusCode != http.StatusRequestTimeout:
		return said, &Rejected{"the webhook answered " + said}
	}
	return said, fmt.Errorf("the webhook answered %s", said)
}

// printable keeps what a stranger says on one line.
func printable(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return !strconv.IsPrint(r) || r == ' ' }), " ")
}

func (h Webhook) body(m Message) ([]byte, error) {
	switch h.Kind {
	case Discord:
		return json.Marshal(discord(m))
	case Slack:
		return json.Marshal(map[string]string{"text": "*" + slackText(m.Title) + "*\n" + slackText(m.Text)})
	}
	return json.Marshal(m)
}

// maxDiscord is the most of an embed's description, in characters.
const maxDiscord = 4000

// discord is an embed in which nobody is mentioned, whatever the text says.
func discord(m Message) any {
	type embed struct {
		Title       string    `json:"title"`
		Description string    `json:"description"`
		Color       int       `json:"color"`
		Timestamp   time.Time `json:"timestamp"`
	}
	color := map[Event]int{Start: 0xd32f2f, End: 0x2e7d32}[m.Event]
	text := []rune(m.Text)
	return struct {
		Username string         `json:"username"`
		Embeds   []embed        `json:"embeds"`
		Mentions map[string]any `json:"allowed_mentions"`
	}{"Breakwater", []embed{{m.Title, string(text[:min(len(text), maxDiscord)]), color, m.Time.UTC()}}, map[string]any{"parse": []string{}}}
}

// slackText escapes what has a meaning in Slack's text.
func slackText(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
