//go:build e2e

// Package browser drives the web page of a real box in Debian's Chromium, as its owner does: with the mouse and the
// keyboard, by the words that are on the page.
//
//	make browser
//	go test -tags e2e -run TestChanges ./test/browser
//
// Every case starts a lab of its own and opens https://127.0.0.1:8443 in a browser with a fresh profile. Whatever a case
// is about, its pages are watched: what is logged as an error, what the content security policy stops, and what is asked
// of another origin fails the test (watch_test.go). Elements are found by label, role and name (find.js), so that a page
// can be redrawn without a change here. Pictures of every page are left in build/screens.
package browser

import (
	"fmt"
	"os"
	"testing"
	"time"
)

const (
	// patience is how long to wait for something that must happen. No case measures with it.
	patience = 20 * time.Second
	// look is how often to look whether it has.
	look = 50 * time.Millisecond
)

// TestMain lets the test binary also be the crowd of players that a case needs (crowd_test.go).
func TestMain(m *testing.M) {
	if n := os.Getenv(crowdVariable); n != "" {
		if err := beCrowd(n); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// eventually waits until done reports nothing, and fails with what it reported last.
func eventually(t testing.TB, limit time.Duration, done func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(look) {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", limit, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
