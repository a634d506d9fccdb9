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
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stage is one command of the run.
type stage struct {
	name  string
	tests bool // the command is a go test -json
	args  []string
}

// stages are in the order in which they tell most for the least time. unit is every test that needs no root, with the
// race detector, and replays what fuzzing found. e2e is those that need it, which have this build tag, one package at
// a time, because there is one lab on a machine; services are on the kernel path where they can be. What depends on the engine
// runs on the user path once more. Those of the web page in a real browser are a stage of their own. The last two build the image and start it once; `make test-image` does more of that.
func stages(privileged []string) []stage {
	asRoot := func(args ...string) []string {
		if os.Geteuid() != 0 {
			args = append(args, "-exec", "sudo -E")
		}
		return args
	}
	end := asRoot("go", "test", "-json", "-tags", "e2e", "-count=1", "-p=1", "-timeout=30m")
	const browser = "./test/browser"
	// What says nothing of engines, or tries both, and takes long.
	const skip = "Ladder|EveryTCPPort|KillOf|EdgeRestart|UDPFlood|Unconfirmed|Drift|Memory|LocalServices|BadInput|ClearLeaves|FewFiles|OriginDown|SilentOrigin|HealthChecks|Cookie|SYNFlood|OfOneAddress|SilentClient"
	onUserPath := slices.Concat([]string{"env", "BREAKWATER_PATH=user"}, end, []string{"-skip", skip, "./test/e2e"})
	headless := slices.DeleteFunc(privileged, func(dir string) bool { return dir == browser })
	return []stage{
		{"vet", false, []string{"go", "vet", "-tags", "e2e vm", "./..."}},
		{"lint", false, []string{"make", "-s", "lint"}},
		{"generated", false, []string{"sh", "-c", "make -s generate && git diff --exit-code --stat"}},
		{"unit", true, []string{"go", "test", "-json", "-race", "-shuffle=on", "./..."}},
		{"e2e", true, slices.Concat(end, headless)},
		{"user path", true, onUserPath},
		{"browser", true, slices.Concat(end, []string{browser})},
		{"image", false, []string{"sh", "-c", "make -s image && test/tools/units"}},
		{"boot", true, slices.Concat(asRoot("go", "test", "-json", "-tags", "vm", "-count=1", "-timeout=20m"), []string{"-run", "^TestNewBox$", "./test/vm"})},
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
	for _, s := range stages(privileged) {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], s.name) {
			continue
		}
		start := time.Now()
		t.run(s)
		fmt.Fprintf(&times, "%7.1f s  %s\n", time.Since(start).Seconds(), s.name)
	}
	fmt.Printf("\nWhere the time went:\n%s%s\n", times.String(), t.slowest(5))
	fmt.Println(t.line())
	if t.failed() > 0 || t.count(pass) == 0 {
		os.Exit(1)
	}
}

// run carries out one stage, and prints what it says when it fails.
func (t *tally) run(s stage) {
	fmt.Printf("%s: %s\n", s.name, strings.Join(s.args, " "))
	cmd := exec.Command(s.args[0], s.args[1:]...)
	if !s.tests {
		out, err := cmd.CombinedOutput()
		t.check(s.name, err == nil)
		if err != nil {
			fmt.Printf("%s%s: %v\n", out, s.name, err)
		}
		return
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.check(s.name, false)
		return
	}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		t.check(s.name, false)
		return
	}
	before := t.failed()
	ran := t.read(out, os.Stdout)
	if err := cmd.Wait(); (err != nil && t.failed() == before) || ran == 0 {
		fmt.Printf("%s%s: %d tests, %v\n", stderr.Bytes(), s.name, ran, err)
		t.check(s.name, false)
	}
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
