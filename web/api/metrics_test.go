package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"breakwater/appliance/access"
)

var metricName = regexp.MustCompile(`breakwater_[a-z_]+`)

// TestDashboardShowsWhatThereIs compares the names in the dashboard with a real scrape, in both directions: a metric that
// no panel shows is one that nobody sees.
func TestDashboardShowsWhatThereIs(t *testing.T) {
	b := newBox(t)
	fill(b)
	text := string(b.token("prometheus", access.Viewer).call("GET", "/metrics", "").want(200, "").body)
	scraped := map[string]bool{}
	for line := range strings.Lines(text) {
		if name := metricName.FindString(line); strings.HasPrefix(line, name) && name != "" {
			scraped[name] = true
		}
	}
	dashboard, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, name := range metricName.FindAllString(string(dashboard), -1) {
		shown[name] = true
	}
	if len(scraped) < 25 {
		t.Errorf("a full box has only %d metrics:\n%s", len(scraped), text)
	}
	for name := range shown {
		if !scraped[name] {
			t.Errorf("the dashboard shows %s, which there is not", name)
		}
	}
	for name := range scraped {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestMetricsOfAFullBox(t *testing.T) {
	b := newBox(t)
	fill(b)
	b.browser("anna", access.Admin)
	text := string(b.local().call("GET", "/metrics", "").want(200, "",
		`breakwater_bans 1`, `breakwater_change_pending 1`, `breakwater_interface_up{interface="wan0"} 1`,
		`breakwater_closes_total{code="635",protocol="udp",reason="banned"} 9`).body)
	if !regexp.MustCompile(`(?m)^breakwater_logins [1-9]`).MatchString(text) {
		t.Error("nobody is logged in")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
