package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wordCalls finds the texts that templates name: {{t "key"}}, {{n "key" …}}, field and choice, and keys in Go.
var (
	wordCalls  = regexp.MustCompile(`\b(t|n) "([\w.-]+)"`)
	fieldCalls = regexp.MustCompile(`\b(?:field|choice|boxes|area) \S+ "[\w.-]*"(?: "[\w-]+")? "([\w-]+\.[\w.-]+)"`)
	goCalls    = regexp.MustCompile(`\bp?\.?text\.(say|count)\("([\w.-]+)"[,)]`)
)

// TestEveryWordIsThere finds keys that have no text. A page shows such a key instead of words.
func TestEveryWordIsThere(t *testing.T) {
	words, err := readCatalogue(files, "text/en")
	if err != nil {
		t.Fatal(err)
	}
	check := func(file, kind, key string) {
		if kind == "n" || kind == "count" {
			if !words.has(key+".one") || !words.has(key+".other") {
				t.Errorf("%s: %s has no text for one or for many", file, key)
			}
			return
		}
		if !words.has(key) {
			t.Errorf("%s: %s has no text", file, key)
		}
	}
	found := 0
	eachFile(t, "templates", func(name, text string) {
		for _, m := range wordCalls.FindAllStringSubmatch(text, -1) {
			check(name, m[1], m[2])
			found++
		}
		for _, m := range fieldCalls.FindAllStringSubmatch(text, -1) {
			check(name, "t", m[1])
			found++
		}
		page := strings.TrimSuffix(strings.TrimPrefix(name, "templates/"), ".html")
		if !strings.HasPrefix(page, "_") && page != "layout" {
			check(name, "t", page+".title")
		}
	})
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range goCalls.FindAllStringSubmatch(string(text), -1) {
			check(name, m[1], m[2])
		}
	}
	if found == 0 {
		t.Error("no template names a text, which cannot be")
	}
}

// TestWordsAreInTheCatalogue finds English in templates: every visible word belongs into text/, to be translated.
func TestWordsAreInTheCatalogue(t *testing.T) {
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	tag := regexp.MustCompile(`(?s)<[^>]*>`)
	spoken := regexp.MustCompile(`\b(?:title|aria-label|placeholder|alt)="([^"]*)"`)
	word := regexp.MustCompile(`[A-Za-z]{3,}`)
	allowed := map[string]bool{"Breakwater": true, "UTC": true, "html": true, "PROXY": true}
	eachFile(t, "templates", func(name, text string) {
		text = action.ReplaceAllString(text, "")
		var visible []string
		for _, m := range spoken.FindAllStringSubmatch(text, -1) {
			visible = append(visible, m[1])
		}
		visible = append(visible, tag.ReplaceAllString(text, " "))
		for _, w := range word.FindAllString(strings.Join(visible, " "), -1) {
			if !allowed[w] {
				t.Errorf("%s: the word %q is not in the catalogue", name, w)
			}
		}
	})
}

// TestNoInlineScriptOrStyle: the content security policy refuses both, and the page would be broken without a word.
func TestNoInlineScriptOrStyle(t *testing.T) {
	inline := regexp.MustCompile(`(?i)\s(?:style|on\w+)=|<style|<script(?:>|[^>]*[^>]>[^<\s])|javascript:`)
	eachFile(t, "templates", func(name, text string) {
		if m := inline.FindString(text); m != "" {
			t.Errorf("%s has %q", name, m)
		}
	})
}

func eachFile(t *testing.T, folder string, look func(name, text string)) {
	t.Helper()
	err := fs.WalkDir(files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err == nil {
			look(name, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
