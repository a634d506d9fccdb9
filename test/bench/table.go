package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.Machine)
	fmt.Fprintf(w, "%d rounds, %s a cell, in turn over all targets; all tasks on core %d, real time: %t.\n", r.Rounds, r.Window, r.Machine.Core, r.Machine.Realtime)
	fmt.Fprintln(w, "Figures are the median over the rounds (lowest .. highest). CPU is that of client + proxy + origin + ksoftirqd.")
	fmt.Fprintln(w, "Ratios compare totals within one round: 2.00x under haproxy means half of haproxy's cost. nginx sends PROXY v1, the others v2.")
	for _, t := range r.Tests {
		t.print(w)
	}
	fmt.Fprintln(w)
	for _, note := range r.Notes {
		fmt.Fprintln(w, note)
	}
	for _, failed := range r.Failed {
		fmt.Fprintln(w, "FAILED CELL", failed)
	}
	for _, b := range r.Bars {
		fmt.Fprintln(w, b)
	}
}

func (t testReport) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", t.Name, t.About)
	if t.Name == testMemory {
		t.printMemory(w)
		return
	}
	if t.isFlood() {
		t.printFlood(w)
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "target\tCPU %s\t(lowest .. highest)\tproxy itself\tover no proxy\t\thaproxy\t\tnginx\t\t%s\t", t.Unit, t.Rate)
	if t.hasLatency() {
		fmt.Fprint(tw, "p50\tp99\tp50 added\t")
	}
	fmt.Fprintln(tw)
	for _, row := range t.Targets {
		over, overSpread := row.Over.difference()
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t", row.Name, figure(row.Cost.Median, row.Cost.N), row.Cost.spread(),
			figure(row.Proxy.Median, row.Proxy.N), over, overSpread, row.Haproxy.ratio(), row.Haproxy.ratioSpread(),
			row.Nginx.ratio(), row.Nginx.ratioSpread(), rate(row.Rate.Median))
		if t.hasLatency() {
			fmt.Fprintf(tw, "%s\t%s\t%s\t", micros(row.P50), micros(row.P99), micros(row.P50-t.Targets[0].P50))
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush() // an unwritable terminal shows itself
}

func (t testReport) printMemory(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "target\t%s\t(lowest .. highest)\tproxy's own\tkernel, with both ends\thaproxy\t\tnginx\t\t\n", t.Unit)
	for _, row := range t.Targets {
		var user, kernel []float64
		for _, s := range row.Rounds {
			if s.Error == "" {
				user, kernel = append(user, s.User/1000), append(kernel, s.Kernel/1000)
			}
		}
		total, spread := figure(row.Cost.Median, row.Cost.N), row.Cost.spread()
		if row.Name == targetNone {
			total, spread = "", "" // the zero the others are counted from
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Name, total, spread,
			figure(summarize(user).Median, len(user)), figure(summarize(kernel).Median, len(kernel)),
			row.Haproxy.ratio(), row.Haproxy.ratioSpread(), row.Nginx.ratio(), row.Nginx.ratioSpread())
	}
	_ = tw.Flush() // an unwritable terminal shows itself
}

func (t testReport) isFlood() bool { return t.Name == testDrops || t.Name == testSYNs }

func (t testReport) printFlood(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "met by\tCPU %s\t(lowest .. highest)\t%s\t\n", t.Unit, t.Rate)
	for _, row := range t.Targets {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t\n", row.Name, figure(row.Cost.Median, row.Cost.N), row.Cost.spread(), rate(row.Rate.Median))
	}
	_ = tw.Flush() // an unwritable terminal shows itself
}

func (t testReport) hasLatency() bool { return len(t.Targets) > 0 && t.Targets[0].P50 > 0 }

// figure shows three digits; nothing when there is no value.
func figure(v float64, n int) string {
	if n == 0 {
		return ""
	}
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (s summary) spread() string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("(%s .. %s)", figure(s.Min, s.N), figure(s.Max, s.N))
}

// difference shows a difference of two figures, and says so when it is not told from noise.
func (s summary) difference() (value, spread string) {
	if s.N == 0 {
		return "", ""
	}
	if s.Min <= 0 {
		return "in the noise", s.spread()
	}
	return figure(s.Median, s.N), s.spread()
}

func (s summary) ratio() string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", s.Median)
}

func (s summary) ratioSpread() string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("(%.2f .. %.2f)", s.Min, s.Max)
}

// rate shows a throughput with a decimal prefix.
func rate(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f G", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.2f k", v/1e3)
	}
	return fmt.Sprintf("%.0f ", v)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f us", float64(d)/1e3) }
