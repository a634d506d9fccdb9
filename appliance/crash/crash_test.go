package crash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine starts processes over one file, by a clock that the test moves.
type machine struct {
	t       *testing.T
	file    string
	version string
	now     Moment
}

func newMachine(t *testing.T) *machine {
	return &machine{t, filepath.Join(t.TempDir(), "crashes.json"), "1", Moment{"first", time.Hour}}
}

func (m *machine) start() *Ledger {
	return Open(Options{File: m.file, Version: m.version, Now: func() Moment { return m.now }})
}

// crash is a process that works with print for a while and is gone.
func (m *machine) crash(print string, after time.Duration) {
	m.start().Begin(Work{print, 7})
	m.now.Since += after
}

func (m *machine) condemned(l *Ledger, print string, want bool) {
	m.t.Helper()
	v, got := l.Condemned(print)
	if got != want {
		m.t.Errorf("%s: condemned %v, want %v", print, got, want)
	}
	if text := v.Sentence("edge"); got && text != "revision 7 crashed edge 3 times within 60 seconds" {
		m.t.Errorf("verdict %+v: %s", v, text)
	}
}

func TestThreeCrashesWithinAMinuteCondemn(t *testing.T) {
	m := newMachine(t)
	for range 3 {
		m.condemned(m.start(), "a", false)
		m.crash("a", 20*time.Second)
	}
	l := m.start()
	m.condemned(l, "a", true)
	m.condemned(l, "b", false)
	m.now = Moment{"second", time.Second}
	m.condemned(m.start(), "a", true)
	m.version = "2"
	m.condemned(m.start(), "a", false)
	m.version = "1"
	m.condemned(m.start(), "a", false)
}

func TestWhatDoesNotCondemn(t *testing.T) {
	tests := []struct {
		name string
		do   func(m *machine)
	}{
		{"two", func(m *machine) { m.crash("a", 0); m.crash("a", 0) }},
		{"three in more than a minute", func(m *machine) {
			for range 3 {
				m.crash("a", 31*time.Second)
			}
		}},
		{"ends that were asked for", func(m *machine) {
			for range 4 {
				l := m.start()
				l.Begin(Work{"a", 7})
				l.End()
			}
		}},
		{"other work", func(m *machine) { m.crash("a", 0); m.crash("b", 0); m.crash("a", 0); m.crash("b", 0) }},
		{"power cuts", func(m *machine) {
			for _, boot := range []string{"second", "third", "fourth", "fifth"} {
				m.crash("a", 0)
				m.now.Boot = boot
			}
		}},
		{"power cuts where starts cannot be told apart", func(m *machine) {
			m.now.Boot = ""
			for range 4 {
				m.crash("a", 0)
			}
		}},
		{"a process that works with nothing", func(m *machine) {
			m.crash("a", 0)
			m.crash("a", 0)
			for range 3 {
				m.start()
			}
		}},
		{"work that was given up for other work", func(m *machine) {
			for range 3 {
				l := m.start()
				l.Begin(Work{"a", 7})
				l.Begin(Work{"b", 8})
				l.Begin(Work{})
			}
		}},
		{"another version each time", func(m *machine) {
			for _, version := range []string{"2", "3", "4", "5"} {
				m.crash("a", 0)
				m.version = version
			}
		}},
		{"a file that is none", func(m *machine) {
			m.crash("a", 0)
			m.crash("a", 0)
			if err := os.WriteFile(m.file, []byte("{"), 0o600); err != nil {
				m.t.Fatal(err)
			}
			m.crash("a", 0)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t)
			test.do(m)
			m.condemned(m.start(), "a", false)
		})
	}
}

// TestCrashesOfTurns: edge applies b, crashes, is on a again and gets b once more.
func TestCrashesOfTurns(t *testing.T) {
	m := newMachine(t)
	for range 3 {
		l := m.start()
		l.Begin(Work{"a", 6})
		l.Begin(Work{"b", 7})
		m.now.Since += 10 * time.Second
	}
	l := m.start()
	m.condemned(l, "a", false)
	m.condemned(l, "b", true)
}

func TestProved(t *testing.T) {
	m := newMachine(t)
	l := m.start()
	proved := func(print string, want bool) {
		t.Helper()
		l.Prove()
		if got := l.Proved(print); got != want {
			t.Errorf("%s: proved %v, want %v", print, got, want)
		}
	}
	l.Prove() // with nothing
	proved("", false)
	l.Begin(Work{"a", 6})
	m.now.Since += 59 * time.Second
	proved("a", false)
	l.Begin(Work{"a", 7}) // another revision of the same
	m.now.Since += time.Second
	proved("a", true)
	l.Begin(Work{"b", 8})
	m.now.Since += 59 * time.Second
	proved("b", false)
	proved("a", true)
	l = m.start()
	proved("a", true)
	l.Begin(Work{"b", 8})
	m.now.Since += 59 * time.Second
	proved("b", false)
	m.now.Since += time.Second
	proved("b", true)
	proved("a", false)
}

// TestNoLedger: where nothing is kept, nothing is condemned.
func TestNoLedger(t *testing.T) {
	var l *Ledger
	l.Begin(Work{"a", 1})
	l.Prove()
	l.End()
	if _, bad := l.Condemned("a"); bad || l.Proved("a") {
		t.Error("nothing condemned or proved something")
	}
}

// TestFullDisk: a directory that is gone takes nothing, and the process goes on.
func TestFullDisk(t *testing.T) {
	m := newMachine(t)
	m.file = filepath.Join(m.file, "nowhere", "crashes.json")
	l := m.start()
	l.Begin(Work{"a", 7})
	l.End()
	m.condemned(m.start(), "a", false)
}

func TestKernelTime(t *testing.T) {
	first := kernelTime()
	second := kernelTime()
	if len(first.Boot) != 36 || first.Boot != second.Boot || first.Since <= 0 || second.Since < first.Since {
		t.Errorf("got %+v, then %+v", first, second)
	}
}

// TestManyVerdictsAreBounded: the file does not grow with what an operator tries.
func TestManyVerdictsAreBounded(t *testing.T) {
	m := newMachine(t)
	for n := range maxVerdicts + 2 {
		for range 3 {
			m.crash(strings.Repeat("x", n+1), 0)
		}
	}
	l := m.start()
	if got := len(l.state.Condemned); got != maxVerdicts {
		t.Errorf("%d verdicts, want %d", got, maxVerdicts)
	}
	m.condemned(l, "x", false)
	m.condemned(l, strings.Repeat("x", maxVerdicts+2), true)
}
