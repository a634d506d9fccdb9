package access

import (
	"maps"
	"sync"
	"time"
)

// A code of six digits that is good for three steps is found after some 230,000 guesses: with 30 an
// hour in most of a year.
const (
	maxGuesses    = 30
	guessesWindow = time.Hour
	maxGuessed    = 1024 // accounts and logins
)

// guesses bounds the wrong second factors that come after a right password, wherever they come from: whoever has many
// addresses passes the throttle. Only who knows the password is counted, so strangers cannot lock an account out.
type guesses struct {
	now func() time.Time

	mu   sync.Mutex
	made map[string]guessed // by the account's ID, or by the login's for a login that proves itself
}

type guessed struct {
	count int
	since time.Time
}

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, made: map[string]guessed{}}
}

// admit counts a guess, until right takes it back. It returns a *Throttled when there were too many.
func (g *guesses) admit(key string) error {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	made, known := g.made[key]
	if !known || made.over(now) {
		made = guessed{since: now}
	}
	if made.count >= maxGuesses {
		return &Throttled{After: made.since.Add(guessesWindow).Sub(now), Codes: true}
	}
	if len(g.made) >= maxGuessed {
		maps.DeleteFunc(g.made, func(_ string, other guessed) bool { return other.over(now) })
	}
	made.count++
	g.made[key] = made
	return nil
}

// right takes a guess back that was right, or was not looked at.
func (g *guesses) right(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if made, known := g.made[key]; known && made.count > 0 {
		made.count--
		g.made[key] = made
	}
}

func (g guessed) over(now time.Time) bool {
	age := now.Sub(g.since)
	return age >= guessesWindow || age < 0
}
