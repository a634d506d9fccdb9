package proxy

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlowRatesLetFlowsThrough: a rate of less than one flow a second for each worker is slow, not zero.
func TestSlowRatesLetFlowsThrough(t *testing.T) {
	var b bucket
	passed := 0
	for s := range 100 {
		if b.take(int64(s+1)*int64(time.Second), 1, 4) {
			passed++
		}
	}
	if passed < 24 || passed > 26 {
		t.Errorf("%d flows in 100 s at a quarter a second", passed)
	}
}

// TestFaultsOfTheBoxAreNotTheOrigins: a client who uses one source port towards two edge ports of a transparent service,
// or a box without source ports, says nothing about the origin.
func TestFaultsOfTheBoxAreNotTheOrigins(t *testing.T) {
	for _, test := range []struct {
		errno unix.Errno
		want  uint64
	}{
		{unix.EADDRNOTAVAIL, 0}, {unix.EADDRINUSE, 0}, {unix.EMFILE, 0}, {unix.ENOBUFS, 0}, {unix.EPERM, 0},
		{unix.ECONNREFUSED, 2}, {unix.EHOSTUNREACH, 2},
	} {
		t.Run(test.errno.Error(), func(t *testing.T) {
			b := open(t, serveTCP(t, echo), nil)
			defer b.close()
			dial(t, b.edge4)
			mustWrite(t, dialUDP(t, b.edge4), []byte("x"))
			s, f := b.takeIn(t)
			s.connectFailed(test.errno)
			b.workerOf(f).flowError(f, test.errno)
			for _, w := range b.workers {
				w.endAll()
			}
			if got := b.pools.Status()[0].Origins[0]; got.Failed != test.want || got.Sessions != 0 {
				t.Errorf("got %d failures and %d sessions, want %d and none", got.Failed, got.Sessions, test.want)
			}
		})
	}
}

// takeIn lets the workers of a box that does not run take one client of either protocol.
func (b *box) takeIn(t *testing.T) (s *session, f *flow) {
	t.Helper()
	return b.takeSession(t), b.takeFlow(t)
}

func (b *box) takeSession(t *testing.T) (s *session) {
	t.Helper()
	eventually(t, "a session begins", func() bool {
		for _, w := range b.workers {
			w.now = b.clock()
			if w.accept(&w.listeners[0]); len(w.sessions.blocks) > 0 {
				w.sessions.each(0, func(_ uint32, found *session) { s = found })
			}
		}
		return s != nil
	})
	return s
}

func (b *box) takeFlow(t *testing.T) (f *flow) {
	t.Helper()
	eventually(t, "a flow begins", func() bool {
		for _, w := range b.workers {
			w.now = b.clock()
			if w.receive(&w.listeners[1]); len(w.flows.blocks) > 0 {
				w.flows.each(0, func(_ uint32, found *flow) { f = found })
			}
		}
		return f != nil
	})
	return f
}

// workerOf is the one that has f.
func (b *box) workerOf(f *flow) *worker {
	for _, w := range b.workers {
		if w.flows.at(f.index, f.gen) == f {
			return w
		}
	}
	return nil
}
