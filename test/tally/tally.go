package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
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
			t.add(result{name, strings.Contains(e.Test, "/"), o, e.Elapsed})
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
