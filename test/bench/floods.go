package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"breakwater/test/attack/flood"
)

// The names of the tests of floods, and of what stops them.
const (
	testDrops = "dropped packets"
	testSYNs  = "SYNs"

	targetNothing  = "nothing"
	targetRaw      = "iptables raw"
	targetIPSet    = "ipset of 100,000"
	targetNetdev   = "nft ingress"
	targetDropAll  = "XDP that drops all"
	targetAnswers  = "XDP that answers all"
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
	floor    flood.Floor   // a program instead
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
				{name: targetDropAll, floor: flood.DropAll},
				{name: targetShielded, guarded: true},
				listOf(1_000), listOf(100_000), listOf(1_000_000),
			}},
		{name: testSYNs, about: "requests for connections from random addresses, of which each gets a SYN cookie, up to 262,144 a second", answered: true,
			shape: func(to netip.Addr) flood.Shape { return flood.TCP(from(asking, to, synPort), flood.SYN, nil) },
			stoppers: []stopper{
				{name: targetCookies},
				{name: targetTProxy, up: [][]string{tproxy}, down: [][]string{{"iptables", "-t", "mangle", "-F"}}},
				{name: targetAnswers, floor: flood.AnswerAll},
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
