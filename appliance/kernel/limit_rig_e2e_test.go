//go:build e2e

package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const xdpDrop, xdpPass = 1, 2

// xdpContext is struct xdp_md of linux/bpf.h in words.
type xdpContext [6]uint32

const xdpDataEnd, xdpIfindex = 1, 3

// front gives one frame to the shield.
func (r *rig) front(t testing.TB, frame []byte) uint32 {
	t.Helper()
	var verdict uint32
	r.must(t, func() (err error) {
		context := xdpContext{xdpDataEnd: uint32(len(frame)), xdpIfindex: uint32(r.edge)}
		verdict, err = r.path.objects.Shield.Run(&ebpf.RunOptions{Data: frame, DataOut: r.output, Context: &context})
		return err
	})
	return verdict
}

// comesIn and turnedAway give a frame to the shield, and compare what it says and counts.
func (r *rig) comesIn(t testing.TB, frame []byte) {
	t.Helper()
	before := r.turned(t)
	if got := r.front(t, frame); got != xdpPass {
		t.Errorf("the verdict is %d, want %d", got, xdpPass)
	}
	if after := r.turned(t); after != before {
		t.Errorf("it passed, and the drops are %v, were %v", after, before)
	}
}

func (r *rig) turnedAway(t testing.TB, frame []byte, reason status.Reason) {
	t.Helper()
	want := r.turned(t)
	want[reason]++
	if got := r.front(t, frame); got != xdpDrop {
		t.Errorf("the verdict is %d, want %d", got, xdpDrop)
	}
	if after := r.turned(t); after != want {
		t.Errorf("it is not counted once as %s: %v, want %v", reason, after, want)
	}
}

// turned are the packets that the shield dropped, by reason.
func (r *rig) turned(t testing.TB) (counts [whyCount]uint64) {
	t.Helper()
	for p := range shieldProtocols {
		for why := range counts {
			n, err := sum(r.path.objects.ShieldDrops, uint32(p*whyCount+why))
			if err != nil {
				t.Fatal(err)
			}
			counts[why] += n
		}
	}
	return counts
}

// ago lets time pass for all buckets.
func (r *rig) ago(t testing.TB, by time.Duration) {
	t.Helper()
	back := func(until *uint64) { *until = uint64(max(0, int64(*until)-int64(by))) }
	for _, m := range []*ebpf.Map{r.path.objects.AddressBuckets, r.path.objects.NetworkBuckets} {
		for key, b := range entriesOf[bpfSourceKey, bpfBucket](t, m) {
			for _, until := range []*uint64{&b.Packets[0], &b.Packets[1], &b.Bytes[0], &b.Bytes[1], &b.Clients} {
				back(until)
			}
			putEntry(t, m, key, b)
		}
	}
	for key, p := range entriesOf[uint32, bpfPressure](t, r.path.objects.Pressures) {
		back(&p.Flows)
		back(&p.Clients)
		putEntry(t, r.path.objects.Pressures, key, p)
	}
	for key, c := range entriesOf[uint32, bpfCommons](t, r.path.objects.SharedBuckets) {
		back(&c.Flows)
		back(&c.Strangers)
		putEntry(t, r.path.objects.SharedBuckets, key, c)
	}
}

// useUp uses up so much of the budget of every service, and keeps it so for a while.
func (r *rig) useUp(t testing.TB, by time.Duration) {
	t.Helper()
	for key, p := range entriesOf[uint32, bpfPressure](t, r.path.objects.Pressures) {
		p.Clients = now() + uint64(by)
		putEntry(t, r.path.objects.Pressures, key, p)
	}
}

func entriesOf[K comparable, V any](t testing.TB, m *ebpf.Map) map[K]V {
	t.Helper()
	entries := make(map[K]V)
	var key K
	var value V
	all := m.Iterate()
	for all.Next(&key, &value) {
		entries[key] = value
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return entries
}

func putEntry(t testing.TB, m *ebpf.Map, key, value any) {
	t.Helper()
	if err := m.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

// freshStart forgets all sources and all time.
func (r *rig) freshStart(t testing.TB) {
	t.Helper()
	r.wipe(t)
	r.ago(t, 1<<62)
	for _, m := range []*ebpf.Map{r.path.objects.AddressBuckets, r.path.objects.NetworkBuckets, r.path.objects.KnownSources} {
		var keys []bpfSourceKey
		var key bpfSourceKey
		value := make([]byte, m.ValueSize())
		for all := m.Iterate(); all.Next(&key, &value); {
			keys = append(keys, key)
		}
		for _, key := range keys {
			if err := m.Delete(key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.path.known.load(r.path.objects.KnownSources); err != nil {
		t.Fatal(err)
	}
}

// knows makes the shield know an address.
func (r *rig) knows(t testing.TB, addr netip.Addr, protocol plan.Protocol) {
	t.Helper()
	r.path.Good(addr, protocol)
	r.must(t, r.path.enterKnown)
}

// from is the first packet of a client at another address.
func (f family) from(addr netip.Addr, protocol uint8, port, to uint16) []byte {
	p := f.opening(protocol, port, to)
	p.from = netip.AddrPortFrom(addr, port)
	return p.frame()
}

// host is the address of network n of the family, and of one host in it.
func (f family) host(network, host int) netip.Addr {
	if f.client.Is4() {
		return netip.AddrFrom4([4]byte{8, byte(network >> 8), byte(network), byte(host)})
	}
	b := netip.MustParseAddr("2600::1").As16()
	binary.BigEndian.PutUint16(b[4:], uint16(network))
	binary.BigEndian.PutUint16(b[6:], uint16(host))
	return netip.AddrFrom16(b)
}
