package main

import (
	"context"
	"fmt"
	"time"
)

// sample is one cell of the bench: a test over a target in a round. CPU times are ns of the measured time.
type sample struct {
	Round   int           `json:"round"`
	Cost    float64       `json:"cost"` // in the unit of the test
	Units   int64         `json:"units"`
	Took    time.Duration `json:"tookNs"`
	Client  int64         `json:"clientNs"`
	Proxy   int64         `json:"proxyNs"`
	Origin  int64         `json:"originNs"`
	SoftIRQ int64         `json:"ksoftirqdNs"`
	Idle    int64         `json:"idleProxiesNs"` // of the proxies that are not measured
	Steal   float64       `json:"steal"`         // share of the core that the hypervisor took
	P50     time.Duration `json:"p50Ns,omitempty"`
	P99     time.Duration `json:"p99Ns,omitempty"`
	User    float64       `json:"userBytes,omitempty"`   // per idle session
	Kernel  float64       `json:"kernelBytes,omitempty"` // per idle session, both ends included
	Error   string        `json:"error,omitempty"`
}

// bench is the running system.
type bench struct {
	core     int
	realtime bool
	softirq  int // process id of the core's ksoftirqd
	load     *process
	origin   *process
	targets  []target
}

// times are the run times at one moment.
type times struct {
	client, proxy, origin, softirq, idle int64
	core                                 coreTimes
}

func (b *bench) times(t *target) (now times, err error) {
	for i := range b.targets {
		if p := b.targets[i].proxy; p != nil && p.hasEnded() {
			return now, fmt.Errorf("%s has ended by itself%s", b.targets[i].name, p.log.suffix())
		}
	}
	if now.client, err = taskRunTime(b.load.pid()); err != nil {
		return now, err
	}
	if now.origin, err = taskRunTime(b.origin.pid()); err != nil {
		return now, err
	}
	if now.softirq, err = taskRunTime(b.softirq); err != nil {
		return now, err
	}
	if now.proxy, err = runTime(t.pids()); err != nil {
		return now, err
	}
	for i := range b.targets {
		if other := &b.targets[i]; other.name != t.name {
			ns, err := runTime(other.pids())
			if err != nil {
				return now, err
			}
			now.idle += ns
		}
	}
	now.core, err = readCoreTimes(b.core)
	return now, err
}

// bindAll puts every task under test on the core; a process may have made threads since.
func (b *bench) bindAll() error {
	pids := []int{b.load.pid(), b.origin.pid()}
	for i := range b.targets {
		pids = append(pids, b.targets[i].pids()...)
	}
	for _, pid := range pids {
		if err := bind(pid, b.core, b.realtime); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) order(op string, j job) (tally, error) {
	var t tally
	err := b.load.ask(order{Op: op, Job: j}, &t, j.Warm+j.Time+3*patience)
	return t, err
}

// measure runs one cell. An error ends the bench; what is wrong with the cell alone is in sample.Error.
func (b *bench) measure(c test, t *target, round int) (sample, error) {
	s := sample{Round: round}
	if c.job.Kind == kindIdle {
		if err := b.refresh(t); err != nil {
			return s, err
		}
	}
	if err := b.bindAll(); err != nil {
		return s, err
	}
	before, err := b.originCounts()
	if err != nil {
		return s, err
	}
	j := c.job
	j.To = t.dial
	prepared, err := b.order("prepare", j)
	if err != nil {
		return s, err
	}
	ran, err := b.observe(&s, t, j)
	if err != nil {
		return s, err
	}
	if _, err := b.order("finish", j); err != nil {
		return s, err
	}
	after, err := b.originCounts()
	if err != nil {
		return s, err
	}
	s.Cost = c.scale * s.perUnit(c.job.Kind)
	s.Error = verdict(t, prepared, ran, before, after)
	return s, nil
}

// observe lets the load run and reads the clocks and memory around it.
func (b *bench) observe(s *sample, t *target, j job) (tally, error) {
	settle := 20 * time.Millisecond // replies to the last units
	if j.Kind == kindIdle {
		settle = 400 * time.Millisecond // deferred frees of the kernel
	}
	time.Sleep(settle)
	startMem, err := readMemory(t.pids())
	if err != nil {
		return tally{}, err
	}
	start, err := b.times(t)
	if err != nil {
		return tally{}, err
	}
	ran, err := b.order("run", j)
	if err != nil {
		return tally{}, err
	}
	time.Sleep(settle)
	end, err := b.times(t)
	if err != nil {
		return tally{}, err
	}
	endMem, err := readMemory(t.pids())
	if err != nil {
		return tally{}, err
	}
	s.fill(ran, start, end)
	if j.Kind == kindIdle && ran.Units > 0 {
		s.User = float64(endMem.user-startMem.user) / float64(ran.Units)
		s.Kernel = float64(endMem.kernel-startMem.kernel) / float64(ran.Units)
	}
	return ran, nil
}

func (s *sample) fill(ran tally, start, end times) {
	s.Units, s.Took, s.P50, s.P99 = ran.Units, ran.Took, ran.P50, ran.P99
	s.Client = end.client - start.client
	s.Proxy = end.proxy - start.proxy
	s.Origin = end.origin - start.origin
	s.SoftIRQ = end.softirq - start.softirq
	s.Idle = end.idle - start.idle
	if ticks := end.core.total - start.core.total; ticks > 0 {
		s.Steal = float64(end.core.steal-start.core.steal) / float64(ticks)
	}
}

// perUnit is ns of all tasks per unit of load, or bytes per idle session.
func (s *sample) perUnit(kind string) float64 {
	if kind == kindIdle {
		return s.User + s.Kernel
	}
	if s.Units == 0 {
		return 0
	}
	return float64(s.Client+s.Proxy+s.Origin+s.SoftIRQ) / float64(s.Units)
}

// verdict says what makes a cell worthless; empty: nothing.
func verdict(t *target, prepared, ran tally, before, after originCounts) string {
	opened := prepared.Connections + ran.Connections
	headers := after.Headers - before.Headers
	switch {
	case prepared.Errors > 0:
		return fmt.Sprintf("%d errors before the measured time, first: %s", prepared.Errors, prepared.First)
	case ran.Errors > 0:
		return fmt.Sprintf("%d errors, first: %s", ran.Errors, ran.First)
	case after.Errors > before.Errors:
		return fmt.Sprintf("origin: %d errors, first of the run: %s", after.Errors-before.Errors, after.First)
	case ran.Units == 0:
		return "nothing happened"
	case t.header != HeaderNone && headers != opened:
		return fmt.Sprintf("%d connections, %d PROXY headers", opened, headers)
	}
	return ""
}

func (b *bench) originCounts() (originCounts, error) {
	var c originCounts
	err := b.origin.ask("counts", &c, patience)
	return c, err
}

// refresh starts a target's proxy anew and waits until a connection through it works. Memory is measured on a
// fresh proxy: what an earlier cell made it allocate would hide what a session needs.
func (b *bench) refresh(t *target) error {
	if err := t.restart(); err != nil {
		return err
	}
	return b.probe(t)
}

func (b *bench) probe(t *target) error {
	j := job{Kind: kindConnections, To: t.dial, Sessions: 1, Warm: time.Millisecond}
	var last tally
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		if last, err = b.order("prepare", j); err != nil {
			return err
		}
		if _, err := b.order("finish", j); err != nil {
			return err
		}
		if last.Errors == 0 {
			return nil
		}
	}
	suffix := ""
	if t.proxy != nil {
		suffix = t.proxy.log.suffix()
	}
	return fmt.Errorf("connect through %s: %s%s", t.name, last.First, suffix)
}

// rounds measures everything, interleaved: in each round every test goes over every target in turn.
func (b *bench) rounds(ctx context.Context, list []test, n int, progress func(string)) (results, error) {
	all := results{}
	for round := range n {
		for _, c := range list {
			progress(fmt.Sprintf("round %d of %d: %s", round+1, n, c.name))
			for i := range b.targets {
				t := &b.targets[i]
				if !c.fits(t) {
					continue
				}
				s, err := b.measure(c, t, round)
				if ctx.Err() != nil {
					return nil, fmt.Errorf("stopped: %w", ctx.Err())
				}
				if err != nil {
					return nil, fmt.Errorf("%s over %s: %w", c.name, t.name, err)
				}
				all.add(c.name, t.name, s)
			}
		}
	}
	return all, nil
}

// fits says whether a test means something for a target.
func (c test) fits(t *target) bool {
	switch c.job.Kind {
	case kindDatagrams:
		return t.udp
	case kindIdle:
		return t.name != targetRouted // the same as no proxy
	}
	return true
}
