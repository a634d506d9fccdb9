package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// event is what go test -json writes (go doc test2json and go help buildjson).
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

// outcome is how a test ended. The worse is the greater, because a test that fails once has failed.
type outcome int

const (
	skip outcome = iota
	pass
	fail
)

type result struct {
	name    string
	part    bool // of another test, whose seconds include these
	outcome outcome
	seconds float64
	says    []string // why it failed, in its own words
}

// tally is the results by name.
type tally struct {
	mu      sync.Mutex
	results map[string]result
}

func newTally() *tally { return &tally{results: make(map[string]result)} }

// check counts something that passes or fails as a whole.
func (t *tally) check(name string, ok bool) {
	o := fail
	if ok {
		o = pass
	}
	t.add(result{name: name, outcome: o})
}

func (t *tally) add(r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.results[r.name]; ok {
		r.outcome = max(r.outcome, old.outcome)
		r.seconds += old.seconds
		r.says = append(old.says, r.says...)
	}
	t.results[r.name] = r
}

// read counts the events of a go test -json and returns how many tests it ran, and how many failed. What failed is written to
// out with all that it printed.
func (t *tally) read(in io.Reader, out io.Writer) (ran, failed int) {
	printed := make(map[string]*strings.Builder)
	broken := make(map[string]bool) // packages with a failed test
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintf(out, "%s\n", lines.Bytes()) // of the go command itself
			continue
		}
		name := strings.TrimSuffix(e.Package+"."+e.Test, ".")
		if printed[name] == nil {
			printed[name] = new(strings.Builder)
		}
		o, ended := map[string]outcome{"pass": pass, "fail": fail, "skip": skip}[e.Action]
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Action == "output":
			printed[name].WriteString(e.Output)
		case !ended:
		case e.Test == "" && (o != fail || broken[e.Package]):
			delete(printed, name) // a package is no test, unless nothing else tells that it failed
		default:
			if o == fail {
				failed++
				broken[e.Package] = true
				fmt.Fprintf(out, "%s\n", printed[name])
			}
			r := result{name: name, part: strings.Contains(e.Test, "/"), outcome: o, seconds: e.Elapsed}
			if o == fail {
				r.says = says(printed[name].String())
			}
			t.add(r)
			delete(printed, name)
			ran++
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(out, "read the events of go test: %v\n", err)
		t.check("events", false)
		failed++
	}
	return ran, failed
}

func (t *tally) count(o outcome) (n int) {
	for _, r := range t.results {
		if r.outcome == o {
			n++
		}
	}
	return n
}

func (t *tally) failed() int { return t.count(fail) }

// line is the closing line.
func (t *tally) line() string {
	text := fmt.Sprintf("%d passed, %d failed", t.count(pass), t.failed())
	if skipped := t.count(skip); skipped > 0 {
		text += fmt.Sprintf(", %d skipped", skipped)
	}
	return text
}

// says is what a test that failed gives as its reasons: the lines that testing puts its file before, and the first of a panic.
func says(printed string) (list []string) {
	for line := range strings.Lines(printed) {
		if line = strings.TrimSpace(line); reason.MatchString(line) {
			list = append(list, fmt.Sprintf("%.300s", line))
		}
	}
	return list[:min(len(list), 8)]
}

var reason = regexp.MustCompile(`^(\w+\.go:\d+: |panic: |fatal error: |WARNING: DATA RACE)`)

// reasons lists what failed and why, since the end of a long run is what is read first.
func (t *tally) reasons() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.results)) {
		if r := t.results[name]; r.outcome == fail {
			fmt.Fprintf(&b, "failed: %s\n", name)
			for _, line := range r.says {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
	}
	return b.String()
}

// slowest lists the n tests that took longest.
func (t *tally) slowest(n int) string {
	var list []result
	for _, r := range t.results {
		if r.seconds >= 1 && !r.part {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b result) int { return cmp.Compare(b.seconds, a.seconds) })
	var b strings.Builder
	for _, r := range list[:min(n, len(list))] {
		fmt.Fprintf(&b, "%7.1f s    %s\n", r.seconds, r.name)
	}
	return b.String()
}
