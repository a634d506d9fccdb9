//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"testing"
	"time"
)

// bloomed is how many bits are set in each of the two filters.
func (r *rig) bloomed(t testing.TB) (n [2]int) {
	t.Helper()
	for i := range n {
		b := make([]byte, bloomBytes)
		if _, err := r.path.objects.bloom.ReadAt(b, int64(i)*bloomBytes); err != nil {
			t.Fatal(err)
		}
		for _, c := range b {
			n[i] += bits.OnesCount8(c)
		}
	}
	return n
}

// counts are the bits of the filter that counts, and of the other.
func (r *rig) bloomCounts(t testing.TB) (used, other int) {
	t.Helper()
	n := r.bloomed(t)
	g := r.path.bloom.state.Generation & 1
	return n[g], n[1-g]
}

// TestStrangers: who begins something is in the filter from then on, and nobody else.
func TestStrangers(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		was, _ := r.bloomCounts(t)
		expect := func(what string, more int) {
			t.Helper()
			if n, _ := r.bloomCounts(t); n != was+more {
				t.Errorf("%s: %s: %d tuples are in the filter, want %d", f.name, what, n, was+more)
			}
		}
		r.calm(t)
		armed := f.opening(protocolTCP, 40010, portArmed)
		if verdict, _, _ := r.shielded(t, armed.frame()); verdict != xdpTX {
			t.Fatalf("%s: the verdict on a SYN is %d, want %d", f.name, verdict, xdpTX)
		}
		expect("a SYN that was answered by a cookie", 0)
		in := f.opening(protocolTCP, 40011, portAuto)
		r.passesShield(t, in.frame())
		expect("a SYN that passed", 1)
		r.passesShield(t, in.frame())
		expect("the same once more", 1)
		in.flags = flagACK
		r.passesShield(t, in.frame())
		in = f.opening(protocolUDP, 40012, portAuto)
		r.passesShield(t, in.frame())
		expect("what begins no connection", 1)
	}
}

// TestCookieEntersFilter: so is who comes with a cookie.
func TestCookieEntersFilter(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		was, _ := r.bloomCounts(t)
		in := f.opening(protocolTCP, 40020, portArmed)
		_, out, _ := r.shielded(t, in.frame())
		answer, err := readFrame(out)
		if err != nil {
			t.Fatal(err)
		}
		in.flags, in.seq, in.ack = flagACK, in.seq+1, answer.seq+1
		if verdict, _, marked := r.shielded(t, in.frame()); verdict != xdpPass || !marked {
			t.Fatalf("%s: the verdict on a cookie is %d, marked %t", f.name, verdict, marked)
		}
		if n, _ := r.bloomCounts(t); n != was+1 {
			t.Errorf("%s: %d tuples are in the filter, want %d", f.name, n, was+1)
		}
	}
}

// TestDistrusted: while something may have begun unseen, who is not in the filter is looked for.
func TestDistrusted(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		in := f.opening(protocolTCP, 40030, portArmed)
		r.passes(t, in.frame(), arrival{})
		r.must(t, r.path.distrustBloom)
		r.passesShield(t, in.frame())
		r.wipe(t)
	}
}

// waiting makes a connection of source to an edge address that waits at the edge, with nothing at its other end (TIME-WAIT).
func waiting(from, to netip.AddrPort) error {
	l, err := net.Listen("tcp", to.String())
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return err
	}
	server, err := l.Accept()
	if err != nil {
		return err
	}
	if err := server.Close(); err != nil { // who closes first is who waits
		return err
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the edge closed: %w", err)
	}
	return c.Close()
}

// TestBloomRenewed: a filter that is full is made anew, of what there is.
func TestBloomRenewed(t *testing.T) {
	r := cookieRig(t)
	for i, f := range families {
		gone := f.opening(protocolTCP, 40040, portAuto)
		r.passesShield(t, gone.frame())
		kept := f.opening(protocolTCP, 40041, portArmed)
		r.passes(t, kept.frame(), arrival{})
		from := netip.AddrPortFrom([]netip.Addr{source4, source6}[i], 41000)
		r.must(t, func() error { return waiting(from, netip.AddrPortFrom(f.edge, portArmed)) })
	}
	used, _ := r.bloomCounts(t)
	if used < len(families) {
		t.Fatalf("%d tuples are in the filter", used)
	}
	step := func() {
		t.Helper()
		r.must(t, r.path.renewBloom)
	}
	generation := r.path.bloom.state.Generation
	step()
	if r.path.bloom.state.Filling != 0 {
		t.Fatal("a filter that is nearly empty is made anew")
	}
	r.path.bloom.entered -= bloomFull
	step()
	if _, other := r.bloomCounts(t); r.path.bloom.state.Filling == 0 || other != 0 {
		t.Fatalf("a full filter is not made anew: %+v, %d bits", r.path.bloom.state, other)
	}
	for _, f := range families {
		fresh := f.opening(protocolTCP, 40042, portAuto)
		r.passesShield(t, fresh.frame())
	}
	if n, other := r.bloomCounts(t); n != used+len(families) || other != len(families) {
		t.Fatalf("what began meanwhile is in both: %d and %d tuples, want %d and %d", n, other, used+len(families), len(families))
	}
	step()
	if r.path.bloom.state.Generation != generation {
		t.Fatal("the new filter counts before all that was under way can have arrived")
	}
	r.path.bloom.began = time.Now().Add(-bloomSettles)
	step()
	// Of each IP version: what began meanwhile, the session, and the two ends of the connection that waits, of which one is there.
	if n, _ := r.bloomCounts(t); r.path.bloom.state.Generation == generation || n != 3*len(families) {
		t.Errorf("the new filter has %d tuples, want %d: %+v", n, 3*len(families), r.path.bloom.state)
	}
	step()
	if s := r.path.bloom.state; s.Filling != 0 || s.Distrusted != 0 {
		t.Errorf("the filter is not as it was before: %+v", s)
	}
	for i, f := range families {
		kept := f.opening(protocolTCP, 40041, portArmed)
		r.passesShield(t, kept.frame())
		kept.from = netip.AddrPortFrom([]netip.Addr{source4, source6}[i], 41000)
		r.passesShield(t, kept.frame())
		kept.from = netip.AddrPortFrom(kept.from.Addr(), 41001)
		if verdict, _, _ := r.shielded(t, kept.frame()); verdict != xdpTX {
			t.Errorf("%s: the verdict on a stranger is %d, want %d", f.name, verdict, xdpTX)
		}
	}
}

// TestDoubtsWhileFilling: what happens unseen while a filter is filled lets it begin anew.
func TestDoubtsWhileFilling(t *testing.T) {
	r := cookieRig(t)
	r.must(t, r.path.distrustBloom)
	r.must(t, r.path.renewBloom)
	if r.path.bloom.state.Filling == 0 {
		t.Fatal("a filter that is not trusted is not made anew")
	}
	r.path.bloom.began = time.Now().Add(-bloomSettles)
	r.must(t, r.path.distrustBloom)
	r.must(t, r.path.renewBloom)
	if s := r.path.bloom.state; s.Filling == 0 || s.Distrusted == 0 || time.Since(r.path.bloom.began) > bloomSettles/2 {
		t.Errorf("filling went on over a doubt: %+v, since %s", s, r.path.bloom.began)
	}
}
