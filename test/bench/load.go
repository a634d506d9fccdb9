package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// The kinds of load.
const (
	kindConnections = "connections" // connect, one frame each way, close
	kindMessages    = "messages"    // ping-pong of frames
	kindDownload    = "download"
	kindUpload      = "upload"
	kindIdle        = "idle" // sessions that are opened and stay quiet
	kindDatagrams   = "datagrams"
)

// job is what the load process shall do.
type job struct {
	Kind     string         `json:"kind"`
	To       netip.AddrPort `json:"to"`
	Sessions int            `json:"sessions"` // sessions, flows, or connections under way at once
	Size     int            `json:"size"`     // of a datagram, bytes
	Warm     time.Duration  `json:"warm"`
	Time     time.Duration  `json:"time"`
}

// order is one line to the load process: op is prepare, run or finish, in that order.
type order struct {
	Op  string `json:"op"`
	Job job    `json:"job"` // of prepare
}

// tally is the answer to an order. Errors of any kind make the cell worthless.
type tally struct {
	Units       int64         `json:"units"` // connections, messages, bytes, sessions or datagrams
	Took        time.Duration `json:"took"`
	P50         time.Duration `json:"p50"` // round trip, with one session only
	P99         time.Duration `json:"p99"`
	Connections int64         `json:"connections"` // that reached the origin
	Errors      int64         `json:"errors"`
	First       string        `json:"first"` // the first error
}

func (t *tally) fail(format string, args ...any) {
	if t.Errors == 0 {
		t.First = fmt.Sprintf(format, args...)
	}
	t.Errors++
}

const (
	// patience is how long work that was begun may take to end after the measured time.
	patience = 10 * time.Second
	// maxErrors end a cell early.
	maxErrors = 50
	// warmSessions are opened before the idle sessions, so that what a proxy allocates once is not counted.
	warmSessions = 64
)

// generator is one kind of load. prepare opens and warms up, run is what is measured, finish closes.
type generator interface {
	prepare() tally
	run() tally
	finish()
}

// runLoad is the load process: orders on standard input, a tally on standard output after each.
func runLoad() error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	var g generator
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return fmt.Errorf("parse order %q: %w", in.Text(), err)
		}
		var t tally
		var err error
		switch o.Op {
		case "prepare":
			if g, err = newGenerator(o.Job); err != nil {
				return err
			}
			t = g.prepare()
		case "run":
			t = g.run()
		case "finish":
			g.finish()
			debug.FreeOSMemory()
		default:
			return fmt.Errorf("unknown order %q", o.Op)
		}
		if err := out.Encode(t); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return in.Err()
}

func newGenerator(j job) (generator, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	if j.Kind == kindDatagrams {
		return &datagrams{job: j, poll: poll}, nil
	}
	payload, err := payloadFile()
	if err != nil {
		return nil, err
	}
	return newStreams(j, poll, payload), nil
}

// percentile is the value that the share p (0 to 1) of the sorted values does not exceed; 0 without values.
func percentile(sorted []int64, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(float64(len(sorted))*p), len(sorted)-1)
	return time.Duration(sorted[i])
}

func (t *tally) setLatency(values []int64) {
	slices.Sort(values)
	t.P50, t.P99 = percentile(values, 0.50), percentile(values, 0.99)
}
