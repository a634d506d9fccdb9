package proxy

import (
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// What the shield in front is told: which addresses clients have, so that these come first when too many are new, and which
// flows there are, whose datagrams it must not take for those of somebody new.

// good tells of the client of a session in which both have spoken. Behind a load balancer that is the address of the packets.
func (s *session) good() {
	if s.worker.engine.Good == nil || s.toOrigin == 0 || s.toClient == 0 {
		return
	}
	addr := s.client.Addr()
	if s.upstream != nil {
		addr = s.upstream.peer.Addr()
	}
	s.worker.engine.Good(addr, plan.TCP)
}

// goodAfter and goodDatagrams make a flow a good one, as in appliance/kernel/known.go.
const (
	goodAfter     = 10 * time.Second
	goodDatagrams = 16
)

// good tells of the client of a flow that looks like a player's.
func (w *worker) good(f *flow) {
	if w.engine.Good == nil || f.rounds < provenRounds || f.datagrams[0] < goodDatagrams || f.datagrams[1] < goodDatagrams ||
		w.now-f.started < int64(goodAfter) {
		return
	}
	w.engine.Good(f.client.Addr(), plan.UDP)
}

func (w *worker) shareFlow(f *flow, state status.FlowState) {
	if w.engine.ShareFlow != nil {
		w.engine.ShareFlow(f.client, f.edge, state)
	}
}
