//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// opening is the first packet of a session or flow, from a port of the client.
func (f family) opening(protocol uint8, clientPort, edgePort uint16) packet {
	p := packet{
		from: netip.AddrPortFrom(f.client, clientPort), to: netip.AddrPortFrom(f.edge, edgePort), protocol: protocol, ttl: 64,
	}
	if protocol == protocolTCP {
		p.flags, p.seq, p.window = flagSYN, 1000, 60000
		return p
	}
	p.payload = []byte("hello")
	return p
}

// each runs a vector for TCP and UDP in IPv4 and IPv6.
func (r *rig) each(t *testing.T, name string, run func(*testing.T, family, uint8)) {
	for _, f := range families {
		for _, protocol := range []uint8{protocolTCP, protocolUDP} {
			t.Run(fmt.Sprintf("%s/%s/%d", name, f.name, protocol), func(t *testing.T) {
				defer r.wipe(t)
				run(t, f, protocol)
			})
		}
	}
}

// TestPorts: which service an edge port has, and which port of the origin it leads to.
func TestPorts(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, v := range []struct {
		name     string
		port, to uint16 // to 0: left to the user path
		why      int
	}{
		{"the port that the client dialled", portPlain, portPlain, 0},
		{"the first port of a range", portRange, 5000, 0},
		{"a port in the middle of a range", portRange + 777, 5777, 0},
		{"the last port of a range", portRange + 999, 5999, 0},
		{"a port before a range", portRange - 1, 0, leftService},
		{"a port behind a range", portShort + 100, 0, leftService},
		{"a port of a route in front of another", portNarrow, portNarrow, 0},
		{"the port before that", portNarrow - 1, 5499, 0},
		{"the port behind that", portNarrow + 1, 5501, 0},
		{"the only port of an origin, from the first", portOne, originOne, 0},
		{"the only port of an origin, from the last", portOne + 99, originOne, 0},
		{"the first of an origin with fewer ports", portShort, 7000, 0},
		{"the last that an origin has", portShort + 49, 7049, 0},
		{"a port that the origin does not have", portShort + 50, 0, leftOrigin},
		{"the last port that the origin does not have", portShort + 99, 0, leftOrigin},
		{"no service", portNothing, 0, leftService},
		{"the last port there is", 65535, 0, leftService},
		{"a service of the user path", portUser, 0, leftService},
		{"an origin of the other IP version", portFamily, 0, leftFamily},
	} {
		r.each(t, v.name, func(t *testing.T, f family, protocol uint8) {
			in := f.opening(protocol, 40000, v.port)
			if v.to == 0 {
				r.leaves(t, in.frame(), arrival{}, v.why)
				return
			}
			got := r.passes(t, in.frame(), arrival{})
			want := in
			want.from, want.to, want.ttl = netip.AddrPortFrom(f.source, got.from.Port()), netip.AddrPortFrom(f.origin, v.to), 63
			same(t, got, want)
			if port := got.from.Port(); port < 1024 || port >= 32768 {
				t.Errorf("the source port is %d", port)
			}
		})
	}
}

// TestLeft: what keeps a new session or flow from the kernel path, and that nothing is left behind then.
func TestLeft(t *testing.T) {
	r := newRig(t, vectorPlan())
	one := func(t *testing.T, f family, protocol uint8) []byte {
		return f.opening(protocol, 40000, portPlain).frame()
	}

	r.each(t, "an address without a service", func(t *testing.T, f family, protocol uint8) {
		p := f.opening(protocol, 40000, portPlain)
		p.to = netip.AddrPortFrom(f.edge.Next(), portPlain)
		r.leaves(t, p.frame(), arrival{}, leftService)
	})
	r.each(t, "an interface that leads to origins", func(t *testing.T, f family, protocol uint8) {
		r.leaves(t, one(t, f, protocol), arrival{inner: true}, leftOther)
	})
	r.each(t, "an interface that is not ours", func(t *testing.T, f family, protocol uint8) {
		r.leaves(t, one(t, f, protocol), arrival{ifindex: 1}, leftOther)
	})
	r.each(t, "a box that drains", func(t *testing.T, f family, protocol uint8) {
		r.must(t, r.path.Drain)
		r.leaves(t, one(t, f, protocol), arrival{}, leftOff)
		r.apply(t, vectorPlan())
		r.passes(t, one(t, f, protocol), arrival{})
	})
	r.each(t, "a client that is banned", func(t *testing.T, f family, protocol uint8) {
		bits := 24
		if f.client.Is6() {
			bits = 64
		}
		prefix, err := f.client.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		r.passes(t, f.opening(protocol, 39999, portPlain).frame(), arrival{})
		r.must(t, func() error { return r.path.SetBans([]plan.Ban{{Prefix: prefix}}) })
		r.leaves(t, one(t, f, protocol), arrival{}, leftBanned)
		outside := f.opening(protocol, 40000, portPlain)
		outside.from = netip.AddrPortFrom(prefixEnd(prefix).Next(), 40000)
		r.passes(t, outside.frame(), arrival{})
		if s := r.only(t, protocol, f, 39999); s.State != stateClosed || status.Reason(s.Reason) != status.Banned {
			t.Errorf("the session of the banned has state %d and reason %d", s.State, s.Reason)
		}
		r.must(t, func() error { return r.path.SetBans(nil) })
		r.passes(t, one(t, f, protocol), arrival{})
	})
	r.each(t, "no origin with a way to it", func(t *testing.T, f family, protocol uint8) {
		p := vectorPlan()
		r.publishMembers(t, func(m *bpfMember) { m.Ifindex = 0 })
		r.leaves(t, one(t, f, protocol), arrival{}, leftOrigin)
		r.apply(t, p)
	})
	r.each(t, "an origin to be tried", func(t *testing.T, f family, protocol uint8) {
		r.publishMembers(t, func(m *bpfMember) { m.State = memberTry })
		r.leaves(t, one(t, f, protocol), arrival{}, leftOrigin)
		r.apply(t, vectorPlan())
	})
	r.each(t, "no origin", func(t *testing.T, f family, protocol uint8) {
		r.publishMembers(t, func(m *bpfMember) { m.State = memberNo })
		r.leaves(t, one(t, f, protocol), arrival{}, leftOrigin)
		r.apply(t, vectorPlan())
	})
	r.each(t, "no source port", func(t *testing.T, f family, protocol uint8) {
		r.ports(t, 20000, 20000)
		defer r.apply(t, vectorPlan())
		if got := r.passes(t, one(t, f, protocol), arrival{}); got.from.Port() != 20000 {
			t.Errorf("the source port is %d, want 20000", got.from.Port())
		}
		r.leaves(t, f.opening(protocol, 40001, portPlain).frame(), arrival{}, leftPort)
		// Another port of the origin is another matter.
		r.passes(t, f.opening(protocol, 40001, portOne).frame(), arrival{})
		r.ports(t, 20001, 20000)
		r.leaves(t, f.opening(protocol, 40002, portPlain).frame(), arrival{}, leftPort)
	})
	r.each(t, "no slot", func(t *testing.T, f family, protocol uint8) {
		var totals bpfTotal
		if err := r.path.objects.Totals.Lookup(uint32(0), &totals); err != nil {
			t.Fatal(err)
		}
		var spare []uint32
		var slot uint32
		for r.path.objects.Spare.LookupAndDelete(nil, &slot) == nil {
			spare = append(spare, slot)
		}
		r.set(t, func(c *bpfConfiguration) { c.Slots = uint32(totals.Fresh) })
		r.leaves(t, one(t, f, protocol), arrival{}, leftFull)
		r.set(t, func(c *bpfConfiguration) { c.Slots = uint32(totals.Fresh) + 1 })
		r.passes(t, one(t, f, protocol), arrival{})
		r.leaves(t, f.opening(protocol, 40001, portPlain).frame(), arrival{}, leftFull)
		for _, slot := range spare {
			if err := r.path.objects.Spare.Put(nil, slot); err != nil {
				t.Fatal(err)
			}
		}
		r.passes(t, f.opening(protocol, 40001, portPlain).frame(), arrival{})
		r.set(t, func(*bpfConfiguration) {})
	})
}

func prefixEnd(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(b) // 4 or 16 bytes, as they were
	return end
}

// only is the session of a client's port with the plain service.
func (r *rig) only(t testing.TB, protocol uint8, f family, port uint16) bpfSession {
	t.Helper()
	_, s := r.slot(t, protocol, netip.AddrPortFrom(f.client, port), netip.AddrPortFrom(f.edge, portPlain))
	return s
}

// set changes the configuration, until the next apply.
func (r *rig) set(t testing.TB, change func(*bpfConfiguration)) {
	t.Helper()
	if err := r.path.configure(change); err != nil {
		t.Fatal(err)
	}
}

// ports sets the source ports that there are.
func (r *rig) ports(t testing.TB, first, last uint32) {
	t.Helper()
	r.set(t, func(c *bpfConfiguration) { c.FirstPort, c.LastPort = first, last })
}

// publishMembers changes all addresses of origins, until the next apply.
func (r *rig) publishMembers(t testing.TB, change func(*bpfMember)) {
	t.Helper()
	tables := r.path.tables
	tables.members = slices.Clone(tables.members)
	for i := range tables.members {
		change(&tables.members[i])
	}
	if err := r.path.publish(tables); err != nil {
		t.Fatal(err)
	}
}

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

// roomInSecond makes sure that this second of the program's clock lasts a while.
func roomInSecond() {
	const room = 600 * time.Millisecond
	if rest := time.Second - time.Duration(now())%time.Second; rest < room {
		time.Sleep(rest)
	}
}

// secondsAgo makes the new flows so far those of an earlier second.
func (r *rig) secondsAgo(t testing.TB) {
	t.Helper()
	var totals bpfTotal
	err := r.path.objects.Totals.Lookup(uint32(0), &totals)
	totals.Second--
	err = errors.Join(err, r.path.objects.Totals.Put(uint32(0), &totals))
	for number := range r.path.names.next[kindService] {
		var c bpfCount
		err = errors.Join(err, r.path.objects.ServiceCounts.Lookup(number, &c))
		c.Second--
		err = errors.Join(err, r.path.objects.ServiceCounts.Put(number, &c))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDown: an origin that is down gets nobody. When all are, the user path tries them.
func TestDown(t *testing.T) {
	r := newRig(t, vectorPlan())
	r.each(t, "down", func(t *testing.T, f family, protocol uint8) {
		r.must(t, r.path.refresh)
		first := r.passes(t, f.opening(protocol, 40000, portTwo).frame(), arrival{}).to.Addr()
		fail := func(a netip.Addr) {
			t.Helper()
			target, _ := r.pools.Pool("two"+f.name).Pick(f.client, portTwo, portTwo)
			if target.Addr.Addr() != a {
				t.Fatalf("the user path has %s, want %s", target.Addr, a)
			}
			target.Origin.Failed(status.ConnectTimeout)
			t.Cleanup(target.Origin.Answered)
			target.Origin.Release()
			r.must(t, r.path.refresh)
		}
		fail(first)
		second := r.passes(t, f.opening(protocol, 40001, portTwo).frame(), arrival{}).to.Addr()
		if second == first {
			t.Errorf("%s is down, and got a client", first)
		}
		fail(second)
		r.leaves(t, f.opening(protocol, 40002, portTwo).frame(), arrival{}, leftOrigin)
	})
}

// TestSlots: slots are used again, with another generation; who asks for one that is gone gets nothing.
func TestSlots(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			c := r.dial(t, f, portPlain)
			c.established()
			slot, s := c.session(fromClient)
			must := func(e bpfEnding, want bool) {
				t.Helper()
				if done, err := r.path.call(e); err != nil || done != want {
					t.Errorf("%+v did %t, want %t: %v", e, done, want, err)
				}
			}
			must(bpfEnding{Slot: slot, Generation: s.Generation + 1}, false)
			must(bpfEnding{Slot: slot, Generation: s.Generation - 1, Flags: sessionKilled}, false)
			must(bpfEnding{Slot: r.path.objects.slots, Generation: 0}, false)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, false) // it lives
			c.carries(fromClient, dataAt(1, 1, "on"))
			must(bpfEnding{Slot: slot, Generation: s.Generation, Reason: uint32(status.Idle)}, true)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, true)
			must(bpfEnding{Slot: slot, Generation: s.Generation, Forget: 1}, false) // it is gone
			must(bpfEnding{Slot: slot, Generation: s.Generation + 1, Forget: 1}, false)
			c.ignores(fromClient, ackAt(1, 1), leftOther)
			c.ignores(fromOrigin, ackAt(1, 1), leftOther)

			next := r.dial(t, f, portPlain)
			for tries := 0; ; tries++ { // until the queue of spare slots gives that one again
				next.client = netip.AddrPortFrom(f.client, uint16(41000+tries))
				next.syn(synOnly, synOnly)
				if again, _ := next.session(fromClient); again == slot {
					break
				}
				if tries == 1000 {
					t.Fatal("the slot was not used again")
				}
			}
			if _, again := next.session(fromClient); again.Generation == s.Generation || again.Side[client].Bytes != 0 {
				t.Errorf("the slot is used again with generation %d and %d bytes", again.Generation, again.Side[client].Bytes)
			}
			// A tuple that was left over leads to nothing.
			tuple := bpfTuple{
				Src: c.client.Addr().As16(), Dst: c.edge.Addr().As16(), Sport: htons(c.client.Port()), Dport: htons(c.edge.Port()), Protocol: protocolTCP,
			}
			if err := r.path.objects.Tuples.Put(&tuple, &bpfRef{Slot: slot, Generation: s.Generation}); err != nil {
				t.Fatal(err)
			}
			c.ignores(fromClient, ackAt(1, 1), leftOther)
			if err := r.path.objects.Tuples.Delete(&tuple); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestKill: a session is ended by its id, and both ends are told.
func TestKill(t *testing.T) {
	r := newRig(t, vectorPlan())
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			defer r.wipe(t)
			c := r.dial(t, f, portV2)
			c.established()
			c.carries(fromClient, dataAt(1, 1, "hello"))
			c.carries(fromOrigin, dataAt(1, 6, "welcome"))
			c.carries(fromClient, ackAt(6, 8))
			_, s := c.session(fromClient)
			r.must(t, func() error {
				done, err := r.path.Kill(status.ID(s.Id))
				if err == nil && !done {
					return errors.New("there was no such session")
				}
				return err
			})
			c.is(stateClosed, uint8(status.Killed))
			want := c.received(fromClient, resetAt(6+c.h(), 8))
			want.ttl = hopLimit
			same(t, r.sniffs(t, protocolTCP, c.source, c.origin), want)
		})
	}
}

// TestPortAgain: a port of a session that is over is taken over while the origin may remember it.
func TestPortAgain(t *testing.T) {
	r := newRig(t, vectorPlan())
	const port = 20000
	for _, f := range families {
		for _, v := range []struct {
			name        string
			service     uint16
			originFirst bool
		}{
			{"the origin closed first", portPlain, true},
			{"the origin closed first, with a header", portV2, true},
			{"the client closed first", portV2, false},
		} {
			t.Run(v.name+"/"+f.name, func(t *testing.T) {
				defer r.wipe(t)
				r.ports(t, port, port)
				defer r.apply(t, vectorPlan())
				old := r.dial(t, f, v.service)
				old.established()
				old.carries(fromClient, dataAt(1, 1, "some words"))
				next := r.dial(t, f, v.service)
				next.client = netip.AddrPortFrom(f.client, 50000)
				next.clientISN = 0x01020304
				next.ignores(fromClient, synOnly, leftPort)
				if v.originFirst {
					old.carries(fromOrigin, finAt(1, 11))
					old.carries(fromClient, finAt(11, 2))
					old.carries(fromOrigin, ackAt(2, 12))
				} else {
					old.closesAt(11, 1)
				}
				syn := segment{flags: flagSYN, window: 60000, options: options(optionMSS(1000), []byte{4, 2}, optionTimestamps(99, 0), optionScale(7))}
				want := syn
				if v.originFirst { // an origin in TIME-WAIT compares timestamps, of another client
					want.options = slices.Replace(slices.Clone(syn.options), 7, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
				}
				next.syn(syn, want)
				if next.source.Port() != port {
					t.Errorf("the source port is %d, want %d", next.source.Port(), port)
				}
				ahead := next.clientISN + next.shift - (old.clientISN + 12 + old.h())
				if v.originFirst && (ahead < 65536 || ahead > 65536+1<<20) || !v.originFirst && next.shift != 0 {
					t.Errorf("the numbers go on %d behind the old ones, moved by %d", ahead, next.shift)
				}
				old.ignores(fromClient, ackAt(12, 2), leftOther) // its tuples are gone
				next.moves(fromOrigin, segment{flags: flagSYN | flagACK, ack: 1, window: 60000}, segment{flags: flagSYN | flagACK, ack: 1, window: 60000 - uint16(next.h())})
				next.moves(fromClient, ackAt(1, 1), next.firstACK())
				next.carries(fromClient, dataAt(1, 1, "other words"))
				sack := ackAt(1, 1)
				base := next.clientISN + next.shift + next.h()
				sack.ack += next.h()
				sack.options = options(optionSACK(base+4, base+8))
				seen := ackAt(1, 1)
				seen.options = options(optionSACK(next.clientISN+4, next.clientISN+8))
				next.moves(fromOrigin, sack, seen)
				next.closesAt(12, 1)
			})
		}
	}
}
