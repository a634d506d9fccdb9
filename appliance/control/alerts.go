package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"breakwater/appliance/alert"
	"breakwater/appliance/health"
	"breakwater/appliance/incident"
	"breakwater/appliance/settings"
)

const (
	alertFailing = "alert-failing"
	alertMissing = "alert-secret-missing"
)

// dialWait bounds a connection to who gets messages.
const dialWait = 10 * time.Second

// alerts are who is told of incidents.
type alerts struct {
	sender alert.Sender
	dial   func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	secrets int // how often they changed
	applied string
	missing map[string]bool
}

// change makes Run read the secrets again.
func (a *alerts) change() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets++
}

func (a *alerts) send(m alert.Message) { a.sender.Send(m) }

// due tells whether the targets are to be read again, now that edge should run this revision.
func (a *alerts) due(revision uint64, pending bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := fmt.Sprint(revision, pending, a.secrets)
	if now == a.applied {
		return false
	}
	a.applied = now
	return true
}

// keepAlerts brings the targets and the search for incidents on the settings and secrets as they are. The deliveries end with ctx.
func (c *Control) keepAlerts(ctx context.Context) {
	wanted, pending := c.wish()
	revision := uint64(0)
	if wanted != nil {
		revision = wanted.Revision
	}
	if !c.alerts.due(revision, pending != nil) {
		return
	}
	s, err := c.currentSettings()
	if err != nil {
		c.log.Error("read who is told of incidents", "err", err)
		return
	}
	c.watcher.detector.SetSensitivity(incident.Sensitivity(s.Shield.Sensitivity))
	targets, missing, err := c.targets(s)
	if err != nil {
		c.log.Error("read who is told of incidents", "err", err)
		return
	}
	c.alerts.sender.Set(ctx, targets)
	c.raiseMissing(missing)
}

// endAlerts ends the deliveries, before Run returns.
func (c *Control) endAlerts() {
	c.alerts.sender.Set(context.Background(), nil)
	c.alerts.sender.Wait()
	c.alerts.mu.Lock()
	defer c.alerts.mu.Unlock()
	c.alerts.applied = ""
}

func (c *Control) raiseMissing(missing map[string]bool) {
	for name := range missing {
		c.conditions.Raise(health.Condition{Code: alertMissing, Subject: name, Severity: health.Warning, Title: "Messages about incidents cannot be sent",
			Detail: fmt.Sprintf("The settings need the secret %q, and it is not set. Set it (PUT /api/v1/secrets/%s), or take the alert out of the settings.", name, name)})
	}
	c.alerts.mu.Lock()
	defer c.alerts.mu.Unlock()
	for name := range c.alerts.missing {
		if !missing[name] {
			c.conditions.Clear(alertMissing, name)
		}
	}
	c.alerts.missing = missing
}

// targets are who the settings name, and the secrets that they lack.
func (c *Control) targets(s settings.Settings) (list []alert.Target, missing map[string]bool, err error) {
	stored, err := c.store.Secrets()
	if err != nil {
		return nil, nil, err
	}
	secrets := map[string]string{}
	for _, n := range stored {
		secrets[n.Name] = string(n.Secret)
	}
	missing = map[string]bool{}
	for _, name := range s.Secrets() {
		if secrets[name] == "" {
			missing[name] = true
		}
	}
	a := s.WithDefaults().Alerts
	for _, w := range a.Webhooks {
		if url := secrets[w.Secret()]; url != "" {
			hook := alert.Webhook{Kind: alert.Kind(w.Kind), URL: url, Dial: c.alerts.dial}
			list = append(list, alert.Target{Name: w.Secret(), Print: fingerprint(w, url), Send: hook.Send})
		}
	}
	if a.Email.On() && !missing[settings.EmailSecret] {
		list = append(list, c.mailTarget(a.Email, secrets[settings.EmailSecret]))
	}
	return list, missing, nil
}

func (c *Control) mailTarget(e settings.Email, password string) alert.Target {
	o := alert.Mail{Server: e.HostPort(), TLS: alert.TLS(e.TLS), From: e.From, To: e.To, User: e.User, Password: password, Dial: c.alerts.dial}
	return alert.Target{Name: settings.EmailSecret, Print: fingerprint(e, password), Send: o.Send}
}

// fingerprint changes with any part of a target.
func fingerprint(parts ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

// reportAlert raises and clears the condition of a target.
func (c *Control) reportAlert(target string, err error) {
	if err == nil {
		c.conditions.Clear(alertFailing, target)
		return
	}
	c.log.Warn("a message about an incident is not delivered", "target", target, "err", err)
	c.conditions.Raise(health.Condition{Code: alertFailing, Subject: target, Severity: health.Warning, Title: "A message about an incident is not delivered",
		Detail: sentence(err) + ". What can pass is tried again for an hour. POST /api/v1/alerts/test sends a test message."})
}

// name is what the box is called in messages.
func (c *Control) name() string {
	s, err := c.currentSettings()
	if err != nil {
		return "breakwater"
	}
	return s.WithDefaults().Host.Name
}

// AlertTrial is what became of a test message at one target.
type AlertTrial struct {
	Target    string `json:"target"` // "email", or "webhook:" and its name
	Delivered bool   `json:"delivered"`
	Said      string `json:"said"` // by the other side, or why it could not be asked
}

// ErrNoAlerts means that the settings name nobody who could be told.
var ErrNoAlerts = errors.New("the settings name nobody who is told of incidents; see alerts")

// TestAlerts sends a test message to every target, once and at the same time, and returns what they said.
func (c *Control) TestAlerts(ctx context.Context) ([]AlertTrial, error) {
	s, err := c.currentSettings()
	if err != nil {
		return nil, err
	}
	targets, missing, err := c.targets(s)
	if err != nil {
		return nil, err
	}
	if len(targets)+len(missing) == 0 {
		return nil, ErrNoAlerts
	}
	message := alert.OfTest(c.name(), c.now())
	trials := make([]AlertTrial, len(targets))
	var work sync.WaitGroup
	for i, t := range targets {
		work.Go(func() {
			said, err := t.Send(ctx, message)
			if err != nil {
				said = sentence(err) + "."
			}
			trials[i] = AlertTrial{t.Name, err == nil, strings.TrimSpace(said)}
		})
	}
	work.Wait()
	for name := range missing {
		trials = append(trials, AlertTrial{name, false, "The secret " + name + " is not set."})
	}
	return trials, nil
}
