package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	const passed = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA/four","Elapsed":0.1}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":2}
{"Action":"pass","Package":"p","Elapsed":2.1}
`
	for _, tt := range []struct {
		name, events string
		want, prints string
		ran          int
	}{
		{"nothing", "", "0 passed, 0 failed", "", 0},
		{"a package without tests", `{"Action":"skip","Package":"p"}`, "0 passed, 0 failed", "", 0},
		{"passed", passed, "2 passed, 0 failed", "", 2},
		{"the same twice", passed + passed, "2 passed, 0 failed", "", 4},
		{"failed once of two", passed + `{"Action":"output","Package":"p","Test":"TestA","Output":"loud\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`, "1 passed, 1 failed", "loud", 3},
		{"skipped", `{"Action":"skip","Package":"p","Test":"TestA"}`, "0 passed, 0 failed, 1 skipped", "", 1},
		{"a package that does not build", `{"ImportPath":"p [p.test]","Action":"build-output","Output":"undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`, "0 passed, 1 failed", "undefined: x", 1},
		{"a package that dies", `{"Action":"output","Package":"p","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}`, "0 passed, 1 failed", "panic: no", 1},
		{"not an event", "go: no such module", "0 passed, 0 failed", "no such module", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tally := newTally()
			ran, _ := tally.read(strings.NewReader(tt.events), &out)
			if got := tally.line(); got != tt.want || ran != tt.ran {
				t.Errorf("got %q of %d tests, want %q of %d", got, ran, tt.want, tt.ran)
			}
			if !strings.Contains(out.String(), tt.prints) || (tt.prints == "" && out.Len() > 0) {
				t.Errorf("printed %q, want %q in it", out.String(), tt.prints)
			}
		})
	}
}

// TestReasons: the end of a run tells what failed and why, without what else the test printed.
func TestReasons(t *testing.T) {
	const events = `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: got 1, want 2\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"        time=now level=INFO msg=hello\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"q","Output":"panic: no\n"}
{"Action":"fail","Package":"q"}
{"Action":"pass","Package":"q","Test":"TestB"}`
	tally := newTally()
	tally.read(strings.NewReader(events), io.Discard)
	tally.check("lint", false)
	want := "failed: lint\nfailed: p.TestA\n    a_test.go:7: got 1, want 2\nfailed: q\n    panic: no\n"
	if got := tally.reasons(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGroups(t *testing.T) {
	all := []stage{{name: "a"}, {name: "b"}, {name: "c", beside: true}, {name: "d"}}
	for _, tt := range []struct {
		chosen []string
		want   string
	}{{nil, "a b+c d"}, {[]string{"c", "d"}, "c d"}, {[]string{"a", "c"}, "a c"}, {[]string{"b", "c"}, "b+c"}, {[]string{"e"}, ""}} {
		var got []string
		for _, group := range groups(all, tt.chosen) {
			var names []string
			for _, s := range group {
				names = append(names, s.name)
			}
			got = append(got, strings.Join(names, "+"))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v: got %q, want %q", tt.chosen, got, tt.want)
		}
	}
}
