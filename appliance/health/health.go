// Package health holds named conditions: what is wrong now, in words an operator can act on.
//
// An owner raises a condition while it lasts and clears it when it is over; readers take a copy:
//
//	conditions.Raise(health.Condition{Code: "return-path", Subject: "games-1", Severity: health.Warning, ...})
//	conditions.Clear("return-path", "games-1")
//
// A condition is a state, not an event: raising it again only updates its text, and Since keeps the first time.
package health

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Severity orders conditions by what they cost the players.
type Severity string

const (
	// Info needs no action.
	Info Severity = "info"
	// Warning needs action before it becomes worse; players are served.
	Warning Severity = "warning"
	// Critical means that players are turned away or unprotected.
	Critical Severity = "critical"
)

// Condition is one thing that is wrong, with what to do about it.
type Condition struct {
	Code     string    `json:"code"`              // fixed, lower case, words joined by hyphens
	Subject  string    `json:"subject,omitempty"` // what it is about: the name of an origin, service, interface
	Severity Severity  `json:"severity"`
	Title    string    `json:"title"`  // one short line
	Detail   string    `json:"detail"` // what was seen and what to do next
	Since    time.Time `json:"since"`
}

// Set is the conditions of one process. The zero value is empty and ready. It is safe for concurrent use.
type Set struct {
	mu         sync.Mutex
	conditions map[key]Condition
}

type key struct{ code, subject string }

// Raise adds c, or updates the condition with the same code and subject. Since is set by Raise.
func (s *Set) Raise(c Condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conditions == nil {
		s.conditions = make(map[key]Condition)
	}
	k := key{c.Code, c.Subject}
	c.Since = time.Now()
	if old, ok := s.conditions[k]; ok {
		c.Since = old.Since
	}
	s.conditions[k] = c
}

// Clear removes the condition with this code and subject. Clearing what is not raised does nothing.
func (s *Set) Clear(code, subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conditions, key{code, subject})
}

// List returns a copy, ordered by code and subject.
func (s *Set) List() []Condition {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Condition, 0, len(s.conditions))
	for _, c := range s.conditions {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject))
	})
	return list
}
