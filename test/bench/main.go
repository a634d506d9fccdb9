// Bench compares Breakwater with haproxy and nginx on one machine, in one run, in network namespaces of its own:
//
//	go run ./test/bench                            # a table, and build/bench.json; root
//	go run ./test/bench --quick --tests messages   # a look at one thing
//	go run ./test/bench --check                    # exit 1 when a bar is missed
//
// The figure is CPU time, not speed: client, proxy and origin share one core, and what all of them ran is divided by
// the connections, messages or bytes they moved. The way without a proxy is the zero, the way through a box that only
// routes is the floor. Targets take turns within a round, and ratios compare figures of the same round, because
// machines drift. The harness itself stays on another core. Load and origin are this program again, see load.go and
// origin.go; whatever they find wrong (a lost byte, a PROXY header that is missing or lies) makes the cell fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	rounds     int
	window     time.Duration
	sessions   int
	quick      bool
	check      bool
	breakwater string
	out        string
	tests      string
	targets    string
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 7, "how often every target has its turn")
	flags.DurationVar(&o.window, "window", 1500*time.Millisecond, "measured time of a cell")
	flags.IntVar(&o.sessions, "sessions", 8000, "idle sessions, at most 9000")
	flags.BoolVar(&o.quick, "quick", false, "3 rounds of short cells: shows that it works, not how well")
	flags.BoolVar(&o.check, "check", false, "exit 1 when a bar is missed")
	flags.StringVar(&o.breakwater, "breakwater", "build/breakwater", "the program to measure")
	flags.StringVar(&o.out, "out", "build/bench.json", "where all figures go")
	flags.StringVar(&o.tests, "tests", "", "only tests whose name contains one of these words, comma separated")
	flags.StringVar(&o.targets, "targets", "", "only these targets, comma separated; the no-proxy path is always measured")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		o.shorten(given)
	}
	if o.rounds < 1 || o.rounds > 1000 || o.window <= 0 || o.window > time.Minute || o.sessions < 1 || o.sessions > 9000 {
		return o, errors.New("rounds must be 1 to 1000, window at most 1m, sessions 1 to 9000")
	}
	return o, nil
}

// shorten makes a quick run of what was not given on the command line.
func (o *options) shorten(given map[string]bool) {
	if !given["rounds"] {
		o.rounds = 3
	}
	if !given["window"] {
		o.window = 400 * time.Millisecond
	}
	if !given["sessions"] {
		o.sessions = 4000
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "load" {
		return runLoad()
	}
	if len(args) > 0 && args[0] == "origin" {
		return runOrigin(args[1:])
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	r, err := compare(ctx, o)
	if err != nil {
		return err
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	r.print(out)
	if len(r.Failed) > 0 {
		return fmt.Errorf("%d cells failed", len(r.Failed))
	}
	if o.check {
		return r.check()
	}
	return nil
}

// chosen says whether one of the comma separated words is in name; an empty list chooses all.
func chosen(words, name string) bool {
	if words == "" {
		return true
	}
	for word := range strings.SplitSeq(words, ",") {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
