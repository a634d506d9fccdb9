package proxy

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOneOriginDoesNotKeepTheWorker: a flow whose origin sends without end has turns like everybody else, and what is
// left over comes with the next one.
func TestOneOriginDoesNotKeepTheWorker(t *testing.T) {
	const inTurn, answers = flowTurns * originBatch, (flowTurns + 1) * originBatch
	o, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	b := open(t, uint16(o.LocalAddr().(*net.UDPAddr).Port), nil)
	defer b.close()
	mustWrite(t, dialUDP(t, b.edge4), []byte("x"))
	f := b.takeFlow(t)
	w := b.workerOf(f)
	_, from, err := o.ReadFromUDPAddrPort(make([]byte, 1))
	for range answers {
		if err == nil {
			_, err = o.WriteToUDPAddrPort([]byte("y"), from)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.flowEvent(f, token{kindFlow, f.index, f.gen})
	if got := f.toClient; got != inTurn {
		t.Errorf("%d answers in one turn, want %d", got, inTurn)
	}
	w.resume()
	w.resume() // nothing is left over
	if got := f.toClient; got != answers || len(w.ready) > 0 {
		t.Errorf("%d answers, and %d turns left; want %d and none", got, len(w.ready), answers)
	}
	w.endAll()
}

// TestOneTurnForEachSide: an event for a side that waits for its turn must not give it a second place in the list, and
// with each further event another one.
func TestOneTurnForEachSide(t *testing.T) {
	b := open(t, serveTCP(t, echo), nil)
	defer b.close()
	dial(t, b.edge4)
	s := b.takeSession(t)
	w := s.worker
	w.sessionEvent(s, s.token(kindOrigin), unix.EPOLLOUT)
	for range 5 {
		s.again(&s.clientSide)
		w.sessionEvent(s, s.token(kindClient), unix.EPOLLIN)
	}
	if got := len(w.ready); got != 1 {
		t.Errorf("%d places in the list, want 1", got)
	}
	w.resume()
	if s.again(&s.clientSide); len(w.ready) != 1 {
		t.Error("after its turn it can have another")
	}
	w.endAll()
}
