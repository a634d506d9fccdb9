//go:build e2e

package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// xdpAt is the program at an interface: its mode and number, 0 if there is none.
func (r *rig) xdpAt(t testing.TB, name string) (mode, id uint32) {
	t.Helper()
	r.must(t, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if x := l.Attrs().Xdp; x != nil && x.Attached {
			mode, id = x.AttachMode, x.ProgId
		}
		return nil
	})
	return mode, id
}

// shieldID is the number of the program of this process for a mode.
func (r *rig) shieldID(t testing.TB, mode string) uint32 {
	t.Helper()
	program, err := r.path.objects.shieldFor(mode)
	if err != nil {
		t.Fatal(err)
	}
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return uint32(id)
}

// attachments are what status tells of interfaces.
func (r *rig) attachments(t testing.TB) (list []string) {
	t.Helper()
	var s status.Edge
	if err := r.path.Status(&s); err != nil {
		t.Fatal(err)
	}
	for _, a := range s.Shield.Attachments {
		list = append(list, a.Interface+" "+a.Mode)
	}
	slices.Sort(list)
	return list
}

// coveredBy compares what is at an interface.
func (r *rig) coveredBy(t testing.TB, name string, mode, id uint32) {
	t.Helper()
	if gotMode, gotID := r.xdpAt(t, name); gotMode != mode || gotID != id {
		t.Errorf("%s has program %d in mode %d, want %d in mode %d", name, gotID, gotMode, id, mode)
	}
}

// pinned are the pins of the shield's links.
func (r *rig) pinned(t testing.TB) (list []string) {
	t.Helper()
	pins, err := filepath.Glob(filepath.Join(r.path.options.Dir, shieldDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pin := range pins {
		list = append(list, filepath.Base(pin))
	}
	return list
}

// restart ends the process and starts another.
func (r *rig) restart(t testing.TB) {
	t.Helper()
	r.must(t, func() (err error) {
		for _, a := range r.path.shield.links { // as the end of a process does
			if err := a.link.Close(); err != nil {
				return err
			}
		}
		if err := r.path.close(); err != nil {
			return err
		}
		r.path, err = Open(r.path.options)
		return err
	})
	r.apply(t, r.plan)
}

// withInterfaces is the plan with these edge interfaces.
func withInterfaces(names ...string) *plan.Plan {
	p := shieldPlan()
	p.Steering.Interfaces = names
	return p
}

// addDevice adds an interface whose driver knows no XDP: a bridge.
func (r *rig) addDevice(t testing.TB, name string) (index int) {
	t.Helper()
	r.must(t, func() (err error) {
		index, err = addDevice(name, 0)
		return err
	})
	return index
}

// addDevice gives it an index; 0: any.
func addDevice(name string, index int) (int, error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.Index = name, index
	l := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(l); err != nil {
		return 0, fmt.Errorf("add %s: %w", name, err)
	}
	return l.Index, netlink.LinkSetUp(l)
}

// TestShieldModes: in the driver where that can, by the kernel elsewhere, and away where it is not wanted.
func TestShieldModes(t *testing.T) {
	r := newRig(t, shieldPlan())
	r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))
	r.coveredBy(t, "inner0", 0, 0)
	plain := r.addDevice(t, "plain0")
	r.apply(t, withInterfaces("edge0", "plain0", "missing0", "lo"))
	r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))
	r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
	r.coveredBy(t, "lo", 0, 0)
	if got, want := fmt.Sprint(r.attachments(t)), "[edge0 native plain0 generic]"; got != want {
		t.Errorf("status tells %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(r.pinned(t)), fmt.Sprintf("[%d-native %d-generic]", r.edge, plain); got != want {
		t.Errorf("pinned are %s, want %s", got, want)
	}
	r.restart(t)
	r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
	if got, want := fmt.Sprint(r.attachments(t)), "[edge0 native plain0 generic]"; got != want {
		t.Errorf("after a restart status tells %s, want %s", got, want)
	}
	r.apply(t, withInterfaces("edge0"))
	r.coveredBy(t, "plain0", 0, 0)
	r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))

	off := withInterfaces("edge0", "plain0")
	off.Shield.Mode = plan.ShieldOff
	r.apply(t, off)
	r.coveredBy(t, "edge0", 0, 0)
	r.coveredBy(t, "plain0", 0, 0)
	if len(r.attachments(t)) != 0 || len(r.pinned(t)) != 0 {
		t.Errorf("off, status tells %v, pinned are %v", r.attachments(t), r.pinned(t))
	}
	r.apply(t, withInterfaces("edge0"))
	r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))
	if err := Clear(r.path.options.Dir); err != nil {
		t.Fatal(err)
	}
	for _, a := range r.path.shield.links {
		if err := a.link.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(r.path.options.Dir); err == nil {
		t.Error("pins are left")
	}
	r.coveredBy(t, "edge0", 0, 0)
}

// TestShieldNeverAway: while processes restart, the program at the interface changes, and is never away; also when the former one
// was of another layout, with maps of its own.
func TestShieldNeverAway(t *testing.T) {
	r := newRig(t, shieldPlan())
	other, err := load(pins(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.close() })
	var handle *netlink.Handle
	r.must(t, func() (err error) {
		handle, err = netlink.NewHandle()
		return err
	})
	defer handle.Close()
	stop, looks := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				looks <- n
				return
			default:
			}
			l, err := handle.LinkByIndex(r.edge)
			if err != nil || l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached {
				t.Errorf("at look %d there is no program: %v", n, err)
				<-stop
				looks <- n
				return
			}
			n++
		}
	}()
	ids := make(map[uint32]bool)
	pin := r.path.shieldPin(r.edge, native)
	before := linkID(t, pin)
	for i := range 4 {
		if i%2 == 1 { // the last process was of another version
			l, err := link.LoadPinnedLink(pin, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Update(other.Shield); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r.restart(t)
		r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))
		ids[r.shieldID(t, native)] = true
	}
	close(stop)
	if n := <-looks; n < 20 {
		t.Errorf("%d looks are too few", n)
	}
	if len(ids) != 4 {
		t.Errorf("4 processes had %d programs", len(ids))
	}
	if after := linkID(t, pin); after != before {
		t.Errorf("the link is %d, was %d", after, before)
	}
}

func linkID(t *testing.T, pin string) link.ID {
	t.Helper()
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	info, err := l.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

// TestShieldInterfaceReturns: an interface that goes and comes back is covered again, whether its index is another or the same.
func TestShieldInterfaceReturns(t *testing.T) {
	r := newRig(t, withInterfaces("edge0", "plain0"))
	for _, sameIndex := range []bool{false, true} {
		index := r.addDevice(t, "plain0")
		r.must(t, r.path.reattach)
		r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
		r.must(t, func() error { return netlink.LinkDel(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: index}}) })
		if !sameIndex {
			r.must(t, r.path.reattach)
			if got, want := fmt.Sprint(r.attachments(t), r.pinned(t)), fmt.Sprintf("[edge0 native] [%d-native]", r.edge); got != want {
				t.Errorf("without it there are %s, want %s", got, want)
			}
			continue
		}
		r.must(t, func() error {
			_, err := addDevice("plain0", index)
			return err
		})
		r.must(t, r.path.reattach)
		r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
		r.restart(t)
		r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
	}
}

// TestShieldNoPlace: where another program is at the interface already, the kernel path works, and a condition tells why the
// shield does not, until it can.
func TestShieldNoPlace(t *testing.T) {
	r := newRig(t, withInterfaces("edge0"))
	plain := r.addDevice(t, "plain0")
	foreign := passAll(t)
	var taken link.Link
	r.must(t, func() (err error) {
		taken, err = link.AttachXDP(link.XDPOptions{Interface: plain, Program: foreign, Flags: link.XDPGenericMode})
		return err
	})
	r.apply(t, withInterfaces("edge0", "plain0"))
	r.coveredBy(t, "edge0", nl.XDP_ATTACHED_DRV, r.shieldID(t, native))
	if got, want := fmt.Sprint(r.attachments(t)), "[edge0 native plain0 none]"; got != want {
		t.Errorf("status tells %s, want %s", got, want)
	}
	if len(r.conditions.List()) != 1 || r.conditions.List()[0].Code != noShield {
		t.Errorf("the conditions are %+v", r.conditions.List())
	}
	r.passes(t, aSYN(families[0]).frame(), arrival{})
	r.must(t, r.path.reattach)
	if r.path.bloom.state.Distrusted != 0 {
		t.Error("as long as the shield has no place at one interface, the filter of sessions never counts")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	r.must(t, func() error { // the kernel takes a link away a moment later
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := r.path.reattach()
			if err != nil || len(r.conditions.List()) == 0 || time.Now().After(end) {
				return err
			}
		}
	})
	r.coveredBy(t, "plain0", nl.XDP_ATTACHED_SKB, r.shieldID(t, generic))
	if r.path.bloom.state.Distrusted == 0 {
		t.Error("what came in at an interface without the shield counts as seen")
	}
	if list := r.conditions.List(); len(list) != 0 {
		t.Errorf("the conditions are %+v", list)
	}
}

// passAll is an XDP program that passes everything.
func passAll(t testing.TB) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestShieldForgets: what was counted of a service goes with it, and nothing else does.
func TestShieldForgets(t *testing.T) {
	r := newRig(t, shieldPlan())
	for _, f := range families {
		r.shieldRun(t, aDatagram(f).frame())
		r.shieldRun(t, udpTo(f, 11211, portTight, "answer").frame())
		r.shieldRun(t, udpTo(f, 40000, portNothing, "x").frame())
	}
	before := r.shieldCounts(t)
	tight := r.numberOf(t, "tight", families[0])
	r.apply(t, shieldPlan())
	for _, line := range r.shieldCounts(t).diff(before) {
		t.Error(line)
	}
	r.pressure(t, tight)
	p := shieldPlan()
	for i := range p.Services {
		if p.Services[i].Name == "tightIPv4" {
			p.Services[i].Name = "another"
		}
	}
	r.apply(t, p)
	delete(before.vectors, bpfVectorKey{Service: tight, Vector: vectorReflection})
	for _, line := range r.shieldCounts(t).diff(before) {
		t.Error(line)
	}
	var gone bpfPressure
	if err := r.path.objects.Pressures.Lookup(tight, &gone); err == nil {
		t.Error("what pressed on a service that is gone is still there")
	}
}
