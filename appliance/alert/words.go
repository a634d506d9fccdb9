package alert

import (
	"strings"
	"time"

	"breakwater/appliance/incident"
)

// Of is the message about the begin of an incident, or about its end.
func Of(i incident.Incident, box string) Message {
	m := Message{Event: Start, Box: box, Time: i.Updated, Title: box + ": " + i.Title(), Text: strings.Join(i.Words(), "\n")}
	if !i.Open() {
		m.Event, m.Title = End, box+": over: "+i.Title()
	}
	i.Series = nil
	m.Incident = &i
	return m
}

// OfTest is a message that somebody asked for.
func OfTest(box string, at time.Time) Message {
	return Message{Event: Test, Box: box, Time: at, Title: box + ": test", Text: "This is a test. Messages about incidents arrive here."}
}
