package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSummarize(t *testing.T) {
	for _, tc := range []struct {
		name     string
		values   []float64
		want     summary
		resolved bool
	}{
		{"none", nil, summary{}, false},
		{"one", []float64{3}, summary{3, 3, 3, 1}, true},
		{"odd", []float64{9, 8, 7}, summary{8, 7, 9, 3}, true},
		{"even", []float64{4, 8}, summary{6, 4, 8, 2}, true},
		{"wide", []float64{1, 2, 9}, summary{2, 1, 9, 3}, false},
		{"both signs", []float64{-1, 20, 21}, summary{20, -1, 21, 3}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := summarize(tc.values)
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if got.resolved() != tc.resolved {
				t.Errorf("resolved: got %t", got.resolved())
			}
		})
	}
}

// fill puts costs of consecutive rounds into r; 0 is a failed cell.
func fill(r results, test, target string, costs ...float64) {
	for round, cost := range costs {
		s := sample{Round: round, Cost: cost, Units: 1000, Took: time.Second, P50: time.Microsecond, P99: 2 * time.Microsecond}
		if cost == 0 {
			s.Error = "1 errors, first: gone"
		}
		r.add(test, target, s)
	}
}

func TestRatiosPairRounds(t *testing.T) {
	r := results{}
	fill(r, testConnections, targetHaproxy, 100, 300, 900)
	fill(r, testConnections, targetUser, 50, 100, 0) // the machine grew slower; the failed round counts nowhere
	got := timesLess(r, testConnections, targetUser, targetHaproxy)
	if want := (summary{2.5, 2, 3, 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMemoryIsCountedFromNoProxy(t *testing.T) {
	r := results{}
	fill(r, testMemory, targetNone, 7.5, 7.6, 7.4)
	fill(r, testMemory, targetHaproxy, 18.5, 18.6, 18.4)
	fill(r, testMemory, targetUser, 13, 13.1, 12.9)
	fill(r, testMemory, "almost nothing", 7.5, 7.9, 7.3)
	for _, tc := range []struct {
		target string
		want   float64
	}{
		{targetUser, 2},
		{targetHaproxy, 1},
		{targetNone, 0},
		{"almost nothing", 0}, // inside the noise: no ratio
	} {
		got := timesLess(r, testMemory, tc.target, targetHaproxy).Median
		if got < tc.want-1e-9 || got > tc.want+1e-9 {
			t.Errorf("%s: got %f, want %f", tc.target, got, tc.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mine   []float64
		judged int
		met    bool
	}{
		{"met", []float64{95, 90, 99}, 1, true},
		{"missed", []float64{100, 99, 98}, 1, false},
		{"every cell failed", []float64{0, 0, 0}, 1, false},
		{"left out", nil, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := results{}
			fill(r, testConnections, targetHaproxy, 100, 100, 110)
			fill(r, testConnections, targetUser, tc.mine...)
			rep := &report{Bars: judge(r)}
			if len(rep.Bars) != tc.judged {
				t.Fatalf("bars: got %d, want %d", len(rep.Bars), tc.judged)
			}
			if got := rep.check() == nil; got != tc.met {
				t.Errorf("met: got %t, want %t: %v", got, tc.met, rep.Bars)
			}
		})
	}
}

func TestProxiesAtRestAreWatched(t *testing.T) {
	for _, tc := range []struct {
		name   string
		idle   int64
		failed int
	}{
		{"quiet", int64(9 * time.Millisecond), 0},
		{"busy", int64(11 * time.Millisecond), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := results{}
			r.add(testConnections, targetNone, sample{Units: 1, Took: time.Second, Idle: tc.idle})
			rep := newReport([]test{{name: testConnections}}, []target{{name: targetNone}}, r)
			if len(rep.Failed) != tc.failed {
				t.Errorf("got %v, want %d", rep.Failed, tc.failed)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	r := results{}
	list := []test{{name: testMessages1, about: "about", unit: "us/msg", scale: 1, rate: "msg/s"}, {name: testMemory, unit: "kB/session", scale: 1}}
	targets := []target{{name: targetNone}, {name: targetRouted}, {name: targetHaproxy}, {name: targetUser}}
	fill(r, testMessages1, targetNone, 20, 22, 21)
	fill(r, testMessages1, targetRouted, 19, 23, 22)
	fill(r, testMessages1, targetHaproxy, 80, 84, 82)
	fill(r, testMessages1, targetUser, 40, 42, 0)
	fill(r, testMemory, targetNone, 7, 7, 7)
	fill(r, testMemory, targetHaproxy, 19, 19, 19)
	fill(r, testMemory, targetUser, 15, 15, 15)
	rep := newReport(list, targets, r)
	rep.Machine = machine{CPU: "Example", Cores: 2, Virtual: true, Versions: map[string]string{"haproxy": "2.6", "nginx": ""}}
	var out bytes.Buffer
	rep.print(&out)
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"Example, 2 cores, virtual machine",
		"haproxy: 2.6",
		"no proxy 21.0 (20.0 .. 22.0)",
		"routed 22.0 (19.0 .. 23.0) 0.00 in the noise (-1.00 .. 1.00)",
		"breakwater user 41.0 (40.0 .. 42.0) 0.00 20.0 (20.0 .. 20.0) 2.00x (2.00 .. 2.00)",
		"FAILED CELL messages (1 session) over breakwater user, round 3: 1 errors, first: gone",
		"met messages (1 session): breakwater user takes 2.00x less than haproxy",
		"breakwater user 8.00 (8.00 .. 8.00)",
		"met idle sessions: breakwater user takes 1.50x less than haproxy",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestVerdict(t *testing.T) {
	good := tally{Units: 10, Connections: 5}
	for _, tc := range []struct {
		name          string
		header        Header
		prepared, ran tally
		after         originCounts
		want          string
	}{
		{"good", HeaderV2, good, good, originCounts{Headers: 10}, ""},
		{"without header", HeaderNone, good, good, originCounts{}, ""},
		{"a header missing", HeaderV2, good, good, originCounts{Headers: 9}, "10 connections, 9 PROXY headers"},
		{"the origin complains", HeaderV2, good, good, originCounts{Headers: 10, Errors: 2, First: "lie"}, "origin: 2 errors, first of the run: lie"},
		{"load complains", HeaderV2, good, tally{Units: 1, Errors: 1, First: "reset"}, originCounts{}, "1 errors, first: reset"},
		{"warm-up complains", HeaderV2, tally{Errors: 1, First: "refused"}, good, originCounts{}, "1 errors before the measured time, first: refused"},
		{"nothing moved", HeaderNone, good, tally{}, originCounts{}, "nothing happened"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := verdict(&target{header: tc.header}, tc.prepared, tc.ran, originCounts{}, tc.after); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	slabs := "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\nTCP 26 30 2368 13 8\nfilp 10 21 192 21 1\nkmalloc-512 9 9 512 16 2\n"
	if got, err := parseSlabs(slabs); err != nil || got != 26*2368+10*192 {
		t.Errorf("slabs: got %d, %v", got, err)
	}
	status := "Name:\tedge\nVmRSS:\t  900 kB\nRssAnon:\t     100 kB\nRssFile:\t     700 kB\nRssShmem:\t       1 kB\n"
	if got, err := parseResident(status); err != nil || got != 101<<10 {
		t.Errorf("resident: got %d, %v", got, err)
	}
}

func TestPercentile(t *testing.T) {
	values := make([]int64, 100)
	for i := range values {
		values[i] = int64(i + 1)
	}
	for _, tc := range []struct {
		name   string
		values []int64
		p      float64
		want   time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"median", values, 0.5, 51},
		{"99th", values, 0.99, 100},
		{"all", values, 1, 100},
		{"single", values[:1], 0.99, 1},
	} {
		if got := percentile(tc.values, tc.p); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		rounds int
		bad    bool
	}{
		{"defaults", nil, 7, false},
		{"quick", []string{"--quick"}, 3, false},
		{"quick with rounds", []string{"--quick", "--rounds", "2"}, 2, false},
		{"no rounds", []string{"--rounds", "0"}, 0, true},
		{"too many sessions", []string{"--sessions", "10000"}, 7, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := parseOptions(tc.args)
			if (err != nil) != tc.bad || o.rounds != tc.rounds {
				t.Errorf("got %d rounds, error %v", o.rounds, err)
			}
		})
	}
}
