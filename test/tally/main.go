// Command tally runs the stages of `make test`, or those it is given, says where the time goes, and closes with the line
//
//	N passed, N failed
//
//	go run ./test/tally              all of them
//	go run ./test/tally vet lint     these
//
// A stage is a check, which passes or fails as a whole, or a `go test -json`, whose tests are counted one by one,
// each name once, whatever the number of stages it ran in. A package that does not build or dies counts as a
// failed test, and so does a stage of tests that runs none. The exit status is 1 when anything failed.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// stage is one command of the run.
type stage struct {
	name   string
	tests  bool // the command is a go test -json
	args   []string
	beside bool // it runs beside the one before it, which mostly waits
}

// private are packages that need root and no lab: what they test has a network namespace of its own, or none. They measure nothing
// and mostly wait, so they run side by side.
var private = []string{"./appliance/access", "./appliance/control", "./appliance/incident/pcapng", "./appliance/steering", "./appliance/store", "./test/acme", "./test/steering"}

// stages are in the order in which they tell most for the least time. unit is every test that needs no root, with the
// race detector, and replays what fuzzing found. root and e2e are those that need it, which have the build tag e2e. Those of e2e run one
// package at a time, because there is one lab on a machine; services are on the kernel path where they can be. What depends on the
// engine runs on the user path once more. Those of the web page in a real browser are a stage of their own. Both of these mostly wait, so
// lint runs beside the one, and the image is built beside the other. The last one starts the image once; `make test-image` does more of
// that. The first stage vets the tests too, so that no other does.
func stages(privileged []string) []stage {
	tests := func(tags string, args ...string) []string {
		list := []string{"go", "test", "-json", "-vet=off", "-tags", tags, "-count=1"}
		if os.Geteuid() != 0 {
			list = append(list, "-exec", "sudo -E")
		}
		return append(list, args...)
	}
	inLab := func(args ...string) []string {
		return tests("e2e", append([]string{"-p=1", "-timeout=30m"}, args...)...)
	}
	const browser = "./test/browser"
	// What says nothing of engines, or tries both, and takes long.
	const skip = "OutliveEdge|Sources|RefusalIsSeen|BrokenReturnPath|UDPPortThat|BansThatHurt|Ladder|EveryTCPPort|KillOf|EdgeRestart|UDPFlood|Unconfirmed|Drift|Memory|LocalServices|BadInput|ClearLeaves|FewFiles|OriginDown|SilentOrigin|HealthChecks|Cookie|SYNFlood|OfOneAddress|SilentClient"
	onUserPath := append([]string{"env", "BREAKWATER_PATH=user"}, inLab("-skip", skip, "./test/e2e")...)
	headless := slices.DeleteFunc(privileged, func(dir string) bool { return dir == browser || slices.Contains(private, dir) })
	return []stage{
		{name: "vet", args: []string{"go", "vet", "-tags", "e2e vm", "./..."}},
		{name: "generated", args: []string{"sh", "-c", "make -s generate && git diff --exit-code --stat"}},
		{name: "unit", tests: true, args: []string{"go", "test", "-json", "-vet=off", "-race", "-shuffle=on", "./..."}},
		{name: "root", tests: true, args: tests("e2e", append([]string{"-p=4"}, private...)...)},
		{name: "e2e", tests: true, args: inLab(headless...)},
		{name: "user path", tests: true, args: onUserPath},
		{name: "lint", args: []string{"nice", "make", "-s", "lint"}, beside: true},
		{name: "browser", tests: true, args: inLab(browser)},
		{name: "image", args: []string{"sh", "-c", "make -s image && test/tools/units"}, beside: true},
		{name: "boot", tests: true, args: tests("vm", "-timeout=20m", "-run", "^TestNewBox$", "./test/vm")},
	}
}

func main() {
	privileged, err := packagesTagged("e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	t := newTally()
	var times strings.Builder
	for _, together := range groups(stages(privileged), os.Args[1:]) {
		for i, took := range t.runTogether(together) {
			fmt.Fprintf(&times, "%7.1f s  %s%s (%.0f s of processors)\n", took.all.Seconds(), together[i].name, map[bool]string{true: ", beside the one before"}[i > 0], took.working.Seconds())
		}
	}
	fmt.Printf("\nWhere the time went:\n%s%s\n", times.String(), t.slowest(12))
	fmt.Print(t.reasons())
	fmt.Println(t.line())
	if t.failed() > 0 || t.count(pass) == 0 {
		os.Exit(1)
	}
}

// groups are the stages that run at the same time, of those with a name that is chosen; of all where none is.
func groups(all []stage, chosen []string) (list [][]stage) {
	before := false // the stage before is among them
	for _, s := range all {
		switch last := len(list) - 1; {
		case len(chosen) > 0 && !slices.Contains(chosen, s.name):
			before = false
			continue
		case s.beside && before:
			list[last] = append(list[last], s)
		default:
			list = append(list, []stage{s})
		}
		before = true
	}
	return list
}

// cost is the time that a stage takes, and for how long it has processors meanwhile; the rest is waiting.
type cost struct{ all, working time.Duration }

// runTogether carries out stages at the same time, and returns what each took. What those beside the first say comes behind it.
func (t *tally) runTogether(list []stage) []cost {
	took := make([]cost, len(list))
	later := make([]bytes.Buffer, len(list))
	var running sync.WaitGroup
	for i, s := range list {
		var w io.Writer = &later[i]
		if i == 0 {
			w = os.Stdout
		}
		running.Go(func() {
			start := time.Now()
			if state := t.run(s, w); state != nil {
				took[i].working = state.UserTime() + state.SystemTime()
			}
			took[i].all = time.Since(start)
		})
	}
	running.Wait()
	for i := range later {
		fmt.Print(later[i].String())
	}
	return took
}

// run carries out one stage, and writes what it says when it fails. The state is that of a command that ended, which has the times of
// all that it has waited for.
func (t *tally) run(s stage, w io.Writer) *os.ProcessState {
	fmt.Fprintf(w, "%s: %s\n", s.name, strings.Join(s.args, " "))
	cmd := exec.Command(s.args[0], s.args[1:]...)
	if !s.tests {
		out, err := cmd.CombinedOutput()
		t.check(s.name, err == nil)
		if err != nil {
			fmt.Fprintf(w, "%s%s: %v\n", out, s.name, err)
		}
		return cmd.ProcessState
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.check(s.name, false)
		return nil
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(w, err)
		t.check(s.name, false)
		return nil
	}
	ran, failed := t.read(out, w)
	if err := cmd.Wait(); (err != nil && failed == 0) || ran == 0 {
		fmt.Fprintf(w, "%s%s: %d tests, %v\n", stderr.Bytes(), s.name, ran, err)
		t.check(s.name, false)
	}
	return cmd.ProcessState
}

// packagesTagged lists the folders with test files of a build tag.
func packagesTagged(tag string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "build" || path == "node_modules" || strings.HasPrefix(path, ".git")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir := "./" + filepath.Dir(path)
		if !slices.Contains(dirs, dir) && bytes.HasPrefix(text, []byte("//go:build "+tag+"\n")) {
			dirs = append(dirs, dir)
		}
		return nil
	})
	if err == nil && len(dirs) == 0 {
		err = fmt.Errorf("find no test with the build tag %s", tag)
	}
	return dirs, err
}
