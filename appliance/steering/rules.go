package steering

import (
	"fmt"
	"net/netip"

	"breakwater/appliance/plan"
)

// chain is one iptables chain. Its rules are written exactly as `iptables -S` prints them, without "-A NAME ":
// so that what is wanted and what is there can be compared as text.
type chain struct {
	name  string
	rules []string
}

// hooks are the only rules in chains that are not ours. They are put first: a rule of somebody else that accepts
// would otherwise let packets around us. There is one hook and not one more in INPUT, because each packet of a session
// pays for every hook it passes: measured, a second one costs a message as much as a system call of the relay.
var hooks = []chain{
	{"PREROUTING", []string{"-j " + chainSteer}},
}

// chains are the chains of one family in the order in which they can be made. present are the edge addresses that
// the box may have: those of w, and while it changes those that were before.
func (w familyWish) chains(f family, present []netip.Prefix) []chain {
	if !w.wanted {
		return nil
	}
	own := len(w.own) > 0
	return []chain{
		divertChain(),
		ownChain(),
		icmpChain(f),
		tproxyChain(f, own),
		steerChain(f, w.interfaces, plan.Cover(present), own, w.transparent),
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
// The order matters:
//  1. The packets of sessions, nearly all there are, take the shortest way: exactly this connection has a
//     transparent socket. They leave before anything else is looked up, and without TPROXY, whose packets miss the
//     kernel's early demultiplexing and its cached route. A mark that one has changes nothing: it goes to its socket.
//     A SYN is left to TPROXY, as its socket may be one in TIME_WAIT.
//  2. The first packets of a connection that SYN cookies have let in (appliance/kernel) come with the mark, and with a socket
//     in the making, which TPROXY would take away. From outside nothing has a mark, and without SYN nothing begins.
//  3. Any other mark that is on a packet already is worth nothing. From the box itself (SO_MARK) it would be delivered to
//     any local service, so it is dropped; on others it is cleared.
//  4. New ones on an edge interface: BREAKWATER-TPROXY, which never returns TCP or UDP.
//  5. With transparent, replies of origins to foreign addresses, on any interface (an origin may sit behind the edge
//     interface). The match is used without --nowildcard, on purpose: that would also accept a socket bound to any
//     address, and hand it foreign traffic. ICMP matches by the packet quoted inside, so that "fragmentation needed"
//     reaches the socket.
//  6. What is for no edge address, as the other replies of origins are, leaves: by one comparison, or by a lookup where
//     edge addresses lie around it.
//  7. An edge address by any other way, another interface or the box itself, leads to no local service.
func steerChain(f family, interfaces []string, within netip.Prefix, own, transparent bool) chain {
	session := "ACCEPT" // its edge address is local
	if transparent {
		session = chainDivert // its address may be a foreign one, where an origin sits behind the edge interface
	}
	c := chain{name: chainSteer}
	for _, i := range interfaces {
		c.rules = append(c.rules, fmt.Sprintf("-i %s %s %s -j %s", i, notSYN, ourSock, session))
	}
	for _, i := range interfaces {
		c.rules = append(c.rules, fmt.Sprintf("-i %s %s %s -j ACCEPT", i, notSYN, marked()))
	}
	c.rules = append(c.rules,
		"-i lo "+marked()+" -j DROP",
		fmt.Sprintf("%s -j MARK --set-xmark 0x0/%#x", marked(), Mask))
	for _, i := range interfaces {
		c.rules = append(c.rules, fmt.Sprintf("-i %s %s -j %s", i, inSet(f, setEdge), chainTProxy))
	}
	if transparent {
		for _, p := range []string{"-p tcp", "-p udp", icmp(f)} {
			c.rules = append(c.rules, fmt.Sprintf("%s %s -j %s", p, ourSock, chainDivert))
		}
	}
	if within.Bits() > 0 {
		c.rules = append(c.rules, fmt.Sprintf("! -d %s -j RETURN", within))
	}
	c.rules = append(c.rules,
		"-m set ! --match-set "+f.set(setEdge)+" dst -j RETURN",
		icmp(f)+" -j "+chainICMP)
	c.rules = append(c.rules, ownRule(f, own)...)
	c.rules = append(c.rules, "-j DROP")
	return c
}

// tproxyChain gives new packets for edge addresses to the listeners.
//
//  1. ICMP is filtered and goes on to the kernel, which answers pings and tells our sockets about errors.
//  2. An edge address that is also the box's own: the box's own connections are left alone.
//  3. TPROXY looks for a socket of this connection, then for the listener; it accepts, or drops when there is none.
//  4. Everything else is dropped: other protocols have no listener, and would end in forwarding or a local service.
func tproxyChain(f family, own bool) chain {
	target := fmt.Sprintf("-j TPROXY --on-port %d --on-ip %s --tproxy-mark %#x/%#x",
		ListenPort, [...]string{"127.0.0.1", "::1"}[f], Mark, Mask)
	rules := append([]string{icmp(f) + " -j " + chainICMP}, ownRule(f, own)...)
	return chain{chainTProxy, append(rules, "-p tcp "+target, "-p udp "+target, "-j DROP")}
}

// ownRule leaves the box's own connections alone, where an edge address is also its own. Most boxes have none, and
// new connections and datagrams need not pay for the lookup.
func ownRule(f family, own bool) []string {
	if !own {
		return nil
	}
	return []string{inSet(f, setOwn) + " -j " + chainOwn}
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

// icmpChain is the ICMP that an edge address takes: errors about our own packets (path MTU above all), pings, the
// answers to the box's pings, and for IPv6 neighbour solicitation and advertisement to the address itself (the
// kernel insists on hop limit 255). The solicitations of RFC 4861 to the multicast group are not for an edge
// address and do not come here. Redirects are left out: a neighbour must not change our routes. A ping is marked, as a
// firewall of the box may let nobody ping the box's own addresses.
func icmpChain(f family) chain {
	match, echo, types := "-m icmp --icmp-type", 8, []int{0, 3, 11, 12}
	if f == ipv6 {
		match, echo, types = "-m icmp6 --icmpv6-type", 128, []int{1, 2, 3, 4, 129, 135, 136}
	}
	c := chain{name: chainICMP}
	for _, t := range types {
		c.rules = append(c.rules, fmt.Sprintf("%s %s %d -j ACCEPT", icmp(f), match, t))
	}
	limit := fmt.Sprintf("-m limit --limit %d/sec --limit-burst %[1]d", echoPerSecond)
	c.rules = append(c.rules, fmt.Sprintf("%s %s %d %s -j %s", icmp(f), match, echo, limit, chainDivert), "-j DROP")
	return c
}
