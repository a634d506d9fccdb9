package proxy

import (
	"context"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestClientsWhoComeAsListenersClose: the events of a batch that stand behind the end of the listeners still name them.
func TestClientsWhoComeAsListenersClose(t *testing.T) {
	b := open(t, serveTCP(t, echo), nil)
	for _, w := range b.workers {
		w.do(func() { w.stopListening(plan.TCP, plan.UDP) }) // the first event of the first batch
	}
	dial(t, b.edge4)
	mustWrite(t, dialUDP(t, b.edge4), []byte("x"))
	b.run(t)
	if n := len(b.all()); n != 0 {
		t.Errorf("%d sessions behind the end of the listeners", n)
	}
}

// TestFlowsGoOnWhileDraining: the sessions that a drain waits for include those of UDP players.
func TestFlowsGoOnWhileDraining(t *testing.T) {
	b := start(t, serveUDP(t, echoDatagram), nil)
	c := dialUDP(t, b.edge4)
	mustAnswer(t, c, []byte("before"), []byte("before"))
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	b.Drain(ctx)
	mustAnswer(t, c, []byte("while"), []byte("while"))
	mustWrite(t, dialUDP(t, b.edge4), []byte("new"))
	eventually(t, "a new flow is refused", func() bool { return b.count(plan.UDP, status.Shutdown) == 1 })
}
