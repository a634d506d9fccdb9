//go:build e2e

package kernel

import (
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
)

// TestLimits: how many sessions and flows there may be.
func TestLimits(t *testing.T) {
	r := newRig(t, vectorPlan())
	// fills opens as many as may be; the next is the user path's, until one ends.
	fills := func(t *testing.T, f family, protocol uint8, most int, change func(*plan.Plan)) {
		t.Helper()
		p := vectorPlan()
		change(p)
		r.apply(t, p)
		defer r.apply(t, vectorPlan())
		for i := range most {
			r.passes(t, f.opening(protocol, uint16(40000+i), portPlain).frame(), arrival{})
		}
		next := f.opening(protocol, 50000, portPlain).frame()
		r.leaves(t, next, arrival{}, leftLimit)
		slot, s := r.slot(t, protocol, netip.AddrPortFrom(f.client, 40000), netip.AddrPortFrom(f.edge, portPlain))
		if done, err := r.path.call(bpfEnding{Slot: slot, Generation: s.Generation}); err != nil || !done {
			t.Fatal(done, err)
		}
		r.passes(t, next, arrival{})
		r.leaves(t, f.opening(protocol, 50001, portPlain).frame(), arrival{}, leftLimit)
	}
	r.each(t, "of the box", func(t *testing.T, f family, protocol uint8) {
		fills(t, f, protocol, 3, func(p *plan.Plan) {
			if p.Limits.MaxSessions = 3; protocol == protocolUDP {
				p.Limits = plan.Limits{MaxFlows: 3}
			}
		})
	})
	r.each(t, "of the box, with what the user path has", func(t *testing.T, f family, protocol uint8) {
		r.path.Share(1, 1)
		defer r.path.Share(0, 0)
		fills(t, f, protocol, 2, func(p *plan.Plan) { p.Limits = plan.Limits{MaxSessions: 3, MaxFlows: 3} })
	})
	r.each(t, "of the service", func(t *testing.T, f family, protocol uint8) {
		fills(t, f, protocol, 2, func(p *plan.Plan) {
			for i := range p.Services {
				if p.Services[i].Limits.MaxSessions = 2; protocol == protocolUDP {
					p.Services[i].Limits = plan.ServiceLimits{MaxFlows: 2}
				}
			}
		})
	})
	for _, f := range families {
		t.Run("of sessions whose clients have proven nothing/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			r.set(t, func(c *bpfConfiguration) { c.HalfOpen = 2 })
			defer r.apply(t, vectorPlan())
			first, second := r.dial(t, f, portV2), r.dial(t, f, portPlain)
			first.syn(synOnly, synOnly)
			second.syn(synOnly, synOnly)
			next := f.opening(protocolTCP, 50000, portPlain).frame()
			r.leaves(t, next, arrival{}, leftHalfOpen)
			first.moves(fromClient, synOnly, synOnly)
			r.passes(t, f.opening(protocolUDP, 50000, portPlain).frame(), arrival{}) // a flow waits for nobody
			first.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(first.h())})
			r.leaves(t, next, arrival{}, leftHalfOpen) // anybody can bring that about, from any address
			first.moves(fromClient, ackAt(1, 1), first.headed(ackAt(1, 1)))
			r.passes(t, next, arrival{})
			r.leaves(t, f.opening(protocolTCP, 50001, portPlain).frame(), arrival{}, leftHalfOpen)
			second.moves(fromOrigin, resetAt(0, 1), resetAt(0, 1))
			r.passes(t, f.opening(protocolTCP, 50001, portPlain).frame(), arrival{})
		})
		t.Run("of flows of a source/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			fills(t, f, protocolUDP, 2, func(p *plan.Plan) { p.Limits.MaxFlowsPerSource = 2 })
		})
		t.Run("of flows of a source, its neighbours/"+f.name, func(t *testing.T) {
			defer r.wipe(t)
			p := vectorPlan()
			p.Limits.MaxFlowsPerSource = 1
			r.apply(t, p)
			defer r.apply(t, vectorPlan())
			bits := 24
			if f.client.Is6() {
				bits = 56
			}
			net, err := f.client.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			from := func(a netip.Addr) []byte {
				p := f.opening(protocolUDP, 40000, portPlain)
				p.from = netip.AddrPortFrom(a, 40000)
				return p.frame()
			}
			r.passes(t, from(f.client), arrival{})
			r.leaves(t, from(net.Addr()), arrival{}, leftLimit)
			r.leaves(t, from(prefixEnd(net)), arrival{}, leftLimit)
			r.passes(t, from(prefixEnd(net).Next()), arrival{})
			// Sessions are no flows.
			r.passes(t, f.opening(protocolTCP, 40000, portPlain).frame(), arrival{})
		})
		for name, change := range map[string]func(*plan.Plan){
			"of new flows of the box": func(p *plan.Plan) { p.Limits.NewFlowsPerSec = 3 },
			"of new flows of the service": func(p *plan.Plan) {
				for i := range p.Services {
					p.Services[i].Limits.NewFlowsPerSec = 3
				}
			},
		} {
			t.Run(name+"/"+f.name, func(t *testing.T) {
				defer r.wipe(t)
				p := vectorPlan()
				change(p)
				r.apply(t, p)
				defer r.apply(t, vectorPlan())
				roomInSecond()
				r.secondsAgo(t)
				for i := range 3 {
					r.passes(t, f.opening(protocolUDP, uint16(40000+i), portPlain).frame(), arrival{})
				}
				r.leaves(t, f.opening(protocolUDP, 50000, portPlain).frame(), arrival{}, leftLimit)
				r.passes(t, f.opening(protocolUDP, 40000, portPlain).frame(), arrival{}) // that flow goes on
				r.passes(t, f.opening(protocolTCP, 50000, portPlain).frame(), arrival{})
				r.secondsAgo(t)
				r.passes(t, f.opening(protocolUDP, 50000, portPlain).frame(), arrival{})
			})
		}
	}
	r.each(t, "of the origin", func(t *testing.T, f family, protocol uint8) {
		p := vectorPlan()
		for i := range p.Pools {
			for n := range p.Pools[i].Origins {
				p.Pools[i].Origins[n].MaxSessions = 2
			}
		}
		r.apply(t, p)
		defer r.apply(t, vectorPlan())
		seen := make(map[netip.Addr]int)
		for i := range 4 {
			seen[r.passes(t, f.opening(protocol, uint16(40000+i), portTwo).frame(), arrival{}).to.Addr()]++
		}
		if seen[f.origin] != 2 || seen[f.second] != 2 {
			t.Errorf("the origins have %v", seen)
		}
		r.leaves(t, f.opening(protocol, 50000, portTwo).frame(), arrival{}, leftOrigin)
	})
	r.each(t, "of the origin, with what the user path has", func(t *testing.T, f family, protocol uint8) {
		p := vectorPlan()
		for i := range p.Pools {
			for n := range p.Pools[i].Origins {
				p.Pools[i].Origins[n].MaxSessions = 2
			}
		}
		r.apply(t, p)
		defer r.apply(t, vectorPlan())
		target, reason := r.pools.Pool("same"+f.name).Pick(f.client, portPlain, portPlain)
		if target.Origin == nil {
			t.Fatal(reason)
		}
		defer target.Origin.Release()
		r.must(t, r.path.refresh)
		r.passes(t, f.opening(protocol, 40000, portPlain).frame(), arrival{})
		r.leaves(t, f.opening(protocol, 40001, portPlain).frame(), arrival{}, leftOrigin)
	})
}
