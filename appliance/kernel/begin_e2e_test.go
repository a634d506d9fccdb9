//go:build e2e

package kernel

import (
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

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
