package proxy

import (
	"testing"

	"breakwater/appliance/plan"
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
