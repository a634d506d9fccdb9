package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/incident"
	"breakwater/appliance/status"
)

func TestTheTableOfIncidents(t *testing.T) {
	start := time.Now()
	list := []control.Incident{
		{ID: 2, Start: start, Seconds: 75, Vector: status.VectorUDP, Services: []string{"we\x1bb"}, Peak: incident.Peak{Packets: 52000}, Totals: incident.Totals{Packets: 100, Dropped: 90}},
		{ID: 1, Start: start, End: start, Vector: status.VectorSYN},
	}
	var out bytes.Buffer
	if err := incidentTable(list).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1m15s, goes on", "UDP flood on we b", "52000", "90 of 100", "SYN flood"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
