package incident

import (
	"strings"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestWords(t *testing.T) {
	at := time.Date(2026, 11, 29, 16, 20, 5, 0, time.UTC)
	i := Incident{Start: at, Vector: status.VectorSYN, Services: []string{"web"}, Mode: plan.ShieldOn, Peak: Peak{at, 52000, 26e6}, Totals: Totals{Packets: 1500000, Dropped: 1400000},
		Actions: []Action{{at, "web", status.VectorSYN}}, Lines: []Line{{"wan0", true, false}, {"wan1", false, true}},
		Evidence: Evidence{Samples: 100, Networks: []Count{{"192.0.2.0/24", 40, 10}}}}
	if got := i.Title(); got != "SYN flood on web" {
		t.Errorf("the title is %q", got)
	}
	want := `It began at 16:20:05 UTC and has come to 52,000 packets a second (26.0 Mbit/s).
The shield dropped 1,400,000 of 1,500,000 packets.
SYN cookies were armed.
The line at wan0 itself is full; no filter behind it can help, ask your provider.
The network port wan1 loses packets before the shield sees them: they come faster than this machine takes them.
Most packets claim to come from 192.0.2.0/24 (30 %); these addresses may be forged.`
	if got := strings.Join(i.Words(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	i = Incident{Start: at, End: at.Add(90 * time.Second), Seconds: 90, Vector: status.VectorConnection, Services: []string{"a", "b", "c", "d"}, Mode: plan.ShieldMonitor,
		Peak: Peak{at, 900, 0}, Evidence: Evidence{Proven: true, Samples: 4, Networks: []Count{{"192.0.2.0/24", 4, 0}}}}
	if got := i.Title(); got != "Flood of connections on 4 services" {
		t.Errorf("the title is %q", got)
	}
	want = `It lasted 1m30s, from 16:20:05 to 16:21:35 UTC, and came to 900 connections a second.
The shield is in mode monitor and lets everything pass. It would have dropped 0 of 0 packets.
Most connections come from 192.0.2.0/24 (100 %).`
	if got := strings.Join(i.Words(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEveryVectorHasAName(t *testing.T) {
	for v := range floors {
		if names[v] == "" {
			t.Errorf("%s has no name", v)
		}
	}
}
