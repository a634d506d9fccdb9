// Package crash notices that a process ends again and again over the same work, and condemns that work: a plan for edge,
// a settings document for control. Starting again alone would go round for ever.
//
//	ledger := crash.Open(crash.Options{File: "/var/lib/breakwater/edge/crashes.json", Version: version})
//	if _, bad := ledger.Condemned(print); !bad {
//		ledger.Begin(crash.Work{Print: print, Revision: 7}) // before the work can do harm
//	}
//	…
//	ledger.End() // the process returns by itself; without this the next Open counts a crash
//
// What it goes by is a file that says what the process works with. An end counts when the next process finds the file
// like that, whatever it was: a fault, kill -9, the kernel short of memory, the watchdog. One that took the whole machine
// along does not, as power cuts say nothing about a plan; nor does a process that gives up with an error, such as a port
// that is taken, as it says what is wrong. A verdict is that of one version of the program: another one, newer or older,
// begins with a clean file.
package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/whole"
)

const (
	// Limit is how many crashes within Window condemn.
	Limit = 3
	// Window is also how long work must have gone on to have proved itself.
	Window = time.Minute

	// maxVerdicts bounds the file; the oldest are forgotten.
	maxVerdicts = 32
)

// Work is what a process works with.
type Work struct {
	Print    string `json:"print"`    // tells it from other work; empty: none
	Revision uint64 `json:"revision"` // for sentences
}

// Options are what a Ledger is made of.
type Options struct {
	File    string // its directory must be there
	Version string // of the program
	Log     *slog.Logger
	Now     func() Moment // nil: of the kernel
}

// Moment is a time that no clock change moves.
type Moment struct {
	Boot  string        // which start of the machine; empty: not known
	Since time.Duration // that start, with the time that the machine slept (CLOCK_BOOTTIME, clock_gettime(2))
}

// Ledger keeps the file. It is safe for concurrent use. A nil one condemns nothing and keeps nothing.
type Ledger struct {
	file string
	log  *slog.Logger
	now  func() Moment

	mu    sync.Mutex
	state state
	begun Moment // of the work in state
}

// state is the content of the file.
type state struct {
	Version   string    `json:"version"`
	Boot      string    `json:"boot"`
	Work      Work      `json:"work"`      // of the process that runs, or that crashed
	Proved    string    `json:"proved"`    // the print of the last work that went on for Window
	Crashes   []crash   `json:"crashes"`   // of this boot, within Window
	Condemned []Verdict `json:"condemned"` // the newest last
}

type crash struct {
	Print string        `json:"print"`
	At    time.Duration `json:"at"` // since the start of the machine
}

// Verdict is work that crashed Limit times within Window.
type Verdict struct {
	Work
	Time time.Time `json:"time"` // by the clock of the machine
}

// Sentence says what the work did to a process.
func (v Verdict) Sentence(process string) string {
	return fmt.Sprintf("revision %d crashed %s %d times within %.0f seconds", v.Revision, process, Limit, Window.Seconds())
}

// Open reads the file and counts the end of the process before, unless that returned by itself. A file that cannot
// be read counts as none: nobody is to be kept from starting by what is only about starting.
func Open(o Options) *Ledger {
	l := &Ledger{file: o.File, log: o.Log, now: o.Now}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = kernelTime
	}
	now := l.now()
	if err := l.read(); err != nil {
		l.log.Warn("read what crashed before", "err", err)
		l.state = state{}
	}
	if l.state.Version != o.Version {
		l.state = state{Version: o.Version}
	}
	if now.Boot == "" {
		l.log.Error("which start of the machine this is cannot be told, so crashes are not counted")
	}
	if l.state.Boot != now.Boot || now.Boot == "" { // an end of the power must not look like a crash
		l.state.Boot, l.state.Work, l.state.Crashes = now.Boot, Work{}, nil
	}
	if l.state.Work.Print != "" {
		l.count(now)
	}
	l.state.Work = Work{} // a start that fails before it works with anything is not this work's
	l.write()
	return l
}

// count adds a crash of the work that the file names, and condemns it with the third.
func (l *Ledger) count(now Moment) {
	work := l.state.Work
	l.state.Crashes = slices.DeleteFunc(l.state.Crashes, func(c crash) bool { return now.Since-c.At > Window })
	l.state.Crashes = append(l.state.Crashes, crash{work.Print, now.Since})
	times := 0
	for _, c := range l.state.Crashes {
		if c.Print == work.Print {
			times++
		}
	}
	l.log.Warn("the process before this one did not end as it should", "rev", work.Revision, "times", times)
	if times < Limit {
		return
	}
	l.log.Error("what it worked with is not tried again", "rev", work.Revision)
	l.state.Condemned = append(l.state.Condemned, Verdict{work, time.Now().UTC()})
	l.state.Condemned = l.state.Condemned[max(0, len(l.state.Condemned)-maxVerdicts):]
	l.state.Crashes = slices.DeleteFunc(l.state.Crashes, func(c crash) bool { return c.Print == work.Print })
}

// Begin says what the process works with from now on; the zero Work: with nothing. It must be called before the work can
// do harm, and returns when the disk has it.
func (l *Ledger) Begin(w Work) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w == l.state.Work {
		return
	}
	if w.Print != l.state.Work.Print {
		l.begun = l.now()
	}
	l.state.Work = w
	l.write()
}

// End says that the process returns by itself.
func (l *Ledger) End() { l.Begin(Work{}) }

// Work is what Begin was told last.
func (l *Ledger) Work() Work {
	if l == nil {
		return Work{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Work
}

// Condemned tells whether work with this print is not to be tried.
func (l *Ledger) Condemned(print string) (Verdict, bool) {
	if l == nil {
		return Verdict{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.state.Condemned, func(v Verdict) bool { return v.Print == print })
	if i < 0 {
		return Verdict{}, false
	}
	return l.state.Condemned[i], true
}

// Prove is to be called every few seconds: work that has gone on for Window has proved itself, until other work does. It
// stays proved over a crash, and over a start.
func (l *Ledger) Prove() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	print := l.state.Work.Print
	if print == "" || print == l.state.Proved || l.now().Since-l.begun.Since < Window {
		return
	}
	l.state.Proved = print
	l.write()
}

// Proved tells whether the work with this print was the last to prove itself.
func (l *Ledger) Proved(print string) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return print != "" && l.state.Proved == print
}

func (l *Ledger) read() error {
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &l.state)
}

// write keeps the file, whole or not at all. A disk that takes nothing costs the count, which is no reason to stop.
func (l *Ledger) write() {
	data, err := json.Marshal(l.state)
	if err == nil {
		err = whole.Write(l.file, data, 0o600)
	}
	if err != nil {
		l.log.Warn("write down what this process works with", "err", err)
	}
}

// kernelTime is random(4)'s boot_id and CLOCK_BOOTTIME. A sandbox can hide the first (ProcSubset= in systemd.exec(5)).
func kernelTime() Moment {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Moment{}
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return Moment{}
	}
	return Moment{strings.TrimSpace(string(id)), time.Duration(t.Nano())}
}
