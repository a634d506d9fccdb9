// Package alert tells people elsewhere that an incident began or is over: webhooks (plain JSON, Discord, Slack) and e-mail.
//
//	var s alert.Sender
//	s.Set(ctx, []alert.Target{{Name: "on-call", Send: hook.Send}})
//	s.Send(message) // returns at once
//
// A delivery that fails is tried again with growing pauses, each target by itself. What waits is bounded, the oldest is
// dropped, and Report says how a target does. Nothing here knows where the settings come from.
package alert

import (
	"time"

	"breakwater/appliance/incident"
)

// Event is what a message is about.
type Event string

// The events.
const (
	Start Event = "start" // an incident began
	End   Event = "end"   // it is over
	Test  Event = "test"  // somebody wants to see whether messages arrive
)

// Message is one message. Its JSON is what a generic webhook gets.
type Message struct {
	Event    Event              `json:"event"`
	Box      string             `json:"box"` // its name
	Time     time.Time          `json:"time"`
	Title    string             `json:"title"`              // one line
	Text     string             `json:"text"`               // some lines
	Incident *incident.Incident `json:"incident,omitempty"` // without its series
}

// Answer is what the other side said to a delivery.
type Answer struct {
	Delivered bool   `json:"delivered"`
	Said      string `json:"said"` // in its words, or why there are none
}
