package proxy

import (
	"sync/atomic"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// serviceStats counts one service. Each worker writes only its own shard, so that cores do not share cache lines;
// readers add the shards up.
type serviceStats struct {
	name   string
	shards []serviceShard
	// Of the kernel path: they count for limits, and its own status tells them.
	otherSessions, otherFlows atomic.Int64
	crowd                     crowd
}

type serviceShard struct {
	sessions, flows             atomic.Int64
	sessionsOpened, flowsOpened atomic.Uint64
	bytesToOrigin               atomic.Uint64
	bytesToClient               atomic.Uint64
	datagramsToOrigin           atomic.Uint64
	datagramsToClient           atomic.Uint64
	_                           [64]byte // keep neighbours' shards off this one's last cache line
}

func (s *serviceStats) sessions() (n int64) {
	for i := range s.shards {
		n += s.shards[i].sessions.Load()
	}
	return n
}

func (s *serviceStats) flows() (n int64) {
	for i := range s.shards {
		n += s.shards[i].flows.Load()
	}
	return n
}

func (s *serviceStats) status() status.Service {
	out := status.Service{Name: s.name, Sessions: s.sessions(), Flows: s.flows()}
	for i := range s.shards {
		shard := &s.shards[i]
		out.SessionsOpened += shard.sessionsOpened.Load()
		out.FlowsOpened += shard.flowsOpened.Load()
		out.BytesToOrigin += shard.bytesToOrigin.Load()
		out.BytesToClient += shard.bytesToClient.Load()
		out.DatagramsToOrig += shard.datagramsToOrigin.Load()
		out.DatagramsToCli += shard.datagramsToClient.Load()
	}
	return out
}

// reasonCounts counts closes and drops of one worker.
type reasonCounts struct {
	tcp, udp [status.ReasonCount]atomic.Uint64
}

func (c *reasonCounts) of(protocol plan.Protocol) *[status.ReasonCount]atomic.Uint64 {
	if protocol == plan.UDP {
		return &c.udp
	}
	return &c.tcp
}

// sumReasons adds the workers' counts up and leaves out what is zero.
func sumReasons(workers []*worker) []status.ReasonCounter {
	list := []status.ReasonCounter{}
	for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		for r := range status.ReasonCount {
			var n uint64
			for _, w := range workers {
				n += w.reasons.of(protocol)[r].Load()
			}
			if n > 0 {
				list = append(list, status.ReasonCounter{Reason: r, Code: r.Code(), Protocol: protocol, Count: n})
			}
		}
	}
	return list
}
