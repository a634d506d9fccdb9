package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/lists"
	"breakwater/appliance/plan"
	"breakwater/test/attack/flood"
)

// A flood is measured in another way: there is no client and no origin, and no box is asked for anything. What is counted is
// the CPU time of the thread that receives for a veth (threaded NAPI, Documentation/networking/napi.rst) by the packets that it
// took, on the measured core; the attacker is on the other one. So what is before the box costs nothing.

// The names of the tests of floods, and of what stops them.
const (
	testDrops = "dropped packets"
	testSYNs  = "SYNs"

	targetNothing  = "nothing"
	targetRaw      = "iptables raw"
	targetIPSet    = "ipset of 100,000"
	targetNetdev   = "nft ingress"
	targetFloor    = "XDP that drops all"
	targetCookies  = "kernel cookies"
	targetTProxy   = "kernel cookies, TPROXY"
	targetShielded = "breakwater shield"
	targetListed   = "breakwater list of %d"
)

// stopper is one way to meet a flood, in one of two boxes.
type stopper struct {
	name     string
	guarded  bool          // by breakwater; otherwise it is the box without anything
	up, down [][]string    // commands within the box
	input    func() string // of the first command of up
	lets     bool          // it lets packets pass: there is nothing that counts them
	floor    bool          // a program drops all and looks at nothing: no program can cost less
	listed   int           // not by a ban, but by a list of so many prefixes
}

// floodTest is a flood and those that meet it.
type floodTest struct {
	name, about string
	shape       func(to netip.Addr) flood.Shape
	stoppers    []stopper
	answered    bool // packets are to have an answer, see enoughAnswers; otherwise none is to get past what drops them
}

// enoughAnswers is how many packets a second are to have an answer where they are too many for the shield to answer each.
const enoughAnswers = 100_000

// Of the network of attackers one half is turned away, and the other asks for connections.
var (
	turnedAway = netip.PrefixFrom(flood.Strangers.Addr(), flood.Strangers.Bits()+1)
	asking     = netip.PrefixFrom(netip.MustParseAddr("198.19.128.0"), flood.Strangers.Bits()+1)
)

const synPort = 7100

func floodTests() []floodTest {
	strangers := turnedAway.String()
	list := func() string {
		var b strings.Builder
		b.WriteString("create bench hash:net maxelem 200000\nadd bench " + strangers + "\n")
		for i := range 100_000 {
			fmt.Fprintf(&b, "add bench 10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
		}
		return b.String()
	}
	raw := []string{"iptables", "-t", "raw", "-A", "PREROUTING", "-s", strangers, "-j", "DROP"}
	set := []string{"iptables", "-t", "raw", "-A", "PREROUTING", "-m", "set", "--match-set", "bench", "src", "-j", "DROP"}
	undo := []string{"iptables", "-t", "raw", "-F"}
	// What a box that covers every port has to have, whoever answers.
	tproxy := []string{"iptables", "-t", "mangle", "-A", "PREROUTING", "-i", plainName, "-p", "tcp", "-j", "TPROXY", "--on-port", strconv.Itoa(synPort), "--tproxy-mark", "1"}
	nft := []string{"nft", "add table netdev bench; add chain netdev bench in { type filter hook ingress device " + plainName + " priority 0; }; " +
		"add rule netdev bench in ip saddr " + strangers + " drop"}
	return []floodTest{
		{name: testDrops, about: "64 bytes of UDP from random addresses of a network that is turned away",
			shape: func(to netip.Addr) flood.Shape { return flood.UDP(from(turnedAway, to, 27015), make([]byte, 22)) },
			stoppers: []stopper{
				{name: targetNothing, lets: true},
				{name: targetRaw, up: [][]string{raw}, down: [][]string{undo}},
				{name: targetIPSet, up: [][]string{{"ipset", "restore"}, set}, input: list, down: [][]string{undo, {"ipset", "destroy", "bench"}}},
				{name: targetNetdev, up: [][]string{nft}, down: [][]string{{"nft", "delete", "table", "netdev", "bench"}}},
				{name: targetFloor, floor: true},
				{name: targetShielded, guarded: true},
				listOf(1_000), listOf(100_000), listOf(1_000_000),
			}},
		{name: testSYNs, about: "requests for connections from random addresses, of which each gets a SYN cookie, up to 262,144 a second", answered: true,
			shape: func(to netip.Addr) flood.Shape { return flood.TCP(from(asking, to, synPort), flood.SYN, nil) },
			stoppers: []stopper{
				{name: targetCookies},
				{name: targetTProxy, up: [][]string{tproxy}, down: [][]string{{"iptables", "-t", "mangle", "-F"}}},
				{name: targetShielded, guarded: true},
			}},
	}
}

func listOf(prefixes int) stopper {
	return stopper{name: fmt.Sprintf(targetListed, prefixes), guarded: true, listed: prefixes}
}

// selectFloods are those that the command line chooses.
func selectFloods(o options) (list []floodTest) {
	for _, f := range floodTests() {
		f.stoppers = slices.DeleteFunc(f.stoppers, func(s stopper) bool { return !chosen(o.targets, s.name) })
		if chosen(o.tests, f.name) && len(f.stoppers) > 0 {
			list = append(list, f)
		}
	}
	return list
}

func from(network netip.Prefix, to netip.Addr, port uint16) flood.Ends {
	return flood.Ends{From: network, To: netip.PrefixFrom(to, to.BitLen()), ToPort: port}
}

// besieged is the two boxes.
type besieged struct {
	core    int
	edge    *process
	target  target
	listens net.Listener // without breakwater
	meters  map[bool]*flood.Meter
	thread  map[bool]int // which receives, by guarded
}

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
// does (SIOCETHTOOL with struct ethtool_value of linux/ethtool.h).
func takeFrames(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("turn GRO on: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	value := struct{ command, value uint32 }{unix.ETHTOOL_SGRO, 1}
	var request struct { // struct ifreq with ifr_data
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return fmt.Errorf("turn GRO on: %w", errno)
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

// floods measures everything, interleaved.
func (b *besieged) floods(ctx context.Context, list []floodTest, rounds int, window time.Duration, progress func(string)) (results, error) {
	all := results{}
	for round := range rounds {
		for _, test := range list {
			progress(fmt.Sprintf("round %d of %d: %s", round+1, rounds, test.name))
			for _, s := range test.stoppers {
				cell, err := b.meet(ctx, test, s, window)
				if err != nil {
					return nil, fmt.Errorf("%s by %s: %w", test.name, s.name, err)
				}
				cell.Round = round
				all.add(test.name, s.name, cell)
			}
		}
	}
	return all, nil
}

// arming is how long defences take that rest in peace time.
const arming = 1500 * time.Millisecond

// meet is one cell.
func (b *besieged) meet(ctx context.Context, test floodTest, s stopper, window time.Duration) (cell sample, err error) {
	ns, name, by, to := plainNS, plainName, "plain", plainAddress
	if s.guarded {
		ns, name, by, to = guardedNS, wanName, "guarded", guardedAddress
	}
	if err := s.commands(ctx, ns, s.up); err != nil {
		return cell, err
	}
	defer func() { err = errors.Join(err, s.commands(ctx, ns, s.down)) }()
	if s.listed > 0 {
		undo, err := list(ctx, guardedEngine, s.listed)
		if err != nil {
			return cell, err
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	if s.floor {
		var undo func() error
		err := inNamespace(ns, func() (err error) {
			undo, err = flood.DropAll(name)
			return err
		})
		if err != nil {
			return cell, err
		}
		defer func() { err = errors.Join(err, inNamespace(ns, undo)) }()
	}
	var f *flood.Flood
	err = inNamespace(attackerNS, func() (err error) {
		f, err = flood.Start(flood.Options{Interface: by, For: window + time.Minute}, test.shape(to))
		return err
	})
	if err != nil {
		return cell, err
	}
	time.Sleep(arming)
	before, err := b.look(ns, name, s.guarded)
	if err != nil {
		return cell, errors.Join(err, end(f))
	}
	time.Sleep(window)
	after, err := b.look(ns, name, s.guarded)
	if err := errors.Join(err, end(f)); err != nil {
		return cell, err
	}
	cell.Units, cell.Took, cell.SoftIRQ = after.packets-before.packets, after.at.Sub(before.at), after.cpu-before.cpu
	past, back := after.past-before.past, after.back-before.back
	switch {
	case cell.Units < 1000:
		cell.Error = fmt.Sprintf("%d packets came", cell.Units)
	case test.answered && back < min(cell.Units*9/10, enoughAnswers*int64(window)/int64(time.Second)):
		cell.Error = fmt.Sprintf("%d of %d packets were answered", back, cell.Units)
	case !test.answered && s.lets != (past > cell.Units/100):
		cell.Error = fmt.Sprintf("%d of %d packets got past it", past, cell.Units)
	default:
		cell.Cost = float64(cell.SoftIRQ) / float64(cell.Units)
	}
	return cell, nil
}

func end(f *flood.Flood) error {
	err := f.Stop()
	_, waited := f.Wait()
	return errors.Join(err, waited)
}

func (s stopper) commands(ctx context.Context, ns string, list [][]string) error {
	for i, command := range list {
		cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, command...)...)
		if i == 0 && s.input != nil {
			cmd.Stdin = strings.NewReader(s.input())
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s in %s: %w: %s", strings.Join(command, " "), ns, err, out)
		}
	}
	return nil
}

// sight is what a box has done until a moment.
type sight struct {
	at                 time.Time
	cpu, packets, past int64 // ns of the thread; received; seen by UDP
	back               int64 // packets to attackers
}

func (b *besieged) look(ns, name string, guarded bool) (s sight, err error) {
	s.at = time.Now()
	if s.cpu, err = taskRunTime(b.thread[guarded]); err != nil {
		return s, err
	}
	back, _, err := b.meters[guarded].Back()
	if err != nil {
		return s, fmt.Errorf("read the meter: %w", err)
	}
	s.back = int64(back) //nolint:gosec // as packets
	err = inNamespace(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		s.packets = int64(l.Attrs().Statistics.RxPackets) //nolint:gosec // it would take ages
		s.past, err = deliveredDatagrams()
		return err
	})
	return s, err
}

// deliveredDatagrams is how many datagrams UDP was given, for a socket or none (proc_net_snmp of proc_pid_net(5)).
func deliveredDatagrams() (int64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, fmt.Errorf("read the counters of UDP: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var in, noPorts int64
		if n, _ := fmt.Sscanf(line, "Udp: %d %d", &in, &noPorts); n == 2 {
			return in + noPorts, nil
		}
	}
	return 0, errors.New("read the counters of UDP: there are none")
}
