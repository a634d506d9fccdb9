package steering

import "fmt"

// chain is one iptables chain. Its rules are written exactly as `iptables -S` prints them, without "-A NAME ":
// so that what is wanted and what is there can be compared as text.
type chain struct {
	name  string
	rules []string
}

// hooks are the only rules in chains that are not ours. They are put first: a rule of somebody else that accepts
// would otherwise let packets around us.
var hooks = []chain{
	{"PREROUTING", []string{"-j " + chainSteer}},
	{"INPUT", []string{"-j " + chainInput}},
}

// chains are the chains of one family in the order in which they can be made.
func chains(f family, interfaces []string, transparent bool) []chain {
	return []chain{
		divertChain(),
		ownChain(),
		tproxyChain(f),
		icmpChain(f),
		inputChain(f),
		steerChain(f, interfaces, transparent),
	}
}

// Fragments of rules. notSYN is what `! --syn` prints as: everything but the first packet of a connection.
const (
	notSYN  = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
	ourSock = "-m socket --transparent"
)

func marked() string { return fmt.Sprintf("-m mark --mark %#x/%#x", Mark, Mask) }

func inSet(f family, name string) string { return "-m set --match-set " + f.set(name) + " dst" }

func icmp(f family) string { return [...]string{"-p icmp", "-p ipv6-icmp"}[f] }

// steerChain picks what is steered. Everything else leaves it untouched: management traffic, the answers to the
// box's own connections, what the box forwards.
//
// With transparent, replies of origins to foreign addresses come last, on any interface (an origin may sit behind
// the edge interface). The match looks for a transparent socket of exactly this connection. It is used without
// --nowildcard, on purpose: that would also accept a socket bound to any address, and hand it foreign traffic.
// ICMP matches by the packet quoted inside, so that "fragmentation needed" reaches the socket.
func steerChain(f family, interfaces []string, transparent bool) chain {
	c := chain{name: chainSteer}
	for _, i := range interfaces {
		c.rules = append(c.rules, fmt.Sprintf("-i %s %s -j %s", i, inSet(f, setEdge), chainTProxy))
	}
	if transparent {
		for _, p := range []string{"-p tcp", "-p udp", icmp(f)} {
			c.rules = append(c.rules, fmt.Sprintf("%s %s -j %s", p, ourSock, chainDivert))
		}
	}
	return c
}

// tproxyChain gives packets for edge addresses to the listeners. It never returns TCP or UDP.
//
// The order matters:
//  1. ICMP goes on to the kernel, which answers pings and tells our sockets about errors; BREAKWATER-ICMP filters
//     it later, where neighbour discovery and everything that came by other interfaces passes as well.
//  2. An edge address that is also the box's own: the box's own connections are left alone.
//  3. TPROXY looks for an established socket, then for the listener; it accepts, or drops when there is none.
//  4. Everything else is dropped: other protocols have no listener, and would end in forwarding or a local service.
//
// SYN cookies answered in XDP mark a packet and give it its socket before it comes here. TPROXY would take that
// socket away (it orphans the packet), so their rule, `mark Mark/Mask -j ACCEPT`, belongs between 1 and 2. No
// neighbour can forge that: a mark is a field of the kernel's packet, not of the wire.
func tproxyChain(f family) chain {
	target := fmt.Sprintf("-j TPROXY --on-port %d --on-ip %s --tproxy-mark %#x/%#x",
		ListenPort, [...]string{"127.0.0.1", "::1"}[f], Mark, Mask)
	return chain{chainTProxy, []string{
		icmp(f) + " -j RETURN",
		inSet(f, setOwn) + " -j " + chainOwn,
		"-p tcp " + target,
		"-p udp " + target,
		"-j DROP",
	}}
}

// ownChain is for edge addresses that the box has for itself, as a box with a single address does: it lets
// through what belongs to the box's own connections. TPROXY alone would find their sockets, see that they are not
// transparent, and drop.
//
// A socket match ignores sockets bound to any address. For TCP a SYN never passes, so no service can be reached.
// UDP has no SYN: a UDP service bound to exactly this address stays reachable. Only an operator can do that, and
// only on an address that was the box's before it was an edge address.
func ownChain() chain {
	return chain{chainOwn, []string{
		ourSock + " -j " + chainDivert,
		notSYN + " -m socket -j ACCEPT",
		"-p udp -m socket -j ACCEPT",
	}}
}

// divertChain makes a packet of a transparent socket local.
func divertChain() chain {
	return chain{chainDivert, []string{
		fmt.Sprintf("-j MARK --set-xmark %#x/%#x", Mark, Mask),
		"-j ACCEPT",
	}}
}

// inputChain is the last door: whatever way a packet took, the mark is worth nothing without a transparent socket,
// and an edge address leads to no local service. Packets from other interfaces and from the box itself meet it
// here for the first time. (SYN cookies: their request socket does not say "transparent"; a rule for marked
// packets that are not a SYN belongs behind the first.)
func inputChain(f family) chain {
	return chain{chainInput, []string{
		marked() + " " + ourSock + " -j RETURN",
		marked() + " -j DROP",
		"-m set ! --match-set " + f.set(setEdge) + " dst -j RETURN",
		icmp(f) + " -g " + chainICMP,
		notSYN + " " + inSet(f, setOwn) + " -m socket -j RETURN",
		"-p udp " + inSet(f, setOwn) + " -m socket -j RETURN",
		"-j DROP",
	}}
}

// icmpChain is the ICMP that an edge address takes: errors about our own packets (path MTU above all), pings, the
// answers to the box's pings, and for IPv6 neighbour solicitation and advertisement to the address itself (the
// kernel insists on hop limit 255). The solicitations of RFC 4861 to the multicast group are not for an edge
// address and do not come here. Redirects are left out: a neighbour must not change our routes.
func icmpChain(f family) chain {
	match, echo, types := "-m icmp --icmp-type", 8, []int{0, 3, 11, 12}
	if f == ipv6 {
		match, echo, types = "-m icmp6 --icmpv6-type", 128, []int{1, 2, 3, 4, 129, 135, 136}
	}
	c := chain{name: chainICMP}
	for _, t := range types {
		c.rules = append(c.rules, fmt.Sprintf("%s %s %d -j RETURN", icmp(f), match, t))
	}
	limit := fmt.Sprintf("-m limit --limit %d/sec --limit-burst %[1]d", echoPerSecond)
	c.rules = append(c.rules, fmt.Sprintf("%s %s %d %s -j RETURN", icmp(f), match, echo, limit), "-j DROP")
	return c
}
