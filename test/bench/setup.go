package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

const warmUp = 300 * time.Millisecond

// workDir holds the proxies' configuration and sockets. There is one bench at a time, so it has one name, which
// lets a run remove what a killed one left.
const workDir = "/run/breakwater-bench"

// compare sets everything up, measures and takes everything down again.
func compare(ctx context.Context, o options) (r *report, err error) {
	began := time.Now()
	if err := refuse(o); err != nil {
		return nil, err
	}
	held, err := lock(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	core, realtime, err := takeCores()
	if err != nil {
		return nil, err
	}
	if err := removeAll(ctx); err != nil { // a killed run may have left something
		return nil, err
	}
	defer func() { err = errors.Join(err, removeAll(context.WithoutCancel(ctx))) }()
	if err := os.Mkdir(workDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the working directory: %w", err)
	}
	if err := buildNetwork(ctx); err != nil {
		return nil, err
	}
	b := &bench{core: core, realtime: realtime}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx, selectTargets(o, core)); err != nil {
		return nil, err
	}
	list := selectTests(o)
	all, err := b.rounds(ctx, list, o.rounds, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return nil, err
	}
	r = newReport(list, b.targets, all)
	if err := r.flood(ctx, o, core); err != nil {
		return nil, err
	}
	r.Machine = lookAround(core, realtime, o.breakwater)
	r.Rounds, r.Window, r.Took = o.rounds, o.window, time.Since(began)
	return r, nil
}

// removeAll removes whatever a run makes, from any state.
func removeAll(ctx context.Context) error {
	return errors.Join(removeNetwork(ctx), os.RemoveAll(workDir))
}

// refuse says what is missing before anything is touched.
func refuse(o options) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run it as root")
	}
	for _, t := range selectTargets(o, 0) {
		program := map[string]string{targetHaproxy: "haproxy", targetSplice: "haproxy", targetNginx: "nginx", targetUser: o.breakwater}[t.name]
		if program == "" {
			continue
		}
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not there: install it, build it or leave it out with --targets: %w", program, err)
		}
	}
	return nil
}

// lock keeps a second bench away, which would use the same namespaces. An abstract socket leaves nothing behind.
func lock(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", "@breakwater-bench")
	if err != nil {
		return nil, fmt.Errorf("another bench is running: %w", err)
	}
	return l, nil
}

// takeCores moves this process to the first core it may use and gives the last one to what is measured.
func takeCores() (core int, realtime bool, err error) {
	cores, err := allowedCores()
	if err != nil {
		return 0, false, err
	}
	if len(cores) < 2 {
		return 0, false, errors.New("the bench needs two cores: one to measure on and one for itself")
	}
	if err := bind(os.Getpid(), cores[0], false); err != nil {
		return 0, false, err
	}
	// Whether SCHED_RR is allowed is tried on a thread that ends with the trial.
	tried := make(chan error)
	go func() { tried <- tryRoundRobin() }()
	return cores[len(cores)-1], <-tried == nil, nil
}

func selectTargets(o options, core int) []target {
	var list []target
	for _, t := range makers(core, o.breakwater) {
		if t.name == targetNone || chosen(o.targets, t.name) {
			list = append(list, t)
		}
	}
	return list
}

func selectTests(o options) []test {
	var list []test
	for _, c := range tests(warmUp, o.window, o.sessions) {
		if chosen(o.tests, c.name) {
			list = append(list, c)
		}
	}
	return list
}

// start brings up both ends and all proxies. stop ends what was started, also after an error.
func (b *bench) start(ctx context.Context, targets []target) (err error) {
	b.targets = targets
	if b.softirq, err = kernelThread(fmt.Sprintf("ksoftirqd/%d", b.core)); err != nil {
		return err
	}
	ports, err := json.Marshal(originPorts(targets))
	if err != nil {
		return fmt.Errorf("encode the origin's ports: %w", err)
	}
	if b.origin, err = startEnd(originNS, b.core, "origin", string(ports)); err != nil {
		return err
	}
	if b.load, err = startEnd(clientNS, b.core, "load"); err != nil {
		return err
	}
	context.AfterFunc(ctx, b.load.kill) // Ctrl-C does not wait for the cell
	for i := range b.targets {
		if err := b.refresh(&b.targets[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) stop() error {
	var errs []error
	for i := range b.targets {
		errs = append(errs, b.targets[i].stop())
	}
	for _, end := range []*process{b.load, b.origin} {
		if end != nil {
			errs = append(errs, end.stop())
		}
	}
	return errors.Join(errs...)
}
