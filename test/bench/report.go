package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// results are the samples by test and target, in order of rounds.
type results map[string]map[string][]sample

func (r results) add(test, target string, s sample) {
	if r[test] == nil {
		r[test] = map[string][]sample{}
	}
	r[test][target] = append(r[test][target], s)
}

// costs are the figures by round. Those of idle sessions are without what the ends take, which is what the
// kernel's part is when there is no proxy.
func (r results) costs(test, target string) series {
	costs := series{}
	for _, s := range r[test][target] {
		if s.Error == "" {
			costs[s.Round] = s.Cost
		}
	}
	if test == testMemory && target != targetNone {
		return minus(costs, r.costs(test, targetNone))
	}
	return costs
}

// report is build/bench.json and what the table is made of.
type report struct {
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"tookNs"`
	Machine machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Window  time.Duration `json:"windowNs"`
	Tests   []testReport  `json:"tests"`
	Bars    []barReport   `json:"bars"`
	Notes   []string      `json:"notes"`
	Failed  []string      `json:"failed"`
}

type testReport struct {
	Name    string         `json:"name"`
	About   string         `json:"about"`
	Unit    string         `json:"unit"`
	Rate    string         `json:"rateUnit"`
	Targets []targetReport `json:"targets"`
}

type targetReport struct {
	Name string  `json:"name"`
	Cost summary `json:"cost"`
	Over summary `json:"overNoProxy"` // difference to no proxy, per round
	// Ratios of totals, per round: how many times less than the peer. Never of differences.
	Haproxy summary       `json:"lessThanHaproxy"`
	Nginx   summary       `json:"lessThanNginx"`
	Proxy   summary       `json:"proxyItself"` // the part of Cost that the proxy's own tasks ran
	Rate    summary       `json:"rate"`
	P50     time.Duration `json:"p50Ns,omitempty"` // medians over the rounds
	P99     time.Duration `json:"p99Ns,omitempty"`
	Rounds  []sample      `json:"rounds"`
}

func newReport(list []test, targets []target, all results) *report {
	r := &report{Date: time.Now().UTC()}
	for _, c := range list {
		tr := testReport{Name: c.name, About: c.about, Unit: c.unit, Rate: c.rate}
		for _, t := range targets {
			if samples := all[c.name][t.name]; len(samples) > 0 {
				tr.Targets = append(tr.Targets, newTargetReport(c, t.name, samples, all))
				r.Failed = append(r.Failed, failures(c.name, t.name, samples)...)
			}
		}
		r.Tests = append(r.Tests, tr)
	}
	r.disturbed(all)
	r.Bars = judge(all)
	return r
}

func newTargetReport(c test, name string, samples []sample, all results) targetReport {
	costs := all.costs(c.name, name)
	tr := targetReport{Name: name, Cost: summarize(costs.values()), Rounds: samples}
	if name != targetNone && c.name != testMemory {
		tr.Over = summarize(minus(costs, all.costs(c.name, targetNone)).values())
	}
	tr.Haproxy = timesLess(all, c.name, name, targetHaproxy)
	tr.Nginx = timesLess(all, c.name, name, targetNginx)
	var proxy, rate, p50, p99 []float64
	for _, s := range samples {
		if s.Error != "" || s.Took == 0 || s.Units == 0 {
			continue
		}
		proxy = append(proxy, c.scale*float64(s.Proxy)/float64(s.Units))
		rate = append(rate, float64(s.Units)/s.Took.Seconds())
		p50, p99 = append(p50, float64(s.P50)), append(p99, float64(s.P99))
	}
	tr.Rate = summarize(rate)
	tr.P50, tr.P99 = time.Duration(summarize(p50).Median), time.Duration(summarize(p99).Median)
	if c.name != testMemory {
		tr.Proxy = summarize(proxy)
	}
	return tr
}

// flood measures the tests of floods and adds them.
func (r *report) flood(ctx context.Context, o options, core int) error {
	list := selectFloods(o)
	if len(list) == 0 {
		return nil
	}
	b, err := besiege(ctx, core, o.breakwater)
	if err != nil {
		return fmt.Errorf("set up the boxes for floods: %w", err)
	}
	all, err := b.floods(ctx, list, o.rounds, o.window, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err := errors.Join(err, b.stop()); err != nil {
		return err
	}
	for _, f := range list {
		tr := testReport{Name: f.name, About: f.about, Unit: "ns/packet", Rate: "packet/s"}
		for _, s := range f.stoppers {
			samples := all[f.name][s.name]
			tr.Targets = append(tr.Targets, newTargetReport(test{name: f.name, scale: 1}, s.name, samples, all))
			r.Failed = append(r.Failed, failures(f.name, s.name, samples)...)
		}
		r.Tests = append(r.Tests, tr)
	}
	r.Bars = append(r.Bars, judge(all)...)
	return nil
}

// timesLess is how many times less than the peer a target takes, per round. Idle memory is a difference: it gets
// a ratio only when both stand out of their noise.
func timesLess(all results, test, name, peer string) summary {
	mine, theirs := all.costs(test, name), all.costs(test, peer)
	if test == testMemory {
		proxies := name != targetNone && name != targetRouted
		if !proxies || !summarize(mine.values()).resolved() || !summarize(theirs.values()).resolved() {
			return summary{}
		}
	}
	return summarize(over(theirs, mine).values())
}

func failures(test, target string, samples []sample) []string {
	var list []string
	for _, s := range samples {
		if s.Error != "" {
			list = append(list, fmt.Sprintf("%s over %s, round %d: %s", test, target, s.Round+1, s.Error))
		}
	}
	return list
}

// maxRest is the share of the core, over the whole run, that the proxies at rest may take. It is not part of any
// figure, but a proxy that polls would take caches and turns from the others.
const maxRest = 0.01

// disturbance is the time of proxies at rest, and by cell what the hypervisor took.
func disturbance(all results) (rest float64, steal []float64) {
	var idle, took float64
	for _, targets := range all {
		for _, samples := range targets {
			for _, s := range samples {
				steal = append(steal, 100*s.Steal)
				idle += float64(s.Idle)
				took += float64(s.Took)
			}
		}
	}
	if took == 0 {
		return 0, steal
	}
	return idle / took, steal
}

// disturbed notes what of the run a reader must know.
func (r *report) disturbed(all results) {
	rest, steal := disturbance(all)
	stolen := summarize(steal)
	r.Notes = []string{
		fmt.Sprintf("Proxies at rest took %.2f %% of the core.", 100*rest),
		fmt.Sprintf("The hypervisor took %.1f %% of the core in the median cell and %.1f %% at most.", stolen.Median, stolen.Max),
	}
	if rest > maxRest {
		r.Failed = append(r.Failed, fmt.Sprintf("all: proxies at rest may take %.0f %% of the core", 100*maxRest))
	}
}

func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the report's directory: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
