// Package flood sends packets as an attacker does, hundreds of thousands a second, and counts what comes back to their
// sources.
//
//	m, err := flood.Attach("eth0")
//	f, err := flood.Start(flood.Options{Interface: "eth0", Rate: 100_000, For: time.Second}, flood.TCP(ends, flood.SYN, nil))
//	err = f.Wait() // f.Sent() packets have left
//
// An eBPF program writes them into frames that the kernel makes, and redirects them out of a veth, in the network namespace
// of the caller's thread. Nothing can go elsewhere: only a veth will do, addresses are those of networks for documentation
// and benchmarks, and rate and time have bounds. The other end of the veth takes frames while it has an XDP program.
package flood

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3" -target bpfel flood flood.c

// Bounds of a flood.
const (
	MaxRate = 4_000_000
	MaxTime = 2 * time.Minute
)

// As flood.c has them.
const (
	maxShapes = 16
	maxFields = 12
	maxFrame  = 1514
)

// The networks of attackers, which nobody in a lab has. What is sent there is counted and goes no further.
var (
	Strangers  = netip.MustParsePrefix("198.19.0.0/16")
	Strangers6 = netip.MustParsePrefix("2001:db8:f000::/36")
)

// Options say how much is sent. Rate is packets a second, 0: MaxRate. The shapes take turns.
type Options struct {
	Interface string // a veth in the caller's network namespace
	Rate      int
	For       time.Duration
}

// Flood is one that goes on.
type Flood struct {
	objects floodObjects
	stopped atomic.Bool
	ended   chan struct{}
	err     error
}

// Start begins a flood. It must end with Wait.
func Start(o Options, shapes ...Shape) (*Flood, error) {
	if o.Rate == 0 {
		o.Rate = MaxRate
	}
	if o.Rate < 1 || o.Rate > MaxRate || o.For <= 0 || o.For > MaxTime || len(shapes) == 0 || len(shapes) > maxShapes {
		return nil, fmt.Errorf("a flood of %d packets a second for %s and with %d shapes is out of bounds", o.Rate, o.For, len(shapes))
	}
	at, err := veth(o.Interface)
	if err != nil {
		return nil, err
	}
	to, err := neighbour(at, shapes[0].to.Addr())
	if err != nil {
		return nil, err
	}
	f := &Flood{ended: make(chan struct{})}
	if err := f.load(o, at.Attrs(), to, shapes); err != nil {
		return nil, fmt.Errorf("load the flood: %w", err)
	}
	namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, f.objects.Close())
	}
	go f.run(namespace, o)
	return f, nil
}

// veth finds an interface. Anything but a veth is refused.
func veth(name string) (*netlink.Veth, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	v, ok := l.(*netlink.Veth)
	if !ok {
		return nil, fmt.Errorf("%s is a %s, and only a veth may be flooded", name, l.Type())
	}
	return v, nil
}

func (f *Flood) load(o Options, at *netlink.LinkAttrs, to net.HardwareAddr, shapes []Shape) error {
	spec, err := loadFlood()
	if err != nil {
		return err
	}
	var raw [maxShapes]floodShape
	for i, s := range shapes {
		if err := s.check(); err != nil {
			return err
		}
		copy(s.frame, to)
		copy(s.frame[6:], at.HardwareAddr)
		raw[i] = s.raw()
	}
	interval := uint64(0)
	if o.Rate < MaxRate {
		interval = uint64(time.Second) / uint64(o.Rate)
	}
	for name, value := range map[string]any{"shapes": raw, "shapes_used": uint32(len(shapes)), "target": uint32(at.Index),
		"interval": interval, "state": uint64(time.Now().UnixNano()) | 1, "until": monotonic(o.For)} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return spec.LoadAndAssign(&f.objects, nil)
}

// neighbour is the hardware address of the other end: the kernel learns it when something is sent there.
func neighbour(at *netlink.Veth, address netip.Addr) (net.HardwareAddr, error) {
	c, err := net.Dial("udp", netip.AddrPortFrom(address, 9).String())
	if err == nil {
		_, err = c.Write([]byte("who are you?"))
		_ = c.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("send something to %s: %w", address, err)
	}
	for range 100 {
		list, err := netlink.NeighList(at.Index, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list the neighbours at %s: %w", at.Name, err)
		}
		for _, n := range list {
			if len(n.HardwareAddr) == 6 && n.State&netlink.NUD_FAILED == 0 {
				return n.HardwareAddr, nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("nobody answers at %s", at.Name)
}

// raw is the shape as flood.c has it.
func (s Shape) raw() (r floodShape) {
	r.Length, r.Fields = uint32(len(s.frame)), uint32(len(s.fields))
	r.SumAt, r.HeaderSumAt = uint32(s.sumAt), uint32(s.headerSumAt)
	r.Sum, r.HeaderSum = s.sums()
	for i, f := range s.fields {
		r.Field[i].Offset, r.Field[i].Sums = uint32(f.offset), f.sums
		r.Field[i].Base, r.Field[i].Varies = word(f.base), word(f.varies)
	}
	copy(r.Bytes[:], s.frame)
	return r
}

// run sends from a thread of its own, which ends with it.
func (f *Flood) run(namespace int, o Options) {
	runtime.LockOSThread() // and never unlocked
	defer close(f.ended)
	err := unix.Setns(namespace, unix.CLONE_NEWNET)
	_ = unix.Close(namespace)
	if err != nil {
		f.err = fmt.Errorf("enter the network namespace: %w", err)
		return
	}
	const (
		first = 1 << 20
		turn  = 500 * time.Millisecond // each call of the kernel costs some milliseconds
	)
	frames, repeat := make([]byte, maxFrame), uint32(first)
	for end := time.Now().Add(o.For); time.Now().Before(end) && !f.stopped.Load(); {
		begin := time.Now()
		_, err := f.objects.Flood.Run(&ebpf.RunOptions{Data: frames, Repeat: repeat, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
		if err != nil {
			f.err = fmt.Errorf("send: %w", err)
			return
		}
		took := max(time.Since(begin), time.Millisecond)
		repeat = uint32(min(max(float64(repeat)*float64(turn)/float64(took), first), 1<<26))
	}
}

// Sent is how many packets have left.
func (f *Flood) Sent() (n uint64) {
	if err := f.objects.Sent.Get(&n); err != nil {
		return 0
	}
	return n
}

// Stop ends the flood before its time, at once.
func (f *Flood) Stop() error {
	f.stopped.Store(true)
	if err := f.objects.Until.Set(uint64(0)); err != nil {
		return fmt.Errorf("stop the flood: %w", err)
	}
	return nil
}

// Wait waits for the end and returns how many packets have left.
func (f *Flood) Wait() (sent uint64, err error) {
	<-f.ended
	sent = f.Sent()
	return sent, errors.Join(f.err, f.objects.Close())
}

// Meter counts what comes in at an interface for Strangers and Strangers6, and lets all else pass.
type Meter struct {
	objects floodObjects
	at      *netlink.Veth
	former  *ebpf.Program // the one that was there; nil: none
}

// Attach begins to count at an interface of the caller's network namespace, until Close. A program that is there already,
// which should let everything pass, has a rest.
func Attach(interfaceName string) (*Meter, error) {
	at, err := veth(interfaceName)
	if err != nil {
		return nil, err
	}
	m := &Meter{at: at}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("load the meter: %w", err)
	}
	if x := at.Xdp; x != nil && x.Attached {
		if m.former, err = ebpf.NewProgramFromID(ebpf.ProgramID(x.ProgId)); err != nil {
			return nil, errors.Join(fmt.Errorf("find the program at %s: %w", interfaceName, err), m.objects.Close())
		}
	}
	if err := netlink.LinkSetXdpFd(at, m.objects.Meter.FD()); err != nil {
		return nil, errors.Join(fmt.Errorf("attach the meter to %s: %w", interfaceName, err), m.objects.Close())
	}
	return m, nil
}

func (m *Meter) load() error {
	spec, err := loadFlood()
	if err != nil {
		return err
	}
	for name, value := range map[string]any{
		"strangers": Strangers.Addr().As4(), "strangers_mask": [4]byte(net.CIDRMask(Strangers.Bits(), 32)),
		"strangers_six": [8]byte(Strangers6.Addr().AsSlice()), "strangers_six_mask": [8]byte(net.CIDRMask(Strangers6.Bits(), 128)),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return spec.LoadAndAssign(&m.objects, nil)
}

// Back is what came for strangers so far, frames and their bytes.
func (m *Meter) Back() (packets, bytes uint64, err error) {
	return packets, bytes, errors.Join(m.objects.BackPackets.Get(&packets), m.objects.BackBytes.Get(&bytes))
}

// Close ends the meter, in the network namespace where it began.
func (m *Meter) Close() error {
	if m.former == nil {
		return errors.Join(netlink.LinkSetXdpFd(m.at, -1), m.objects.Close())
	}
	return errors.Join(netlink.LinkSetXdpFd(m.at, m.former.FD()), m.former.Close(), m.objects.Close())
}

// monotonic is a moment on the clock that programs read.
func monotonic(later time.Duration) uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0 // there is no error that it could have; nothing would be sent
	}
	return uint64(now.Nano()) + uint64(later)
}
