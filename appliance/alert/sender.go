package alert

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// maxWaiting is how many messages wait for one target; beyond, the oldest is dropped.
	maxWaiting = 64
	// firstPause is before the second try; each later one is twice as long, up to maxPause.
	firstPause = 5 * time.Second
	maxPause   = 10 * time.Minute
	// stale is how old a message may become: who is told an hour later is not helped.
	stale = time.Hour
)

// Target is one place that gets every message.
type Target struct {
	Name string
	// Print changes when anything about the target does, also what is secret.
	Print string
	Send  func(ctx context.Context, m Message) (said string, err error)
}

// Sender delivers messages to targets. Set Report and Now before the first use; Now may be nil. It is safe for concurrent
// use.
type Sender struct {
	// Report is told how the last try for a target ended; nil: it was delivered, or the target is gone.
	Report func(target string, err error)
	// Pause replaces firstPause, for tests.
	Pause time.Duration

	mu    sync.Mutex
	lines map[string]*line
	work  sync.WaitGroup
}

// line is what waits for one target, and the goroutine that delivers it.
type line struct {
	target  Target
	end     context.CancelFunc
	mu      sync.Mutex
	waiting []due
	more    chan struct{}
}

type due struct {
	m     Message
	since time.Time
}

// Set makes targets the whole list. What waits for a target that stays as it is goes on waiting; of all others it is dropped.
// The deliveries end with ctx.
func (s *Sender) Set(ctx context.Context, targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.lines
	s.lines = map[string]*line{}
	for _, t := range targets {
		if l := old[t.Name]; l != nil && l.target.Print == t.Print {
			s.lines[t.Name] = l
			delete(old, t.Name)
			continue
		}
		lineCtx, end := context.WithCancel(ctx)
		l := &line{target: t, end: end, more: make(chan struct{}, 1)}
		s.lines[t.Name] = l
		s.work.Go(func() { s.deliver(lineCtx, l) })
	}
	for name, l := range old {
		l.end()
		s.Report(name, nil)
	}
}

// Wait returns when every delivery has ended, after the ctx of Set has.
func (s *Sender) Wait() { s.work.Wait() }

// Send gives m to every target and returns at once.
func (s *Sender) Send(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		l.put(m)
	}
}

func (l *line) put(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		l.waiting = l.waiting[1:]
	}
	l.waiting = append(l.waiting, due{m, time.Now()})
	select {
	case l.more <- struct{}{}:
	default: // it is awake
	}
}

func (l *line) take() (due, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return due{}, false
	}
	d := l.waiting[0]
	l.waiting = l.waiting[1:]
	return d, true
}

// deliver sends what waits for a target, in order, until ctx ends.
func (s *Sender) deliver(ctx context.Context, l *line) {
	defer l.end()
	for {
		d, ok := l.take()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-l.more:
			}
			continue
		}
		s.try(ctx, l.target, d)
		if ctx.Err() != nil {
			return
		}
	}
}

// try sends one message until it is delivered, refused or stale.
func (s *Sender) try(ctx context.Context, t Target, d due) {
	pause := s.Pause
	if pause == 0 {
		pause = firstPause
	}
	for {
		_, err := t.Send(ctx, d.m)
		if ctx.Err() != nil {
			return
		}
		s.Report(t.Name, err)
		if err == nil {
			return
		}
		if _, refused := errors.AsType[*Rejected](err); refused {
			return
		}
		wait := pause
		if later, ok := errors.AsType[*Later](err); ok {
			wait = max(wait, later.After)
		}
		if time.Since(d.since)+wait > stale {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		pause = min(2*pause, maxPause)
	}
}
