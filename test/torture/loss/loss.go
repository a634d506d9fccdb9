// Package loss makes the network of a lab a bad one: what leaves an interface is dropped, doubled or late.
//
//	l, err := loss.Attach(lab.Client, "eth0", loss.Weather{Drop: 10})
//	…
//	counts, err := l.Counts() // has anything been lost?
//
// It works on tcx egress, so that a program at ingress of the other end sees what a network would bring, and it touches
// TCP and UDP only. A packet may be one of 64 KB that is cut later or never (GSO); Plain makes them what they are on a wire.
package loss

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"breakwater/test/lab"
)

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror" -target bpfel loss loss.c

// Weather is what becomes of packets, each in a thousand. Their sum is at most 1000.
type Weather struct {
	Drop, Duplicate uint32
	Reorder         uint32 // leave Late later than they should, so that others overtake them
}

// Counts are packets. Passed are those that nothing was done to.
type Counts struct {
	Passed, Dropped, Duplicated, Reordered uint64
}

func (c Counts) String() string {
	return fmt.Sprintf("%d passed, %d dropped, %d duplicated, %d reordered", c.Passed, c.Dropped, c.Duplicated, c.Reordered)
}

// Loss is weather on one interface, until Close.
type Loss struct {
	objects lossObjects
	links   []link.Link
	detour  *detour // nil when nothing is reordered
}

// Attach brings weather to what leaves an interface in a network namespace of the lab.
func Attach(netns, interfaceName string, w Weather) (*Loss, error) {
	l := new(Loss)
	err := lab.Inside(netns, func() error { return l.attach(interfaceName, w) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bring loss to %s in %s: %w", interfaceName, netns, err), l.Close())
	}
	return l, nil
}

func (l *Loss) attach(interfaceName string, w Weather) error {
	home, err := net.InterfaceByName(interfaceName)
	if err != nil {
		return err
	}
	values := map[string]uint32{"drop": w.Drop, "duplicate": w.Duplicate, "reorder": w.Reorder, "home": uint32(home.Index)}
	if w.Reorder > 0 {
		if l.detour, err = newDetour("late-" + interfaceName); err != nil {
			return err
		}
		values["detour"] = uint32(l.detour.index)
	}
	if err := l.load(values); err != nil {
		return err
	}
	if l.detour != nil {
		if err := l.hook(l.detour.index, ebpf.AttachTCXIngress, l.objects.ComeHome); err != nil {
			return err
		}
	}
	return l.hook(home.Index, ebpf.AttachTCXEgress, l.objects.Worsen)
}

func (l *Loss) load(values map[string]uint32) error {
	spec, err := loadLoss()
	if err != nil {
		return err
	}
	for name, value := range values {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return spec.LoadAndAssign(&l.objects, nil)
}

func (l *Loss) hook(index int, at ebpf.AttachType, program *ebpf.Program) error {
	hooked, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: at})
	if err != nil {
		return fmt.Errorf("attach %s to interface %d: %w", program, index, err)
	}
	l.links = append(l.links, hooked)
	return nil
}

// Counts is what has become of packets so far.
func (l *Loss) Counts() (c Counts, err error) {
	o := l.objects
	return c, errors.Join(o.Passed.Get(&c.Passed), o.Dropped.Get(&c.Dropped), o.Duplicated.Get(&c.Duplicated), o.Reordered.Get(&c.Reordered))
}

// Close makes the weather fine again. The error says also when a late packet could not be brought back.
func (l *Loss) Close() error {
	var errs []error
	for _, hooked := range l.links {
		errs = append(errs, hooked.Close())
	}
	if l.detour != nil {
		errs = append(errs, l.detour.close())
	}
	return errors.Join(append(errs, l.objects.Close())...)
}
