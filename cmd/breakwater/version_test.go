package main

import (
	"os"
	"testing"
	"time"
)

// TestEveryBuildIsAnother, also of a program that does not know its version: what an update should clear stays otherwise.
func TestEveryBuildIsAnother(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first := build()
	if first == "" || first != build() {
		t.Errorf("got %q, then %q", first, build())
	}
	if version() != devel {
		return // its version tells
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(self, later, later); err != nil {
		t.Fatal(err)
	}
	if build() == first {
		t.Errorf("two builds are both %q", first)
	}
}
