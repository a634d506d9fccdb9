//go:build e2e

package kernel

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// idleOf is an edge address that no service has.
func (f family) idle() netip.Addr {
	if f.edge.Is4() {
		return netip.MustParseAddr("192.0.2.99")
	}
	return netip.MustParseAddr("2001:db8:1::99")
}

// foreign is an address that is not the edge's.
func (f family) foreign() netip.Addr {
	if f.edge.Is4() {
		return netip.MustParseAddr("192.0.2.200")
	}
	return netip.MustParseAddr("2001:db8:1::200")
}

// shieldPlan is the plan of vectors with a shield that refuses reflectors, but for the services v1.
func shieldPlan() *plan.Plan {
	p := vectorPlan()
	for _, f := range families {
		p.Steering.Addresses = append(p.Steering.Addresses, netip.PrefixFrom(f.edge, f.edge.BitLen()), netip.PrefixFrom(f.idle(), f.edge.BitLen()))
	}
	for i := range p.Services {
		p.Services[i].Shield.Reflectors = p.Services[i].Name[:2] != "v1"
	}
	return p
}

// judgement is what the shield does with a packet, and what it counts.
type judgement struct {
	verdict int
	vector  int           // vectorNone: nothing is counted
	reason  status.Reason // of a drop
	service uint32        // number
	by      int           // protocol of a drop
	weight  uint64        // how many packets this one stands for; 0: 1
}

const vectorNone = -1

// untouched is for packets that the shield does not count: they are of sessions, or not for an edge address.
var untouched = judgement{verdict: xdpPass, vector: vectorNone}

// passed is for packets of no session that may go on.
func passed(vector int, service uint32) judgement {
	return judgement{verdict: xdpPass, vector: vector, service: service}
}

func dropped(reason status.Reason, vector int, service uint32, by int) judgement {
	return judgement{verdict: xdpDrop, vector: vector, reason: reason, service: service, by: by}
}

// monitored is the same in mode monitor.
func (j judgement) monitored() judgement {
	j.verdict = xdpPass
	return j
}

// shieldCounts are all that the shield counts.
type shieldCounts struct {
	drops   []uint64
	vectors map[bpfVectorKey]bpfVectorCount
}

func (r *rig) shieldCounts(t testing.TB) shieldCounts {
	t.Helper()
	c := shieldCounts{make([]uint64, 2*countProtocols*whyCount), make(map[bpfVectorKey]bpfVectorCount)}
	cores := ebpf.MustPossibleCPU()
	keys, values := make([]uint32, len(c.drops)), make([]uint64, len(c.drops)*cores)
	var cursor ebpf.MapBatchCursor
	if n, err := r.path.objects.ShieldDrops.BatchLookup(&cursor, keys, values, nil); n != len(keys) {
		t.Fatalf("read %d counts of drops: %v", n, err)
	}
	for i, key := range keys {
		for _, n := range values[i*cores:][:cores] {
			c.drops[key] += n
		}
	}
	var key bpfVectorKey
	var each []bpfVectorCount
	for all := r.path.objects.Vectors.Iterate(); all.Next(&key, &each); {
		var total bpfVectorCount
		for _, one := range each {
			total.Packets += one.Packets
			total.Bytes += one.Bytes
			total.Dropped += one.Dropped
			total.Would += one.Would
		}
		c.vectors[key] = total
	}
	return c
}

// add counts what a judgement does.
func (c *shieldCounts) add(j judgement, length int, monitor bool) {
	if j.vector == vectorNone {
		return
	}
	key := bpfVectorKey{Service: j.service, Vector: uint32(j.vector)}
	v := c.vectors[key]
	weight := max(j.weight, 1)
	v.Packets += weight
	v.Bytes += weight * uint64(length)
	if j.reason != status.Normal {
		i := j.by*whyCount + int(j.reason)
		if monitor {
			v.Would++
			i += countProtocols * whyCount
		} else {
			v.Dropped++
		}
		c.drops[i]++
	}
	c.vectors[key] = v
}

// diff tells what is different.
func (c shieldCounts) diff(want shieldCounts) (list []string) {
	for i, n := range c.drops {
		if n != want.drops[i] {
			reason, protocol := status.Reason(i%whyCount), i/whyCount
			list = append(list, fmt.Sprintf("drops by %s of protocol %d: %d, want %d", reason, protocol, n, want.drops[i]))
		}
	}
	for key, v := range c.vectors {
		if v != want.vectors[key] {
			list = append(list, fmt.Sprintf("%s of service %d: %+v, want %+v", vectorNames[key.Vector], key.Service, v, want.vectors[key]))
		}
	}
	for key, v := range want.vectors {
		if _, known := c.vectors[key]; !known {
			list = append(list, fmt.Sprintf("%s of service %d: nothing, want %+v", vectorNames[key.Vector], key.Service, v))
		}
	}
	slices.Sort(list)
	return list
}

// shieldRun gives one frame to the shield.
func (r *rig) shieldRun(t testing.TB, frame []byte) (verdict int, out []byte) {
	t.Helper()
	r.must(t, func() error {
		o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
		result, err := r.path.objects.Shield.Run(o)
		if err != nil {
			return fmt.Errorf("run the shield with %d bytes: %w", len(frame), err)
		}
		verdict, out = int(result), o.DataOut
		return nil
	})
	return verdict, out
}

// judges gives one frame to the shield and compares the verdict, the bytes and every count.
func (r *rig) judges(t testing.TB, frame []byte, want judgement) {
	t.Helper()
	var config bpfShieldConfiguration
	if err := r.path.objects.ShieldConfig.Lookup(uint32(0), &config); err != nil {
		t.Fatal(err)
	}
	counts := r.shieldCounts(t)
	counts.add(want, len(frame), config.Mode == shieldMonitor)
	verdict, out := r.shieldRun(t, frame)
	if verdict != want.verdict {
		t.Errorf("the verdict is %d, want %d", verdict, want.verdict)
	}
	if verdict == xdpPass && string(out) != string(frame) {
		t.Errorf("what passes was changed:\n%x, was\n%x", out, frame)
	}
	for _, line := range r.shieldCounts(t).diff(counts) {
		t.Error(line)
	}
}

// shieldMode changes the configuration of the shield, until the next apply.
func (r *rig) shieldMode(t testing.TB, change func(*bpfShieldConfiguration)) {
	t.Helper()
	var c bpfShieldConfiguration
	if err := r.path.objects.ShieldConfig.Lookup(uint32(0), &c); err != nil {
		t.Fatal(err)
	}
	change(&c)
	if err := r.path.objects.ShieldConfig.Put(uint32(0), &c); err != nil {
		t.Fatal(err)
	}
}

// calm lets the shield forget what pressed on it.
func (r *rig) calm(t testing.TB) {
	t.Helper()
	r.trickled(t, 0)
	var number uint32
	var p bpfPressure
	var numbers []uint32
	for all := r.path.objects.Pressures.Iterate(); all.Next(&number, &p); {
		numbers = append(numbers, number)
	}
	for _, number := range numbers {
		if err := r.path.objects.Pressures.Delete(number); err != nil {
			t.Fatal(err)
		}
	}
}

// trickled sets how many of each kind have come this second on each core, which lasts for an hour.
func (r *rig) trickled(t testing.TB, n uint64) {
	t.Helper()
	for i := range uint32(trickleCount) {
		r.trickle(t, i, n)
	}
}

func (r *rig) trickle(t testing.TB, which uint32, n uint64) {
	t.Helper()
	r.trickleSince(t, which, later(), n)
}

// trickleSince tells when the second began.
func (r *rig) trickleSince(t testing.TB, which uint32, second, n uint64) {
	t.Helper()
	gauges := make([]bpfGauge, ebpf.MustPossibleCPU())
	for i := range gauges {
		gauges[i] = bpfGauge{Second: second, Count: n}
	}
	if err := r.path.objects.Trickles.Put(which, gauges); err != nil {
		t.Fatal(err)
	}
}

// exhaustTrickles lets nothing more trickle through.
func (r *rig) exhaustTrickles(t testing.TB) { r.trickled(t, math.MaxUint32) }

// press sets what presses on a service.
func (r *rig) press(t testing.TB, service uint32, p bpfPressure) {
	t.Helper()
	if err := r.path.objects.Pressures.Put(service, &p); err != nil {
		t.Fatal(err)
	}
}

// pressure is what presses on a service.
func (r *rig) pressure(t testing.TB, service uint32) (p bpfPressure) {
	t.Helper()
	if err := r.path.objects.Pressures.Lookup(service, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// numberOf is the number of a service by the beginning of its name.
func (r *rig) numberOf(t testing.TB, name string, f family) uint32 {
	t.Helper()
	number, err := r.path.names.of(kindService, name+f.name)
	if err != nil {
		t.Fatal(err)
	}
	return number
}
