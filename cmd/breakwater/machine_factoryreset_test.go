package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"breakwater/appliance/seed"
)

// TestAFactoryResetForgetsTheSeed: what lay in the ESP would own the box after it.
func TestAFactoryResetForgetsTheSeed(t *testing.T) {
	file := func(esp string) string { return filepath.Join(esp, seed.FileName) }
	for _, test := range []struct {
		name string
		lay  func(esp string) error
	}{
		{"none", func(string) error { return nil }},
		{"no ESP", os.Remove},
		{"a seed", func(esp string) error { return os.WriteFile(file(esp), []byte(marker), 0o600) }},
		{"a folder of that name", func(esp string) error { return os.MkdirAll(filepath.Join(file(esp), "more"), 0o700) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &factoryResetCmd{ESP: t.TempDir(), Variables: t.TempDir()}
			if err := test.lay(c.ESP); err != nil {
				t.Fatal(err)
			}
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(file(c.ESP)); !os.IsNotExist(err) {
				t.Errorf("the seed is there: %v", err)
			}
			if asked, err := os.ReadDir(c.Variables); err != nil || len(asked) != 1 {
				t.Errorf("variables %v, %v; want the wish", asked, err)
			}
		})
	}
}

// TestAFactoryResetWipesTheSeed: zeros where it was, which an open file still shows.
func TestAFactoryResetWipesTheSeed(t *testing.T) {
	esp := t.TempDir()
	path := filepath.Join(esp, seed.FileName)
	if err := os.WriteFile(path, []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := forgetSeed(esp); err != nil {
		t.Fatal(err)
	}
	left := make([]byte, len(marker))
	if _, err := before.Read(left); err != nil || !bytes.Equal(left, make([]byte, len(marker))) {
		t.Errorf("left: %q, %v", left, err)
	}
}
