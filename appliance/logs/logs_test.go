package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestRecords(t *testing.T) {
	var out bytes.Buffer
	ring := New(slog.NewTextHandler(&out, nil), 10)
	log := slog.New(ring)
	log.Debug("not enabled")
	log.Warn("refused a plan", "rev", 7, "err", errors.New("no interface"), slog.Group("at", "port", 80), slog.Group("", "flat", true))
	log.With("origin", "games-1").WithGroup("check").With("took", "2ms").Info("up", "times", 3)
	got := ring.Records()
	want := []map[string]string{
		{"rev": "7", "err": "no interface", "at.port": "80", "flat": "true"},
		{"origin": "games-1", "check.took": "2ms", "check.times": "3"},
	}
	if len(got) != 2 || got[0].Level != "WARN" || got[0].Message != "refused a plan" || got[0].Time.IsZero() || got[1].Message != "up" {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if !maps.Equal(got[i].Attrs, want[i]) {
			t.Errorf("got %v, want %v", got[i].Attrs, want[i])
		}
	}
	if text := out.String(); !strings.Contains(text, "at.port=80") || !strings.Contains(text, "check.times=3") || strings.Contains(text, "not enabled") {
		t.Errorf("the next handler wrote %s", text)
	}
}

func TestTheOldestGoFirst(t *testing.T) {
	ring := New(slog.DiscardHandler, 3)
	for i := range 8 {
		_ = ring.Handle(context.Background(), slog.Record{Message: fmt.Sprint(i)})
		got := ""
		for _, r := range ring.Records() {
			got += r.Message
		}
		if want := "01234567"[max(0, i-2) : i+1]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestWordsOfOthersAreBounded: an origin or a client may have written them.
func TestWordsOfOthersAreBounded(t *testing.T) {
	ring := New(slog.NewTextHandler(&bytes.Buffer{}, nil), 2)
	var many []any
	for i := range 100 {
		many = append(many, fmt.Sprint(i), i)
	}
	log := slog.New(ring)
	log.Info(strings.Repeat("é", 5000), "err", strings.Repeat("x", 5000)+"\xff")
	log.Info("many", many...)
	list := ring.Records()
	for _, text := range []string{list[0].Message, list[0].Attrs["err"]} {
		if len(text) > maxText+8 || !utf8.ValidString(text) {
			t.Errorf("kept %d bytes", len(text))
		}
	}
	if n := len(list[1].Attrs); n != maxAttrs {
		t.Errorf("kept %d values, want %d", n, maxAttrs)
	}
}

func TestConcurrentUse(t *testing.T) {
	ring := New(slog.DiscardHandler, 50)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 200 {
				_ = ring.WithAttrs([]slog.Attr{slog.Int("n", 1)}).Handle(context.Background(), slog.Record{Message: "x"})
				ring.Records()
			}
		})
	}
	running.Wait()
	if n := len(ring.Records()); n != 50 {
		t.Errorf("%d records, want 50", n)
	}
}
