package proxy

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestStopTheWorldWhileIdle: workers sleep in a raw system call and keep their processor slots; a collection must be
// able to stop them all the same, see epollWait.
func TestStopTheWorldWhileIdle(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("x"))
	mustRead(t, c, "x")
	done := make(chan struct{})
	go func() {
		for range 20 {
			runtime.GC()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a garbage collection waits for a sleeping worker")
	}
	mustWrite(t, c, []byte("y"))
	mustRead(t, c, "y")
}

// TestIdleWorkersAreAtRest: a worker that kept its processor slot would be interrupted by the run time a hundred times a
// second, each time with several switches of threads; see epollRest.
func TestIdleWorkersAreAtRest(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("x"))
	mustRead(t, c, "x")
	eventually(t, "nothing but the sweep wakes the process", func() bool {
		before := switches(t)
		time.Sleep(time.Second)
		n := switches(t) - before
		t.Logf("%d switches in a second", n)
		return n < 150
	})
}

// switches is how often threads of this process went to sleep so far.
func switches(t *testing.T) int64 {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Nvcsw
}
