// Package logs keeps the last records of a process's log in memory, so that the page can show them:
//
//	ring := logs.New(slog.NewTextHandler(os.Stderr, nil), logs.Size)
//	log := slog.New(ring)
//	last := ring.Records()
//
// Every record also goes to the next handler, which is the real log. What a record holds is bounded, as parts of it are
// words of others.
package logs

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// Size is how many records a process keeps.
	Size = 500
	// maxText bounds a message and each value, in bytes.
	maxText = 1 << 10
	// maxAttrs bounds the values of one record.
	maxAttrs = 32
)

// Record is one line of the log.
type Record struct {
	Time    time.Time         `json:"time"`
	Level   string            `json:"level"` // DEBUG, INFO, WARN, ERROR
	Message string            `json:"message"`
	Attrs   map[string]string `json:"attrs"`
}

// Ring is a slog.Handler that keeps the last records. It is safe for concurrent use.
type Ring struct {
	next   slog.Handler
	kept   *kept
	prefix string      // of open groups, each with a dot behind it
	attrs  []slog.Attr // of With, their keys with the groups they were in
}

// kept is shared by a Ring and those that came of it by With.
type kept struct {
	mu      sync.Mutex
	records []Record
	oldest  int // once records is full
	size    int
}

// New keeps the last size records of what goes to next.
func New(next slog.Handler, size int) *Ring {
	return &Ring{next: next, kept: &kept{size: max(size, 1)}}
}

// Records are those kept, the oldest first.
func (r *Ring) Records() []Record {
	k := r.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]Record, 0, len(k.records))
	list = append(list, k.records[k.oldest:]...)
	return append(list, k.records[:k.oldest]...)
}

// Enabled asks the next handler.
func (r *Ring) Enabled(ctx context.Context, level slog.Level) bool { return r.next.Enabled(ctx, level) }

// Handle keeps the record and passes it on.
func (r *Ring) Handle(ctx context.Context, record slog.Record) error {
	out := Record{Time: record.Time, Level: record.Level.String(), Message: bounded(record.Message), Attrs: map[string]string{}}
	for _, a := range r.attrs {
		out.add("", a)
	}
	record.Attrs(func(a slog.Attr) bool {
		out.add(r.prefix, a)
		return len(out.Attrs) < maxAttrs
	})
	r.kept.add(out)
	return r.next.Handle(ctx, record)
}

// WithAttrs is part of slog.Handler.
func (r *Ring) WithAttrs(attrs []slog.Attr) slog.Handler {
	child := *r
	child.next = r.next.WithAttrs(attrs)
	child.attrs = append([]slog.Attr(nil), r.attrs...)
	for _, a := range attrs {
		child.attrs = append(child.attrs, slog.Attr{Key: r.prefix + a.Key, Value: a.Value})
	}
	return &child
}

// WithGroup is part of slog.Handler.
func (r *Ring) WithGroup(name string) slog.Handler {
	child := *r
	child.next = r.next.WithGroup(name)
	if name != "" {
		child.prefix += name + "."
	}
	return &child
}

// add writes the values of a group with its name in front.
func (r *Record) add(prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			r.add(prefix, inner)
		}
		return
	}
	if a.Equal(slog.Attr{}) || len(r.Attrs) >= maxAttrs {
		return
	}
	r.Attrs[prefix+a.Key] = bounded(value.String())
}

func bounded(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (k *kept) add(r Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.records) < k.size {
		k.records = append(k.records, r)
		return
	}
	k.records[k.oldest] = r
	k.oldest = (k.oldest + 1) % k.size
}
