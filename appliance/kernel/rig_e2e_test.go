//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"breakwater/appliance/health"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// rig is a Path in a network namespace of its own, with an edge interface and one that leads to origins. Packets are given
// to its program one by one, by BPF_PROG_TEST_RUN: what the program decides and writes comes back, and goes nowhere.
type rig struct {
	path       *Path
	conditions *health.Set
	pools      *origin.Set
	plan       *plan.Plan
	edge       int         // index of the edge interface
	inner      int         // index of the interface that leads to origins
	calls      chan func() // for the thread that lives in the namespace
	sniff      int         // a packet socket at the inner interface
	output     []byte
	sources    []string     // what the user path was told of clients
	own        []netip.Addr // of the box, as origins are told
}

// What a program may answer.
const (
	verdictNext     = -1
	verdictDrop     = 2
	verdictRedirect = 7
)

const interfaceMTU = 1500

// newRig opens a Path with a plan.
func newRig(t testing.TB, p *plan.Plan) *rig {
	t.Helper()
	r := &rig{calls: make(chan func()), output: make([]byte, 8192)}
	go func() {
		runtime.LockOSThread() // it is never unlocked: the thread ends with its namespace
		for call := range r.calls {
			call()
		}
	}()
	t.Cleanup(func() { close(r.calls) })
	r.must(t, r.makeNamespace)

	log := slog.New(slog.DiscardHandler)
	r.conditions = &health.Set{}
	r.pools = origin.New(log, r.conditions)
	r.must(t, func() (err error) {
		r.path, err = Open(Options{
			Dir: pins(t), Pools: r.pools, Log: log, Route: r.route, Hops: r.hops, Conditions: r.conditions,
			Wanted:  func() bool { return false },
			Publish: func(status.EventType, status.Session, status.Reason) {},
			Count:   func(string, plan.Protocol, int64) {},
			Sample:  func(status.Sample) {},
			CountSource: func(service string, client netip.Addr, n int) {
				r.sources = append(r.sources, fmt.Sprint(service, " ", client, " ", n))
			},
		})
		return err
	})
	t.Cleanup(func() { r.must(t, r.path.close) })
	r.apply(t, p)
	return r
}

// must runs call in the namespace.
func (r *rig) must(t testing.TB, call func() error) {
	t.Helper()
	done := make(chan error)
	r.calls <- func() { done <- call() }
	if err := <-done; err != nil {
		t.Fatalf("%+v", err)
	}
}

var (
	gateway4 = netip.MustParseAddr("192.0.2.254") // to clients
	gateway6 = netip.MustParseAddr("2001:db8:1::fe")
	source4  = netip.MustParseAddr("10.1.0.254")
	source6  = netip.MustParseAddr("2001:db8:2::fe")
)

func (r *rig) route(to netip.Addr) (Route, error) {
	if to.Is4() {
		return Route{r.inner, source4}, nil
	}
	return Route{r.inner, source6}, nil
}

// hops are those of the namespace: everybody but neighbours is behind the gateway.
func (r *rig) hops(index int, v4 bool) (Hops, bool, error) {
	h := Hops{OnLink: []netip.Prefix{netip.PrefixFrom(source6, 64).Masked()}}
	if v4 {
		h.OnLink[0] = netip.PrefixFrom(source4, 16).Masked()
	}
	if index == r.edge {
		h.OnLink[0], h.Gateway = netip.PrefixFrom(gateway6, 64).Masked(), gateway6
		if v4 {
			h.OnLink[0], h.Gateway = netip.PrefixFrom(gateway4, 24).Masked(), gateway4
		}
	}
	return h, true, nil
}

// apply puts a plan in force.
func (r *rig) apply(t testing.TB, p *plan.Plan) {
	t.Helper()
	r.plan = p
	if err := r.pools.Apply(p, r.own); err != nil {
		t.Fatal(err)
	}
	r.must(t, func() error { return r.path.Apply(p, func() error { return nil }) })
	r.trust(t)
}

// trust makes the filter of who may have a session or socket anew, with what began without the shield. Nothing is under way, so there
// is nothing to wait for.
func (r *rig) trust(t testing.TB) {
	t.Helper()
	b := &r.path.bloom
	r.must(t, r.path.distrustBloom)
	for b.state.Filling|b.state.Distrusted != 0 {
		if !b.began.IsZero() {
			b.began = time.Now().Add(-bloomSettles)
		}
		r.must(t, r.path.renewBloom)
	}
}

// run gives one frame to the program, as it comes in by an interface.
func (r *rig) run(t testing.TB, frame []byte, context skbContext) (verdict int, out []byte) {
	t.Helper()
	r.must(t, func() error {
		o := &ebpf.RunOptions{Data: frame, DataOut: r.output, Context: &context}
		result, err := r.path.objects.Path.Run(o)
		if err != nil {
			return fmt.Errorf("run the program with %d bytes: %w", len(frame), err)
		}
		verdict, out = int(int32(result)), o.DataOut
		return nil
	})
	return verdict, out
}

// skbContext is struct __sk_buff of linux/bpf.h in words, of which a test run may set a few.
type skbContext [48]uint32

const skbIfindex, skbGSOSegs, skbGSOSize = 10, 41, 44

// counts are all that the program counts, but for what sessions moved.
type counts struct {
	left  [leftCount]uint64
	drops [2 * dropCount]uint64
}

func (r *rig) counts(t testing.TB) (c counts) {
	t.Helper()
	read := func(m *ebpf.Map, into []uint64) {
		for i := range into {
			n, err := sum(m, uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			into[i] = n
		}
	}
	read(r.path.objects.Left, c.left[:])
	read(r.path.objects.Drops, c.drops[:])
	return c
}

// arrival is how a packet comes in. The zero value: by the edge interface.
type arrival struct {
	inner   bool
	ifindex int // another one
	gso     uint32
}

func (r *rig) context(a arrival) (c skbContext) {
	c[skbIfindex] = uint32(r.edge)
	if a.inner {
		c[skbIfindex] = uint32(r.inner)
	}
	if a.ifindex != 0 {
		c[skbIfindex] = uint32(a.ifindex)
	}
	if a.gso > 0 {
		c[skbGSOSegs], c[skbGSOSize] = a.gso, 1
	}
	return c
}

// check runs one frame and compares the verdict and every count.
func (r *rig) check(t testing.TB, frame []byte, a arrival, verdict int, move func(*counts)) []byte {
	t.Helper()
	want := r.counts(t)
	move(&want)
	got, out := r.run(t, frame, r.context(a))
	if got != verdict {
		t.Errorf("the verdict is %d, want %d", got, verdict)
	}
	if after := r.counts(t); after != want {
		t.Errorf("the counts are\n%v, want\n%v", after, want)
	}
	return out
}

// passes gives a packet that is carried, and returns what is sent.
func (r *rig) passes(t testing.TB, frame []byte, a arrival) packet {
	t.Helper()
	out := r.check(t, frame, a, verdictRedirect, func(*counts) {})
	p, err := readFrame(out)
	if err != nil {
		t.Fatalf("what is sent cannot be read: %v", err)
	}
	return p
}

// leaves gives a packet that is left to the stack, unchanged.
func (r *rig) leaves(t testing.TB, frame []byte, a arrival, why int) {
	t.Helper()
	out := r.check(t, frame, a, verdictNext, func(c *counts) { c.left[why]++ })
	if string(out) != string(frame) {
		t.Errorf("what is left to the stack was changed:\n%x, was\n%x", out, frame)
	}
}

// drops gives a packet that is dropped.
func (r *rig) drops(t testing.TB, frame []byte, a arrival, protocol uint8, why int) {
	t.Helper()
	if protocol == protocolUDP {
		why += dropCount
	}
	r.check(t, frame, a, verdictDrop, func(c *counts) { c.drops[why]++ })
}

// same compares what was sent with what should be.
func same(t testing.TB, got, want packet) {
	t.Helper()
	if got.String() != want.String() {
		t.Errorf("sent\n%s, want\n%s", got, want)
	}
}

// slot finds the session that packets of this direction belong to.
func (r *rig) slot(t testing.TB, protocol uint8, from, to netip.AddrPort) (slot uint32, s bpfSession) {
	t.Helper()
	tuple := bpfTuple{
		Src: from.Addr().As16(), Dst: to.Addr().As16(), Sport: htons(from.Port()), Dport: htons(to.Port()), Protocol: protocol,
	}
	var ref bpfRef
	if err := r.path.objects.Tuples.Lookup(&tuple, &ref); err != nil {
		t.Fatalf("find the session of %s to %s: %v", from, to, err)
	}
	if err := r.path.objects.Sessions.Lookup(ref.Slot, &s); err != nil {
		t.Fatal(err)
	}
	if s.Generation != ref.Generation {
		t.Fatalf("%s to %s leads to generation %d of slot %d, which has %d", from, to, ref.Generation, ref.Slot, s.Generation)
	}
	return ref.Slot, s
}

// put writes a session, to bring about what takes long otherwise.
func (r *rig) put(t testing.TB, slot uint32, s *bpfSession) {
	t.Helper()
	if err := r.path.objects.Sessions.Put(slot, s); err != nil {
		t.Fatal(err)
	}
}

// wipe ends all sessions and gives them back. Then nothing of them may be left anywhere.
func (r *rig) wipe(t testing.TB) {
	t.Helper()
	r.events(t)
	err := r.path.each(func(slot uint32, s *bpfSession) {
		e := bpfEnding{Slot: slot, Generation: s.Generation}
		_, errEnd := r.path.call(e)
		e.Forget = 1
		_, errForget := r.path.call(e)
		if err := errors.Join(errEnd, errForget); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var totals bpfTotal
	if err := r.path.objects.Totals.Lookup(uint32(0), &totals); err != nil {
		t.Fatal(err)
	}
	if totals.Sessions != 0 || totals.HalfOpen != 0 || totals.Flows != 0 || totals.Lost != 0 {
		t.Errorf("without sessions there are %+v", totals)
	}
	var tuple bpfTuple
	var ref bpfRef
	for all := r.path.objects.Tuples.Iterate(); all.Next(&tuple, &ref); {
		t.Errorf("without sessions there is a tuple %v of slot %d", tuple, ref.Slot)
	}
	var source uint64
	var flows uint32
	for all := r.path.objects.Sources.Iterate(); all.Next(&source, &flows); {
		if flows != 0 {
			t.Errorf("without flows there are %d of source %x", flows, source)
		}
	}
	for k := range kinds {
		for number := range r.path.names.next[k] {
			for _, m := range []*ebpf.Map{r.path.objects.ServiceCounts, r.path.objects.OriginCounts} {
				var c bpfCount
				if err := m.Lookup(number, &c); err != nil {
					t.Fatal(err)
				}
				if c.Sessions != 0 || c.Flows != 0 {
					t.Errorf("without sessions %s has %+v of number %d", m, c, number)
				}
			}
		}
	}
	r.events(t)
}

// events are the types of the events since the last look, and what sessions they were about.
func (r *rig) events(t testing.TB) (list []bpfEvent) {
	t.Helper()
	r.path.events.SetDeadline(time.Unix(1, 0))
	var record ringbuf.Record
	for r.path.events.ReadInto(&record) == nil {
		var e bpfEvent
		if len(record.RawSample) < int(sizeOf(e)) {
			t.Fatalf("an event of %d bytes", len(record.RawSample))
		}
		list = append(list, *(*bpfEvent)(unsafe.Pointer(&record.RawSample[0])))
	}
	return list
}

// sniffs is the next packet that really left by the inner interface between these two.
func (r *rig) sniffs(t testing.TB, protocol uint8, from, to netip.AddrPort) packet {
	t.Helper()
	end := time.Now().Add(5 * time.Second)
	buffer := make([]byte, 4096)
	for time.Now().Before(end) {
		poll := []unix.PollFd{{Fd: int32(r.sniff), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 100); err != nil || n == 0 {
			continue
		}
		n, _, err := unix.Recvfrom(r.sniff, buffer, unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		p, err := readFrame(buffer[:n])
		if err == nil && p.protocol == protocol && p.from == from && p.to == to {
			return p
		}
	}
	t.Fatalf("no packet from %s to %s left", from, to)
	return packet{}
}
