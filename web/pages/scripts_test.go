package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// maxScripts bounds what a browser loads, gzipped, if it loads everything: 150 kB.
const maxScripts = 150_000

func TestScriptsAreSmall(t *testing.T) {
	a, err := readAssets(files, "static")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for name, file := range a.files {
		if strings.HasSuffix(name, ".js") {
			sum += len(file.packed)
		}
	}
	if sum == 0 || sum > maxScripts {
		t.Errorf("all scripts are %d bytes gzipped, want at most %d", sum, maxScripts)
	}
	t.Logf("all scripts are %d bytes gzipped", sum)
}

// TestUPlotIsUnmodified holds uPlot at 1.6.32, byte for byte as it was published.
func TestUPlotIsUnmodified(t *testing.T) {
	for name, want := range map[string]string{
		"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"LICENSE":           "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		data, err := files.ReadFile("static/uplot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what was published", name)
		}
	}
}

// TestScriptsPutNoDataIntoMarkup keeps to textContent: names of players and origins are not to be trusted.
func TestScriptsPutNoDataIntoMarkup(t *testing.T) {
	markup := regexp.MustCompile(`innerHTML|outerHTML\s*=[^=]|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://`)
	names, err := fs.Glob(files, "static/*.js")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d scripts, %v", len(names), err)
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := markup.FindString(string(data)); found != "" {
			t.Errorf("%s has %s", name, found)
		}
	}
}
