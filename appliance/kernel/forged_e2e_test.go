//go:build e2e

package kernel

import (
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestForgedSources: a packet that claims to come from an edge address begins nothing on either path, also where the shield lets it pass
// or is not there; all else stays as it was.
func TestForgedSources(t *testing.T) {
	r := newRig(t, shieldPlan())
	monitored := shieldPlan()
	monitored.Shield.Mode = plan.ShieldMonitor
	forged := func(f family, protocol uint8, port uint16) packet {
		return ours(func(f family) packet { return f.opening(protocol, 40000, port) })(f)
	}

	for name, port := range map[string]uint16{"the kernel path": portPlain, "a header": portV2, "the user path": portUser, "no service": portNothing} {
		r.each(t, name, func(t *testing.T, f family, protocol uint8) {
			r.drops(t, forged(f, protocol, port).frame(), arrival{}, protocol, dropBogon)
			if list := r.events(t); len(list) != 0 {
				t.Errorf("there are %d events", len(list))
			}
		})
	}
	r.each(t, "its own destination", func(t *testing.T, f family, protocol uint8) {
		p := f.opening(protocol, portPlain, portPlain)
		p.from = p.to
		r.drops(t, p.frame(), arrival{}, protocol, dropBogon)
	})
	r.each(t, "a shield that only monitors", func(t *testing.T, f family, protocol uint8) {
		r.apply(t, monitored)
		defer r.apply(t, shieldPlan())
		frame := forged(f, protocol, portPlain).frame()
		if verdict, _ := r.shieldRun(t, frame); verdict != xdpPass {
			t.Fatalf("the shield says %d", verdict)
		}
		before := r.reason(t, protocol, status.Bogon)
		r.drops(t, frame, arrival{}, protocol, dropBogon)
		if n := r.reason(t, protocol, status.Bogon) - before; n != 1 {
			t.Errorf("one packet was counted %d times", n)
		}
	})
	r.each(t, "a packet for somebody else", func(t *testing.T, f family, protocol uint8) {
		p := forged(f, protocol, portPlain)
		p.to = netip.AddrPortFrom(f.foreign(), portPlain)
		r.leaves(t, p.frame(), arrival{}, leftService)
	})
	r.each(t, "from where origins are", func(t *testing.T, f family, protocol uint8) {
		r.leaves(t, forged(f, protocol, portPlain).frame(), arrival{inner: true}, leftOther)
	})
	r.each(t, "a session from before its client became an edge address", func(t *testing.T, f family, protocol uint8) {
		in := f.opening(protocol, 40000, portPlain)
		r.passes(t, in.frame(), arrival{})
		later := shieldPlan()
		later.Steering.Addresses = append(later.Steering.Addresses, netip.PrefixFrom(f.client, f.client.BitLen()))
		r.apply(t, later)
		defer r.apply(t, shieldPlan())
		r.passes(t, in.frame(), arrival{})
		in.from = netip.AddrPortFrom(f.client, 40001)
		r.drops(t, in.frame(), arrival{}, protocol, dropBogon)
	})
	for _, f := range families {
		t.Run("no first packet/"+f.name, func(t *testing.T) {
			p := forged(f, protocolTCP, portPlain)
			for _, flags := range []uint8{flagACK, flagRST, flagSYN | flagACK, flagFIN | flagACK} {
				p.flags = flags
				r.leaves(t, p.frame(), arrival{}, leftOther)
			}
		})
		t.Run("options that the kernel path leaves/"+f.name, func(t *testing.T) {
			p := forged(f, protocolTCP, portPlain)
			p.payload = []byte("early")
			r.drops(t, p.frame(), arrival{}, protocolTCP, dropBogon)
		})
		t.Run("fragments/"+f.name, func(t *testing.T) {
			p := forged(f, protocolUDP, portPlain)
			r.drops(t, fragment(p, 0, true), arrival{}, protocolUDP, dropBogon)
			r.leaves(t, fragment(p, 185, false), arrival{}, leftOther) // without the first it is nothing
		})
	}
}

// reason is how often the kernel path has counted a reason.
func (r *rig) reason(t testing.TB, protocol uint8, reason status.Reason) uint64 {
	t.Helper()
	name := plan.TCP
	if protocol == protocolUDP {
		name = plan.UDP
	}
	var s status.Edge
	r.must(t, func() error { return r.path.Status(&s) })
	for _, c := range s.Reasons {
		if c.Reason == reason && c.Protocol == name {
			return c.Count
		}
	}
	return 0
}
