//go:build e2e

package kernel

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"breakwater/appliance/plan"
)

// genericRig is a rig whose edge interface is a bridge with edge1 as its port: its driver knows no XDP.
func genericRig(t *testing.T, change func(*plan.Plan)) *rig {
	t.Helper()
	r := newRig(t, shieldPlan())
	r.addDevice(t, "plain0")
	r.must(t, func() error {
		if _, err := addInterface("edge1"); err != nil {
			return err
		}
		port, err := netlink.LinkByName("edge1")
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("plain0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(port, bridge)
	})
	p := withInterfaces("plain0")
	change(p)
	r.apply(t, p)
	return r
}

// takenUp is a frame for a bridge itself, which wants a sender in it.
func (r *rig) takenUp(t *testing.T, frame []byte) []byte {
	t.Helper()
	var bridge *net.Interface
	r.must(t, func() (err error) {
		bridge, err = net.InterfaceByName("plain0")
		return err
	})
	return slices.Concat(bridge.HardwareAddr, []byte{2, 0, 0, 0, 0, 1}, frame[12:])
}

// TestGeneric: where the kernel runs the shield, the kernel path has what is behind it, as everywhere.
func TestGeneric(t *testing.T) {
	r := genericRig(t, func(*plan.Plan) {})
	for _, f := range families {
		for _, size := range []int{1, 1400} {
			payload := string(make([]byte, size))
			before := r.counts(t)
			r.send(t, "edge1", r.takenUp(t, udpTo(f, uint16(40000+size), portPlain, payload).frame()))
			if p, _, _ := r.sniffsTag(t, netip.AddrPortFrom(f.origin, portPlain)); string(p.payload) != payload {
				t.Errorf("%s left", p)
			}
			if after := r.counts(t); after != before {
				t.Errorf("the counts are\n%v, want\n%v", after, before)
			}
		}
		r.send(t, "edge1", r.takenUp(t, aSYN(f).frame()))
		if p, _, _ := r.sniffsTag(t, netip.AddrPortFrom(f.origin, portPlain)); p.flags != flagSYN {
			t.Errorf("%s left", p)
		}
	}
}

// TestGenericCookies: the mark of a right cookie arrives there, too.
func TestGenericCookies(t *testing.T) {
	r := genericRig(t, func(p *plan.Plan) {
		for i := range p.Services {
			p.Services[i].Shield.SYNCookies = plan.SYNCookiesOn
		}
	})
	r.must(t, func() error { return r.cookieListener(t) })
	for _, f := range families {
		in := f.opening(protocolTCP, 43000, portPlain)
		in.options = usual
		p := reply(in, r.asks(t, in))
		r.send(t, "edge1", r.takenUp(t, p.frame()))
		key := bpfTuple{Src: p.from.Addr().As16(), Dst: p.to.Addr().As16(), Sport: htons(p.from.Port()), Dport: htons(p.to.Port()), Protocol: protocolTCP}
		var a bpfAdmission
		for end := time.Now().Add(5 * time.Second); a.Assigned == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			_ = r.path.objects.Admissions.Lookup(&key, &a) // not yet
		}
		if a.Assigned == 0 {
			t.Errorf("%s: who came with a right cookie was given to no listener; the programs count %+v", f.name, r.cookies(t))
		}
	}
}
