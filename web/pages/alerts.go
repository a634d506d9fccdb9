package pages

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/caller"
)

// alertsView is the form of who is told of incidents. Fields are named as the settings name them.
type alertsView struct {
	Form    form
	Base    uint64
	Rows    []webhookRow
	Others  []settings.Problem
	Secrets []control.SecretInfo
	Secret  form // of the secret that was refused
	Trials  []control.AlertTrial
	Tried   bool
}

// webhookRow is one webhook of the form.
type webhookRow struct {
	Form   form
	Number int    // from 1
	At     string // in front of the names of its inputs: alerts.webhooks[0]
}

const (
	webhooksField = "alerts.webhooks"
	// maxWebhooks bounds the rows of the form: a few more than the settings take, so that it is told.
	maxWebhooks = 20
)

var (
	alertFields = []string{webhooksField, "shield.sensitivity", "alerts.email.server", "alerts.email.tls", "alerts.email.from", "alerts.email.to", "alerts.email.user"}
	webhookRows = rows{list: webhooksField, input: "webhooks", fields: []string{"was", "name", "kind"}, most: maxWebhooks}
)

// AlertsForm shows who is told.
func (p *Pages) AlertsForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	return p.showAlerts(c, http.StatusOK, now, alertsView{Form: form{Values: alertValues(now)}, Base: base})
}

func alertValues(s settings.Settings) url.Values {
	e := s.Alerts.Email
	values := url.Values{
		"shield.sensitivity":  {cmp.Or(s.Shield.Sensitivity, "normal")},
		"alerts.email.server": {e.Server}, "alerts.email.tls": {cmp.Or(e.TLS, "starttls")}, "alerts.email.from": {e.From}, "alerts.email.to": {strings.Join(e.To, ", ")},
		"alerts.email.user": {e.User}, "webhooks": {strconv.Itoa(len(s.Alerts.Webhooks))},
	}
	for i, w := range s.Alerts.Webhooks {
		row := elementAt(webhooksField, i) + "."
		values.Set(row+"was", strconv.Itoa(i))
		values.Set(row+"name", w.Name)
		values.Set(row+"kind", cmp.Or(w.Kind, "generic"))
	}
	return values
}

func (p *Pages) showAlerts(c echo.Context, code int, now settings.Settings, view alertsView) error {
	fields := slices.Clone(alertFields)
	for i := range webhookRows.count(view.Form.Values) {
		at := elementAt(webhooksField, i)
		view.Rows = append(view.Rows, webhookRow{Form: view.Form, Number: i + 1, At: at})
		for _, field := range webhookRows.fields {
			fields = append(fields, at+"."+field)
		}
	}
	view.Others = p.placed(view.Form.Others(fields...), now)
	var err error
	if view.Secrets, err = p.Control.Secrets(); err != nil {
		return err
	}
	return p.render(c, code, "alerts", view)
}

// AlertsSave takes the form: one more webhook, one less, the review, or the form again with what is wrong.
func (p *Pages) AlertsSave(c echo.Context) error {
	values, base, draft, err := p.sent(c)
	if err != nil {
		return err
	}
	view := alertsView{Form: form{Values: values}, Base: base}
	switch do, row, _ := strings.Cut(values.Get("do"), " "); do {
	case "add":
		webhookRows.add(values)
		return p.showAlerts(c, http.StatusOK, draft, view)
	case "remove":
		webhookRows.remove(values, row)
		return p.showAlerts(c, http.StatusOK, draft, view)
	}
	webhookRows.keep(values, func(row string, _ int) bool { return strings.TrimSpace(values.Get(row+".name")) != "" })
	t := typed{values: values}
	draft.Alerts = t.alerts(draft.Alerts)
	draft.Shield.Sensitivity = t.chosen("shield.sensitivity", draft.Shield.Sensitivity, "normal")
	problems, err := p.review(c, t.with(ofAlerts(draft.Validate())), draft, base, "/incidents/alerts")
	if len(problems) == 0 {
		return err
	}
	view.Form.Problems = problems
	return p.showAlerts(c, http.StatusUnprocessableEntity, draft, view)
}

// ofAlerts brings the problems of single recipients to the field that has them all.
func ofAlerts(problems []settings.Problem) []settings.Problem {
	problems = slices.Clone(problems)
	for i, p := range problems {
		if strings.HasPrefix(p.Field, "alerts.email.to[") {
			problems[i].Field = "alerts.email.to"
		}
	}
	return problems
}

// alerts reads the form.
func (t *typed) alerts(was settings.Alerts) settings.Alerts {
	a := settings.Alerts{Email: t.email(was.Email)}
	for i := range webhookRows.count(t.values) {
		row := elementAt(webhooksField, i) + "."
		var before settings.Webhook
		if at, err := strconv.Atoi(t.text(row + "was")); err == nil && at >= 0 && at < len(was.Webhooks) {
			before = was.Webhooks[at]
		}
		a.Webhooks = append(a.Webhooks, settings.Webhook{Name: t.text(row + "name"), Kind: t.chosen(row+"kind", before.Kind, "generic")})
	}
	return a
}

// email is all left out where nothing was typed.
func (t *typed) email(was settings.Email) settings.Email {
	e := settings.Email{
		Server: t.text("alerts.email.server"), From: t.text("alerts.email.from"), To: t.words("alerts.email.to"), User: t.text("alerts.email.user"),
	}
	if e.Server != "" || e.From != "" || len(e.To) > 0 || e.User != "" {
		e.TLS = t.chosen("alerts.email.tls", was.TLS, "starttls")
	}
	return e
}

// AlertSecret keeps the URL of a webhook or the password for the mail server, which are no part of the settings.
func (p *Pages) AlertSecret(c echo.Context) error {
	name, secret := c.FormValue("name"), c.FormValue("secret")
	err := p.Control.SetSecret(name, secret, caller.Of(c.Request().Context()).Name)
	if refused, ok := errors.AsType[*control.SecretRefused](err); ok {
		now, base, err := p.current()
		if err != nil {
			return err
		}
		view := alertsView{Form: form{Values: alertValues(now)}, Base: base, Secret: form{}.problem(name, refused.Why)}
		return p.showAlerts(c, http.StatusUnprocessableEntity, now, view)
	}
	if err != nil {
		return err
	}
	p.record(c, "secret-set", name, "")
	return p.back(c, "/incidents/alerts", "secret-set")
}

// AlertSecretRemove forgets a secret. One that is gone already is what was wanted.
func (p *Pages) AlertSecretRemove(c echo.Context) error {
	name := c.FormValue("name")
	if err := p.Control.DeleteSecret(name); err != nil && !errors.Is(err, control.ErrNotFound) {
		return err
	}
	p.record(c, "secret-delete", name, "")
	return p.back(c, "/incidents/alerts", "secret-gone")
}

// AlertTest sends everybody a test message and shows what they said. The answer is the page itself: what was said is kept
// nowhere.
func (p *Pages) AlertTest(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	view := alertsView{Form: form{Values: alertValues(now)}, Base: base, Tried: true}
	view.Trials, err = p.Control.TestAlerts(c.Request().Context())
	if err != nil && !errors.Is(err, control.ErrNoAlerts) {
		return err
	}
	p.record(c, "alerts-test", "", "")
	return p.showAlerts(c, http.StatusOK, now, view)
}
