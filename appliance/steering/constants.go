package steering

import "time"

// Mark and Mask are the packet mark that sends a packet to the transparent listeners. The top byte is free in
// what else marks packets on such a box: Kubernetes uses 0x4000 and 0x8000, Tailscale 0xff0000, Cilium 0x0f00,
// wg-quick the number of a UDP port. Whoever marks packets before us (SYN cookies) sets exactly Mark within Mask.
const (
	Mark uint32 = 0xb7000000
	Mask uint32 = 0xff000000
)

// Table is the routing table in which every destination is local. The number is free in iproute2's rt_tables,
// and below 256, so that it fits the old field of the route message as well.
const Table = 0xb7

// Protocol is the origin (rtm_protocol, ifa_proto) of every route, rule and address of ours. With it Clear knows
// them without a state file. linux/rtnetlink.h has no daemon at this number.
const Protocol = 0xb7

// RulePriority comes after the local table (0), which knows the edge addresses by itself, and before everything
// that an operator or a VPN has (from 1000 on), because a packet that belongs to a socket must not be routed away.
const RulePriority = 183

// ListenPort is the one port of the transparent listeners, on 127.0.0.1 and ::1, TCP and UDP. It is outside of
// Linux's ephemeral range (32768 to 60999), so that no outgoing connection can hold it.
const ListenPort uint16 = 61000

// The chains, all in the mangle table, as TPROXY works in no other. Names have at most 28 characters (XT_EXTENSION_MAXNAMELEN).
const (
	table       = "mangle"
	prefix      = "BREAKWATER-" // of every chain and set of ours
	chainSteer  = "BREAKWATER-STEER"
	chainTProxy = "BREAKWATER-TPROXY"
	chainOwn    = "BREAKWATER-OWN"
	chainDivert = "BREAKWATER-DIVERT"
	chainICMP   = "BREAKWATER-ICMP"
)

// The sets. "4" or "6" is appended: an ipset holds one family.
const (
	setEdge = "BREAKWATER-EDGE" // every edge address
	setOwn  = "BREAKWATER-OWN"  // those of them that the box has for itself, too
)

// echoPerSecond bounds the pings that edge addresses answer, all clients together. Far more than any monitoring
// needs, and at 100 bytes less than 1 Mbit/s: a ping flood gets nothing back that is worth a spoofed source.
const echoPerSecond = 1000

// lockSeconds is how long iptables waits for another program that changes tables, before Apply gives up.
const lockSeconds = 5

// dumpTries is how often a netlink dump is repeated when the kernel says that its answer mixes two states.
const dumpTries = 5

// A set cannot be destroyed until the kernel has freed the last rule that names it, and nf_tables frees rules
// in the background. One second is a guess with room: the tests, which clear some hundred times, never needed it all.
const (
	busyTries = 50
	busyPause = 20 * time.Millisecond
)

// probeTimeout bounds ProbeReturn when its context has no deadline: three SYNs (0, 1 and 3 s) may go out.
const probeTimeout = 4 * time.Second
