package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
	"breakwater/test/attack/flood"
	"breakwater/test/lab"
)

// besieged is the two boxes.
type besieged struct {
	core    int
	edge    *process
	target  target
	listens net.Listener // without breakwater
	meters  map[bool]*flood.Meter
	thread  map[bool]int // which receives, by guarded
}

// settling is how long the shield looks for everybody after a plan, before its Bloom filter counts, and some more.
const settling = 18 * time.Second

// besiege sets them up.
func besiege(ctx context.Context, core int, breakwater string) (b *besieged, err error) {
	b = &besieged{core: core, meters: map[bool]*flood.Meter{}, thread: map[bool]int{}, target: target{originPort: 7000, header: HeaderNone}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	if b.edge, err = breakwaterEdge(core, breakwater, guardedEngine)(&b.target); err != nil {
		return b, err
	}
	if err := ban(ctx, guardedEngine); err != nil {
		return b, err
	}
	if err := b.plain(ctx); err != nil {
		return b, err
	}
	time.Sleep(settling)
	cores, err := allowedCores()
	if err != nil {
		return b, err
	}
	for _, box := range []struct {
		ns, name, attackers string
		guarded             bool
	}{{plainNS, plainName, "plain", false}, {guardedNS, wanName, "guarded", true}} {
		tid, err := receiveOn(ctx, core, box.ns, box.name)
		if err != nil {
			return b, err
		}
		b.thread[box.guarded] = tid
		err = inNamespace(attackerNS, func() error {
			m, err := flood.Attach(box.attackers)
			if err == nil {
				b.meters[box.guarded] = m
			}
			return err
		})
		if err != nil {
			return b, err
		}
		// Answers are no work of the box once they are on the wire.
		if _, err := receiveOn(ctx, cores[0], attackerNS, box.attackers); err != nil {
			return b, err
		}
	}
	return b, nil
}

// receiveOn lets a thread of its own receive for a veth, on one core and before others.
func receiveOn(ctx context.Context, core int, ns, name string) (tid int, err error) {
	if err := ip(ctx, "netns", "exec", ns, "sh", "-c", "echo 1 > /sys/class/net/"+name+"/threaded"); err != nil {
		return 0, err
	}
	if tid, err = receiver(name); err != nil {
		return 0, err
	}
	return tid, errors.Join(bindThread(tid, core), setRoundRobin(tid))
}

// plain makes the box without breakwater one that could be attacked: it polls, has a way to the attackers, and listens with
// SYN cookies for everybody (tcp_syncookies of ip-sysctl).
func (b *besieged) plain(ctx context.Context) error {
	if err := ip(ctx, "-n", plainNS, "route", "add", flood.Strangers.String(), "via", addressIn(10, 1).String()); err != nil {
		return err
	}
	for _, args := range [][]string{{"rule", "add", "fwmark", "1", "lookup", "100"}, {"route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100"}} {
		if err := ip(ctx, append([]string{"-n", plainNS}, args...)...); err != nil {
			return err
		}
	}
	return inNamespace(plainNS, func() (err error) {
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", []byte("2"), 0); err != nil {
			return fmt.Errorf("let the kernel send cookies: %w", err)
		}
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			return errors.Join(c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) }), failed)
		}}
		lc.SetMultipathTCP(false)
		if b.listens, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(plainAddress, synPort).String()); err != nil {
			return fmt.Errorf("listen in %s: %w", plainNS, err)
		}
		return takeFrames(plainName)
	})
}

func (b *besieged) stop() error {
	var errs []error
	if b.listens != nil {
		errs = append(errs, b.listens.Close())
	}
	for _, m := range b.meters {
		errs = append(errs, inNamespace(attackerNS, m.Close))
	}
	if b.edge != nil {
		errs = append(errs, b.edge.stop())
	}
	return errors.Join(append(errs, guardedEngine.forget())...)
}

// ban turns the attackers' network away.
func ban(ctx context.Context, e engine) error {
	l := edgelink.New(e.socket())
	if err := l.SetBans(ctx, []plan.Ban{{Prefix: turnedAway}}); err != nil {
		return fmt.Errorf("ban %s: %w", turnedAway, err)
	}
	return nil
}

// list turns the attackers' network away by a list, whose other prefixes are anywhere, instead of by a ban.
func list(ctx context.Context, e engine, prefixes int) (undo func() error, err error) {
	all := make([]netip.Prefix, 0, prefixes)
	first := turnedAway.Addr().As4()
	for i := range min(prefixes, 1<<(24-turnedAway.Bits())) {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{first[0], first[1], first[2] + byte(i)}), 24)) //nolint:gosec // 128 of them
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	for len(all) < prefixes {
		n := random.Uint32()
		at := netip.AddrFrom4([4]byte{1 + byte(n>>24)%190, byte(n >> 16), byte(n >> 8), byte(n)})
		all = append(all, netip.PrefixFrom(at, 24+random.IntN(9)).Masked())
	}
	b := lists.NewBuilder()
	b.Layer(lists.Entries(all, b.Class(lists.Class{Kind: lists.KindList, Name: "bench"})))
	l := edgelink.New(e.socket())
	if err := errors.Join(l.SetBans(ctx, nil), l.SetLists(ctx, b.Table().Encode())); err != nil {
		return nil, fmt.Errorf("turn the attackers away by a list: %w", err)
	}
	return func() error {
		return errors.Join(l.SetLists(ctx, lists.NewBuilder().Table().Encode()), ban(ctx, e))
	}, nil
}

// takeFrames lets a veth take the attackers' frames, which otherwise needs a program at it: GRO makes it poll, as a network card
// does.
func takeFrames(name string) error {
	if _, err := lab.Ethtool(name, unix.ETHTOOL_SGRO, 1); err != nil {
		return fmt.Errorf("turn GRO on: %w", err)
	}
	return nil
}

// receiver finds the kernel thread that receives for an interface, whose name nobody else's begins with.
func receiver(name string) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		comm, err := os.ReadFile("/proc/" + e.Name() + "/comm")
		if err == nil && strings.HasPrefix(string(comm), "napi/"+name+"-") {
			var tid int
			_, err := fmt.Sscan(e.Name(), &tid)
			return tid, err
		}
	}
	return 0, fmt.Errorf("find the thread that receives for %s: not there", name)
}
