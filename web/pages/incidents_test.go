package pages_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/incident"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
	"breakwater/web/webtest"
)

// past is an attack that is over.
func past(id uint64, ago time.Duration) incident.Incident {
	start := time.Now().Add(-ago)
	i := incident.Incident{
		ID: id, Start: start, End: start.Add(3 * time.Minute), Updated: start.Add(3 * time.Minute), Seconds: 180, Vector: status.VectorSYN,
		Parts: []incident.Part{{Service: "everything", Vector: status.VectorSYN, Usual: 12, Peak: 52000, Totals: incident.Totals{Packets: 9e6, Dropped: 89e5}},
			{Vector: status.VectorICMP, Peak: 800}},
		Services: []string{"everything"}, Mode: plan.ShieldOn, Peak: incident.Peak{Time: start, Packets: 52000, Bits: 25e6},
		Totals:  incident.Totals{Packets: 9e6, Bytes: 54e7, Dropped: 89e5},
		Actions: []incident.Action{{Time: start.Add(time.Second), Service: "everything", Vector: status.VectorSYN}},
		Evidence: incident.Evidence{Samples: 200, Sources: []incident.Count{{Value: "198.51.100.7", Count: 40}}, Networks: []incident.Count{{Value: "198.51.100.0/24", Count: 90}},
			Ports: []incident.Count{{Value: "25565", Count: 200}}},
		Lines: []incident.Line{{Interface: "wan0", Full: true}}, Note: hostile, Step: 1,
	}
	for at := range 180 {
		i.Series = append(i.Series, incident.Point{At: at, Packets: 50000, Passed: 1000, Dropped: 49000, Bits: 2e7})
	}
	return i
}

// with lets control begin with incidents.
func with(t *testing.T, all ...incident.Incident) func(*control.Options) {
	return func(o *control.Options) {
		for _, i := range all {
			var details bytes.Buffer
			w := gzip.NewWriter(&details)
			if err := json.NewEncoder(w).Encode(map[string]any{"series": i.Series}); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			i.Series = nil
			record, err := json.Marshal(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Store.PutIncident(store.Incident{Number: i.ID, Record: record, Details: details.Bytes()}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestIncidents(t *testing.T) {
	var all []incident.Incident
	for n := range 40 {
		all = append(all, past(uint64(n+1), time.Duration(40-n)*time.Hour))
	}
	proven := past(41, time.Minute*30)
	proven.Vector, proven.Evidence.Proven = status.VectorConnection, true
	site := webtest.Start(t, with(t, append(all, proven)...))
	site.Apply(t, webtest.Document)
	olga := site.Browser(t, "olga", access.Operator)
	olga.Get("/incidents").Want(t, 200, "No attack", "SYN flood on everything", "52\u202f000/s packets at most, 25 Mbit/s", "99 % dropped", "line at wan0 full", "lasted 3 min",
		`href="/incidents/41"`, `href="/incidents/12"`, `href="/incidents?before=12"`, "25 incidents")
	olga.Get("/incidents?before=12").Want(t, 200, `href="/incidents/1"`, "To the newest")
	page := olga.Get("/incidents/40").Want(t, 200, "SYN flood on everything", "The line at wan0 itself is full", "Armed SYN cookies", "can be forged", "198.51.100.0/24",
		`data-series="/api/v1/incidents/40"`, "49\u202f000/s", "packets.pcapng", `<details class="sure">`)
	if strings.Contains(page.Body, "<img") {
		t.Error("a note became markup")
	}
	page = olga.Get("/incidents/41").Want(t, 200, "Flood of connections on everything", "Ban for 24 hours")
	if strings.Contains(page.Body, "can be forged") {
		t.Error("addresses that have answered are told to be forged")
	}
	banned := olga.Post("/connections/ban", url.Values{"client": {"198.51.100.0/24"}, "for": {"24h"}, "reason": {"Incident 41"}, "here": {"/incidents/41"}}).Want(t, 303)
	if to := banned.Header.Get("Location"); to != "/incidents/41?done=banned" {
		t.Errorf("a ban leads to %s", to)
	}
	for _, path := range []string{"/incidents/99", "/incidents/x"} {
		olga.Get(path).Want(t, 404)
	}
	vera := site.Browser(t, "vera", access.Viewer)
	if page := vera.Get("/incidents/40").Want(t, 200); strings.Contains(page.Body, "/connections/ban") {
		t.Error("a viewer is offered bans")
	}
}

// TestAnIncidentThatGoesOn: what edge counts becomes one, and is told on the first page.
func TestAnIncidentThatGoesOn(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Viewer)
	site.Apply(t, webtest.Document)
	for n := uint64(0); ; n++ {
		edge := observed()
		edge.Shield = status.Shield{Mode: plan.ShieldOn, Vectors: []status.VectorCounter{{Service: "everything", Vector: status.VectorSYN, Packets: n * 50000, Bytes: n * 3e6, Dropped: n * 49000}}}
		site.Edge.Observe(edge)
		if strings.Contains(b.Get("/").Body, "Under attack:") {
			break
		}
		if n == 60 {
			t.Fatal("after 30 s there is no incident")
		}
		time.Sleep(500 * time.Millisecond)
	}
	for _, path := range []string{"/shield", "/incidents"} {
		b.Get(path).Want(t, 200, "Under attack:", "SYN flood on everything", `href="/incidents/1"`)
	}
	b.Get("/incidents/1").Want(t, 200, "goes on", "data-open", "New TCP connections")
}

func TestAlerts(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	site.Apply(t, webtest.Document)
	const path = "/incidents/alerts"
	anna.Post(path+"/test", nil).Want(t, 200, "name nobody yet")
	values := shownForm(t, anna.Get(path).Want(t, 200, "None is needed"), path)
	anna.Post(path, values).Want(t, 200, "Nothing: the settings are like this already.")
	for n := range 2 {
		values.Set("do", "add")
		values = shownForm(t, anna.Post(path, values).Want(t, 200), path)
		values.Set(fmt.Sprintf("alerts.webhooks[%d].name", n), []string{"discord", "On Call"}[n])
	}
	values.Del("do")
	values.Set("alerts.webhooks[0].kind", "discord")
	values.Set("alerts.email.to", "you")
	page := anna.Post(path, values).Want(t, 422, `id="p-alerts.webhooks[1].name"`, `id="p-alerts.email.server"`)
	values = shownForm(t, page, path)
	values.Set("do", "remove 2")
	values = shownForm(t, anna.Post(path, values).Want(t, 200), path)
	values.Del("do")
	values.Set("alerts.email.server", "mail.example.org")
	values.Set("alerts.email.from", "box@example.org")
	values = shownForm(t, anna.Post(path, values).Want(t, 422, `id="p-alerts.email.to"`), path)
	values.Set("alerts.email.to", "you@example.org, me@example.org")
	values.Set("alerts.email.user", "box")
	apply(t, anna, anna.Post(path, values).Want(t, 200, "Webhook discord", "Alerts, mail server"), path+"?done=applied")

	anna.Get(path).Want(t, 200, "Not set, so nothing is sent there", "Password for the mail server", "webhook:discord")
	secret := url.Values{"name": {"webhook:discord"}, "secret": {"ftp://x"}}
	anna.Post(path+"/secret", secret).Want(t, 422, `class="problem"`)
	secret.Set("secret", "https://192.0.2.1/api/webhooks/hidden-part")
	anna.Post(path+"/secret", secret).Want(t, 303)
	if page := anna.Get(path).Want(t, 200, "Set by anna"); strings.Contains(page.Body, "hidden-part") {
		t.Error("a secret is shown")
	}
	anna.Post(path+"/secret/remove", url.Values{"name": {"webhook:discord"}}).Want(t, 303)
	anna.Post(path+"/secret/remove", url.Values{"name": {"webhook:discord"}}).Want(t, 303)
	anna.Post(path+"/test", nil).Want(t, 200, "not delivered", "The secret webhook:discord is not set")
}
