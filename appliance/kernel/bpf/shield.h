/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The shield: what is dropped before the kernel spends anything on it. It judges packets for edge addresses, and lets all
 * others pass. The order is that of cost, and sessions come before everybody who is new. */
#ifndef SHIELD_H
#define SHIELD_H

#include "admit.h"
#include "answer.h"
#include "bloom.h"
#include "choose.h"
#include "udp.h"
#include "frame.h"
#include "guard.h"
#include "limit.h"
#include "lists.h"

/* One packet in so many of TCP without a session of the kernel path is looked up among the sockets, until too many have
 * none: then each is. */
#define STRAY_SAMPLE 32

/* So many strays a second arm that, and half as many keep it armed. Players whose sessions have ended leave a few. */
#define STRAY_RATE 2000

/* Datagrams from high ports that reflectors have; fewer are clients whose network gave them such a port. */
#define REFLECTION_RATE 200

/* How long something stays armed. */
#define ARMED (10 * SECOND)

/* What passes a second and core, although it is of no use: a client that is banned or dials a port without a service is told so
 * by the user path, as long as these are few. */
#define TRICKLE_REFUSALS 100
#define TRICKLE_CONTROL 1000
#define TRICKLE_PIECES 5000
#define TRICKLE_SAMPLED 50

/* pressed counts n more, and tells whether that is, or was a moment ago, more than rate a second. */
static __always_inline bool pressed(struct gauge *g, __u64 now, __u64 n, __u64 rate)
{
	begin_second(g, now);
	g->count += n;
	if (g->count > (now < g->until ? rate / 2 : rate))
		g->until = now + ARMED;
	return now < g->until;
}

static __always_inline struct pressure *pressure_of(__u32 service)
{
	struct pressure *p = bpf_map_lookup_elem(&pressures, &service);
	struct pressure none = {};

	if (p)
		return p;
	bpf_map_update_elem(&pressures, &service, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&pressures, &service);
}

/* What is known of a packet besides what it says of itself. */
struct finding {
	__u64 now;     /* by the clock that is read at once, and goes forward some hundred times a second */
	__u32 service; /* number */
	__u32 vector;
	__u32 mode;
	__u32 weight;  /* how many packets it stands for */
	__u32 limits;  /* as of shield_configuration */
	__u32 stranger; /* not 0: it has neither session nor socket */
};

/* keep_sample shows the packet to whoever looks. */
static __always_inline void keep_sample(struct xdp_md *ctx, struct frame *f, struct finding *n, __u32 reason)
{
	struct sample *s;
	__u32 size;

	if (!trickles_through(TRICKLE_SAMPLES + n->vector, n->now, TRICKLE_SAMPLED))
		return;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s)
		return;
	s->time = bpf_ktime_get_ns();
	s->ifindex = ctx->ingress_ifindex;
	s->service = n->service;
	s->vector = n->vector;
	s->reason = reason;
	s->would = reason && n->mode == SHIELD_MONITOR;
	s->zero = 0;
	s->length = f->length;
	size = bounded(f->length < SAMPLE_BYTES ? f->length : SAMPLE_BYTES, SAMPLE_BYTES);
	s->size = size;
	__builtin_memset(s->bytes, 0, sizeof(s->bytes));
	if (!size || bpf_xdp_load_bytes(ctx, 0, s->bytes, size))
		s->size = 0;
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
}

static __always_inline __u32 count_of(struct frame *f)
{
	switch (f->protocol) {
	case IPPROTO_TCP:
		return COUNT_TCP;
	case IPPROTO_UDP:
		return COUNT_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return COUNT_ICMP;
	}
	return COUNT_OTHER;
}

static __always_inline void count_vector(struct frame *f, struct finding *n, bool dropped, bool would)
{
	struct vector_key key = {.service = n->service, .vector = n->vector};
	struct vector_count *c = bpf_map_lookup_elem(&vectors, &key);
	struct vector_count none = {};

	if (!c) {
		bpf_map_update_elem(&vectors, &key, &none, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&vectors, &key);
		if (!c)
			return;
	}
	c->packets += n->weight;
	c->bytes += (__u64)n->weight * f->length;
	c->dropped += dropped;
	c->would += would;
}

/* pass lets a packet in that belongs to no session. */
static __always_inline int pass(struct xdp_md *ctx, struct frame *f, struct finding *n)
{
	count_vector(f, n, false, false);
	keep_sample(ctx, f, n, 0);
	return XDP_PASS;
}

/* turn_away drops a packet, unless nothing is to be dropped. */
static __always_inline int turn_away(struct xdp_md *ctx, struct frame *f, struct finding *n, __u32 reason)
{
	bool monitor = n->mode == SHIELD_MONITOR;
	__u32 i = count_of(f) * WHY_COUNT + reason + (monitor ? COUNT_PROTOCOLS * WHY_COUNT : 0);
	__u64 *drops = bpf_map_lookup_elem(&shield_drops, &i);

	if (drops)
		(*drops)++;
	count_vector(f, n, !monitor, monitor);
	keep_sample(ctx, f, n, reason);
	return monitor ? XDP_PASS : XDP_DROP;
}

/* martian tells whether no packet on a wire can have this source (RFC 1122, 3.2.1.3; RFC 4291, 2.5 and 2.7). */
static __always_inline bool martian(struct frame *f)
{
	const __u64 *words = (const __u64 *)f->tuple.src;
	const __u64 *to = (const __u64 *)f->tuple.dst;
	__u8 first = f->tuple.src[12];

	if (words[0] == to[0] && words[1] == to[1])
		return true;
	if (f->v4)
		return first == 0 || first == 127 || first >= 224;
	return f->tuple.src[0] == 0xff || (words[0] == 0 && bpf_be64_to_cpu(words[1]) <= 1);
}

static __always_inline bool in4(__u32 address, __u32 prefix, __u32 bits)
{
	return (address ^ prefix) >> (32 - bits) == 0;
}

/* bogon tells whether the internet routes nothing to this source (RFC 6890). */
static __always_inline bool bogon(struct frame *f)
{
	__u32 a = bpf_ntohl(*(__u32 *)(f->tuple.src + 12));

	if (!f->v4)
		return f->tuple.src[0] >> 5 != 1 || bpf_ntohl(*(__u32 *)f->tuple.src) == 0x20010db8;
	return in4(a, 0x0a000000, 8) || in4(a, 0x64400000, 10) || in4(a, 0xa9fe0000, 16) || in4(a, 0xac100000, 12) ||
	       in4(a, 0xc0000000, 24) || in4(a, 0xc0000200, 24) || in4(a, 0xc0a80000, 16) || in4(a, 0xc6120000, 15) ||
	       in4(a, 0xc6336400, 24) || in4(a, 0xcb007100, 24);
}

/* neighbour tells whether it is of IPv6's neighbour discovery, without which the wire is dead (RFC 4861, 7.1: from this wire). */
static __always_inline bool neighbour(struct frame *f)
{
	return f->protocol == IPPROTO_ICMPV6 && f->type >= 133 && f->type <= 137 && f->ttl == 255;
}

static __always_inline bool echo(struct frame *f)
{
	return f->type == (f->v4 ? 8 : 128);
}

/* reflector: 1 for the ports below 1024 of services that answer more than they are asked and never ask, 2 for those above, which
 * a network may give a client by chance (US-CERT TA14-017A). */
static __always_inline int reflector(__u16 port)
{
	switch (port) {
	case 17:  /* qotd */
	case 19:  /* chargen */
	case 53:  /* DNS */
	case 69:  /* TFTP */
	case 111: /* portmap */
	case 123: /* NTP */
	case 137: /* NetBIOS */
	case 161: /* SNMP */
	case 389: /* CLDAP */
	case 427: /* SLP */
	case 520: /* RIP */
		return 1;
	case 1900:  /* SSDP */
	case 3283:  /* Apple remote desktop */
	case 3702:  /* WS-Discovery */
	case 5353:  /* mDNS */
	case 11211: /* memcached */
		return 2;
	}
	return 0;
}

/* open_socket tells whether a socket of the box has this connection. */
__noinline int open_socket(struct xdp_md *ctx, struct frame *f)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *s;
	__u32 size, state;

	if (!f)
		return false;
	size = socket_tuple(&t, &f->tuple);
	s = bpf_skc_lookup_tcp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!s)
		return false;
	state = s->state;
	bpf_sk_release(s);
	return state != BPF_TCP_LISTEN;
}

/* asked tells whether a connected socket of the box has asked for this datagram: it resolves names, or sets its clock, by an edge
 * address. Sockets of the user path are connected to origins only. */
static __always_inline bool asked(struct xdp_md *ctx, struct frame *f)
{
	struct bpf_sock_tuple t = {};
	__u32 size = socket_tuple(&t, &f->tuple), port;
	struct bpf_sock *s = bpf_sk_lookup_udp(ctx, &t, size, BPF_F_CURRENT_NETNS, 0);

	if (!s)
		return false;
	port = s->dst_port;
	bpf_sk_release(s);
	return port;
}

/* named tells the vector of a packet with ports, as far as it says by itself. */
static __always_inline __u32 named(struct frame *f)
{
	if (f->tuple.protocol == IPPROTO_UDP)
		return VECTOR_UDP;
	if ((f->flags & (SYN | ACK)) == SYN)
		return VECTOR_SYN;
	return f->flags & RST ? VECTOR_RST : f->flags & FIN ? VECTOR_FIN : VECTOR_ACK;
}

/* What a packet rule is compared with. */
struct match {
	struct frame *f;
	__u32 generation;
	__u32 first;
	__u32 action; /* RULE_* of the one that matches, + 1 */
	__u32 number;
	__u8 bytes[RULE_BYTES];
};

static long match_rule(__u32 i, struct match *m)
{
	struct packet_rule *r = entry(&packet_rules, m->generation, m->first + i);
	struct frame *f = m->f;
	__u16 port = bpf_ntohs(f->tuple.sport);
	__u64 *hits;
	__u32 number;

	if (!r || (r->protocol && r->protocol != f->tuple.protocol) || f->size < r->shortest || f->size > r->longest ||
	    port < r->first_port || port > r->last_port || f->ttl < r->lowest_ttl || f->ttl > r->highest_ttl || f->size < r->length)
		return 0;
	for (int n = 0; n < RULE_BYTES; n++)
		if ((m->bytes[n] ^ r->bytes[n]) & r->mask[n])
			return 0;
	number = r->number;
	hits = bpf_map_lookup_elem(&rule_hits, &number);
	if (hits)
		(*hits)++;
	if (r->action == RULE_COUNT)
		return 0;
	m->action = r->action + 1;
	return 1;
}

/* rules tells what the packet rules of a service say: RULE_* + 1; 0: nothing. */
static __always_inline __u32 rules(struct xdp_md *ctx, struct frame *f, struct guard *g, __u32 generation)
{
	struct match m = {.f = f, .generation = generation, .first = g->first_rule};
	__u32 size = bounded(f->size < RULE_BYTES ? f->size : RULE_BYTES, RULE_BYTES);

	if (!g->rules)
		return 0;
	if (size && bpf_xdp_load_bytes(ctx, f->payload, m.bytes, size))
		return 0;
	bpf_loop(g->rules, match_rule, &m, 0);
	return m.action;
}

/* query tells whether a datagram asks a game server about itself: Source and Quake (four 0xff), RakNet's unconnected ping,
 * GameSpy. */
static __always_inline bool query(struct xdp_md *ctx, struct frame *f)
{
	__u8 b[4];

	if (f->size < 4 || bpf_xdp_load_bytes(ctx, f->payload, b, 4))
		return false;
	if (*(__u32 *)b == 0xffffffff)
		return true;
	return (b[0] == 0x01 && (f->size == 33 || f->size == 25)) || (b[0] == 0xfe && b[1] == 0xfd);
}

/* begins judges what begins a session or flow. */
static __always_inline __u32 begins(struct frame *f, struct finding *n, struct guard *g, __u32 generation)
{
	struct limiting a = {.now = n->now, .generation = generation, .length = f->length, .service = n->service, .room = g->room, .flows = g->flows, .clients = g->clients};

	return limit_new(&f->tuple, &a);
}

/* too_much tells why a packet that begins nothing is more than its source may send. */
static __always_inline __u32 too_much(struct frame *f, __u64 now, __u32 generation, __u32 how)
{
	struct limiting a = {.now = now, .generation = generation, .length = f->length};

	__u32 why = limit_address(&f->tuple, &a, how);

	return why || how == TRUE_SOURCE ? why : limit_network(&f->tuple, &a);
}

/* flooded counts a SYN, and tells whether cookies are to answer. Once there are too many of this second, the count is only read:
 * cores need not share it. */
static __always_inline bool flooded(struct gauge *g, __u64 now, __u64 rate)
{
	begin_second(g, now);
	if (g->count <= rate)
		g->count++;
	if (g->count > (now < g->until ? rate / 2 : rate) && g->until < now + ARMED - SECOND / 8)
		g->until = now + ARMED;
	return now < g->until;
}

/* challenge_client answers a SYN by a cookie: the verdict, or XDP_ABORTED when the SYN is to go its usual way. So does one whose client
 * we know already: a socket in TIME_WAIT takes it for the next connection (RFC 9293, 3.6.1). */
static __always_inline int challenge_client(struct xdp_md *ctx, struct frame *f, struct finding *n)
{
	__u32 zero = 0;
	struct cookie_state *s = bpf_map_lookup_elem(&cookie_states, &zero);

	if (!s || n->mode == SHIELD_MONITOR || !listening() || (!n->stranger && open_socket(ctx, f)))
		return XDP_ABORTED;
	if (!network_answers(&f->tuple, s->seed, n->now))
		return turn_away(ctx, f, n, WHY_NETWORK_RATE);
	if (!any_answers(n->now))
		return turn_away(ctx, f, n, WHY_NEW_CLIENTS);
	if (!answer_syn(ctx, f, n->now))
		return XDP_ABORTED;
	count_cookie(COOKIES_SENT);
	count_vector(f, n, false, false);
	return XDP_TX;
}

/* judge_syn judges the first packet of a connection. */
static __always_inline int judge_syn(struct xdp_md *ctx, struct frame *f, struct finding *n, struct pressure *p, struct guard *g, __u32 generation)
{
	__u32 why;

	if (from_us(&f->tuple, generation))
		return turn_away(ctx, f, n, WHY_BOGON);
	if (g->syn_rate && (g->syn_rate == SYN_ALWAYS || flooded(&p->syns, n->now, g->syn_rate))) {
		int verdict = challenge_client(ctx, f, n);

		if (verdict != XDP_ABORTED)
			return verdict;
	}
	why = begins(f, n, g, generation);
	return why ? turn_away(ctx, f, n, why) : pass(ctx, f, n);
}

/* judge_ack lets a client in whose cookie is right, and what comes close behind it; XDP_ABORTED: it is wrong. */
static __always_inline int judge_ack(struct xdp_md *ctx, struct frame *f, struct finding *n, struct guard *g, __u32 generation)
{
	struct admission fresh = {}, *known = bpf_map_lookup_elem(&admissions, &f->tuple);
	__u32 why;

	if (!read_cookie(ctx, f, n->now, &fresh)) {
		if (!known || (known->assigned && (__s64)(n->now - known->assigned) > (__s64)BATCH)) /* the clock of let_in is a little ahead */
			return XDP_ABORTED;
	} else if (!known || known->ack != fresh.ack) {
		why = begins(f, n, g, generation);
		if (why)
			return turn_away(ctx, f, n, why);
		bpf_map_update_elem(&admissions, &f->tuple, &fresh, BPF_ANY);
		bloom_enter(&f->tuple);
		count_cookie(COOKIES_ACCEPTED);
	}
	mark_packet(ctx);
	return XDP_PASS;
}

/* cookies_out tells whether clients may come with a cookie: while it is armed, and as long after as one may be under way. */
static __always_inline bool cookies_out(struct pressure *p, struct guard *g, struct finding *n)
{
	return g->syn_rate == SYN_ALWAYS || (g->syn_rate && n->now < p->syns.until + ARMED);
}

/* judge_tcp judges a segment of no session of the kernel path. */
static __always_inline int judge_tcp(struct xdp_md *ctx, struct frame *f, struct finding *n, struct pressure *p, struct guard *g, __u32 generation)
{
	bool armed = n->now < p->strays.until, acks = cookies_out(p, g, n) && (f->flags & (SYN | RST | ACK)) == ACK;
	__u32 why;

	if (n->vector == VECTOR_SYN)
		return judge_syn(ctx, f, n, p, g, generation);
	if (n->limits || acks) {
		bool real = open_socket(ctx, f);

		why = n->limits ? too_much(f, n->now, generation, real ? TRUE_SOURCE : CLAIMED) : 0;
		if (why)
			return turn_away(ctx, f, n, why);
		if (real)
			return XDP_PASS;
	}
	if (acks) {
		int verdict = judge_ack(ctx, f, n, g, generation);

		if (verdict != XDP_ABORTED)
			return verdict;
		if (g->syn_rate == SYN_ALWAYS || n->now < p->syns.until)
			return kernel_cookie(f) ? pass(ctx, f, n) : turn_away(ctx, f, n, WHY_COOKIE); /* it may be from just before */
	}
	if (!armed && bpf_get_prandom_u32() % STRAY_SAMPLE)
		return XDP_PASS; /* perhaps of a session of the user path, perhaps not: one in so many tells */
	if (!n->limits && open_socket(ctx, f))
		return XDP_PASS;
	n->weight = armed ? 1 : STRAY_SAMPLE;
	if (kernel_cookie(f)) /* it could come again and again, so it is counted */
		return pass(ctx, f, n);
	if (pressed(&p->strays, n->now, n->weight, STRAY_RATE))
		return turn_away(ctx, f, n, WHY_NO_SESSION);
	return pass(ctx, f, n);
}

/* judge_udp judges a datagram of no flow of the kernel path. */
static __always_inline int judge_udp(struct xdp_md *ctx, struct frame *f, struct finding *n, struct pressure *p, struct guard *g, __u32 generation)
{
	__u32 *flow = bpf_map_lookup_elem(&user_flows, &f->tuple);
	int from = reflector(bpf_ntohs(f->tuple.sport));
	__u32 why;

	if (flow) {
		why = n->limits ? too_much(f, n->now, generation, *flow == FLOW_PROVEN ? TRUE_SOURCE : CLAIMED) : 0;
		return why ? turn_away(ctx, f, n, why) : XDP_PASS;
	}
	if (from && g->flags & GUARD_REFLECTORS) {
		if (asked(ctx, f))
			return XDP_PASS;
		n->vector = VECTOR_REFLECTION;
		if (pressed(&p->reflections, n->now, 1, REFLECTION_RATE) || from == 1)
			return turn_away(ctx, f, n, WHY_REFLECTION);
	} else if (query(ctx, f)) {
		n->vector = VECTOR_QUERY;
	}
	if (from_us(&f->tuple, generation))
		return turn_away(ctx, f, n, WHY_BOGON);
	why = begins(f, n, g, generation);
	return why ? turn_away(ctx, f, n, why) : pass(ctx, f, n);
}

/* let_by lets a packet in that a packet rule has allowed. */
static __always_inline int let_by(struct xdp_md *ctx, struct frame *f, struct finding *n, __u32 generation)
{
	if (n->vector != VECTOR_SYN && n->vector != VECTOR_UDP)
		return XDP_PASS; /* it may be of a session */
	return from_us(&f->tuple, generation) ? turn_away(ctx, f, n, WHY_BOGON) : pass(ctx, f, n);
}

/* judge_service judges what is for a service. */
static __always_inline int judge_service(struct xdp_md *ctx, struct frame *f, struct finding *n, __u32 generation, __u32 index)
{
	struct guard *g = entry(&guards, generation, index);
	struct pressure *p;
	__u32 action;

	if (!g)
		return XDP_PASS;
	n->service = g->number;
	n->vector = named(f);
	action = rules(ctx, f, g, generation);
	if (action == RULE_DROP + 1)
		return turn_away(ctx, f, n, WHY_RULE);
	if (action == RULE_PASS + 1)
		return let_by(ctx, f, n, generation);
	p = pressure_of(g->number);
	if (!p)
		return XDP_PASS;
	if (f->tuple.protocol == IPPROTO_TCP)
		return judge_tcp(ctx, f, n, p, g, generation);
	return judge_udp(ctx, f, n, p, g, generation);
}

/* real tells whether the client of a session or flow has proven its address: what claims to be one must not use up its rate. */
static __always_inline bool real(struct ref *r)
{
	__u32 slot = r->slot;
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);

	return s && (s->protocol == IPPROTO_TCP ? s->side[CLIENT].flags & SIDE_PROVEN : s->rounds >= PROVEN);
}

/* judge_session judges what belongs to a session or flow: only packet rules are for it, and the rate of its own address. r is 0
 * when another program carries it. */
static __always_inline int judge_session(struct xdp_md *ctx, struct frame *f, struct ref *r, struct shield_configuration *s, __u32 generation)
{
	struct finding n = {.vector = named(f), .mode = s->mode, .weight = 1};
	struct wanted w = {};
	struct guard *g;
	__u32 why = 0;

	if ((r && r->from == ORIGIN) || !find_service(generation, &f->tuple, &w))
		return XDP_PASS;
	g = entry(&guards, generation, w.service);
	if (!g)
		return XDP_PASS;
	n.now = bpf_ktime_get_coarse_ns();
	n.service = g->number;
	if (rules(ctx, f, g, generation) == RULE_DROP + 1)
		return turn_away(ctx, f, &n, WHY_RULE);
	if (s->limits && r)
		why = too_much(f, n.now, generation, real(r) ? TRUE_SOURCE : CLAIMED);
	return why ? turn_away(ctx, f, &n, why) : XDP_PASS;
}

/* judge_control judges ICMP. Errors are about packets of ours, and few; pings are answered at leisure. */
static __always_inline int judge_control(struct xdp_md *ctx, struct frame *f, struct finding *n)
{
	n->vector = VECTOR_ICMP;
	if (neighbour(f))
		return XDP_PASS;
	if (!trickles_through(echo(f) ? TRICKLE_ECHO : TRICKLE_ERRORS, n->now, TRICKLE_CONTROL))
		return turn_away(ctx, f, n, WHY_RATE);
	return pass(ctx, f, n);
}

static __always_inline int judge_fragment(struct xdp_md *ctx, struct frame *f, struct finding *n, struct shield_configuration *s, __u32 generation)
{
	n->vector = VECTOR_FRAGMENT;
	if (from_us(&f->tuple, generation)) /* all of them together may begin something */
		return turn_away(ctx, f, n, WHY_BOGON);
	if (s->fragments == FRAGMENTS_DROP)
		return turn_away(ctx, f, n, WHY_FRAGMENT);
	if (s->fragments == FRAGMENTS_LIMIT && !trickles_through(TRICKLE_FRAGMENTS, n->now, TRICKLE_PIECES))
		return turn_away(ctx, f, n, WHY_FRAGMENT);
	return pass(ctx, f, n);
}

/* What judge_source says when it has nothing to say. */
#define UNDECIDED -1

/* judge_source judges by the address alone: what the rule by hand says of it, or else lists, AS numbers and countries. */
static __always_inline int judge_source(struct xdp_md *ctx, struct frame *f, struct finding *n, int kind, __u32 rule)
{
	struct list_verdict *v;

	if (neighbour(f)) /* from a router that a list of bogons has */
		return UNDECIDED;
	v = list_verdict(rule ? rule : list_by_table(f->tuple.src, f->v4));
	if (!v || v->verdict == CLASS_UNKNOWN || v->verdict == CLASS_PASS)
		return UNDECIDED; /* a source can be forged: who is allowed is judged as everybody is */
	n->vector = kind == WHOLE ? named(f) : kind == ICMP ? VECTOR_ICMP : kind == PIECE_OF ? VECTOR_FRAGMENT : VECTOR_OTHER;
	if (v->reason == WHY_BANNED && trickles_through(TRICKLE_BANNED, n->now, TRICKLE_REFUSALS))
		return UNDECIDED;
	return turn_away(ctx, f, n, v->reason);
}

/* asks tells whether a frame is the first of a connection. */
static __always_inline bool asks(const struct frame *f, int kind)
{
	return kind == WHOLE && f->tuple.protocol == IPPROTO_TCP && (f->flags & (SYN | ACK)) == SYN;
}

/* judge judges a frame. */
static __always_inline int judge(struct xdp_md *ctx, struct frame *f, int kind, struct shield_configuration *s)
{
	struct finding n = {.service = NO_SERVICE, .vector = VECTOR_OTHER, .weight = 1, .mode = s->mode, .limits = s->limits};
	__u32 zero = 0, generation, rule;
	struct configuration *c = bpf_map_lookup_elem(&config, &zero);
	struct wanted w = {};
	struct ref *r = 0;
	__u32 *set;
	int verdict;

	if (!c)
		return XDP_PASS;
	if (kind == BURIED) {
		n.now = bpf_ktime_get_coarse_ns();
		return turn_away(ctx, f, &n, WHY_MALFORMED);
	}
	generation = c->generation & 1;
	rule = list_by_hand(f->tuple.src, f->v4);
	if (kind == WHOLE && rule != CLASS_BANNED) { /* whose sessions have been ended, and those of elders are to starve: a ban costs no look at them */
		n.stranger = asks(f, kind) && !bloom_has(&f->tuple);
		if (!n.stranger)
			r = bpf_map_lookup_elem(&tuples, &f->tuple);
		if (r || elder(&f->tuple))
			return s->rules | s->limits ? judge_session(ctx, f, r, s, generation) : XDP_PASS;
	}
	set = ports_of(generation, f->tuple.dst);
	if (!set)
		return XDP_PASS;
	n.now = bpf_ktime_get_coarse_ns();
	if (kind == BROKEN)
		return turn_away(ctx, f, &n, WHY_MALFORMED);
	if (kind == BOGUS) {
		n.vector = VECTOR_FLAGS;
		return turn_away(ctx, f, &n, WHY_FLAGS);
	}
	if (martian(f) || (s->bogons && !neighbour(f) && bogon(f)))
		return turn_away(ctx, f, &n, WHY_BOGON);
	verdict = judge_source(ctx, f, &n, kind, rule);
	if (verdict != UNDECIDED)
		return verdict;
	if (kind == STRANGE)
		return turn_away(ctx, f, &n, WHY_PROTOCOL);
	if (kind == ICMP)
		return judge_control(ctx, f, &n);
	if (kind == PIECE_OF)
		return judge_fragment(ctx, f, &n, s, generation);
	if (!find_route(generation, *set, &f->tuple, &w)) {
		n.vector = named(f);
		if (f->tuple.protocol == IPPROTO_UDP ? asked(ctx, f) : n.vector != VECTOR_SYN && open_socket(ctx, f))
			return XDP_PASS; /* of the box itself, whose address may be an edge address */
		if (!trickles_through(TRICKLE_NO_SERVICE, n.now, TRICKLE_REFUSALS))
			return turn_away(ctx, f, &n, WHY_NO_SERVICE);
		return pass(ctx, f, &n);
	}
	return judge_service(ctx, f, &n, generation, w.service);
}

SEC("xdp.frags")
int shield(struct xdp_md *ctx)
{
	struct frame f = {};
	int kind = read_frame(ctx, &f), verdict;
	__u32 zero = 0;
	struct shield_configuration *s = bpf_map_lookup_elem(&shield_config, &zero);

	if (kind == FOREIGN || !s || s->mode == SHIELD_OFF)
		return XDP_PASS;
	verdict = judge(ctx, &f, kind, s);
	if (verdict == XDP_PASS && asks(&f, kind))
		bloom_enter(&f.tuple);
	return verdict;
}

#endif
