/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The begin of a session or flow. */
#ifndef BEGIN_H
#define BEGIN_H

#include "header.h"

#define PORT_TRIES 16
#define VACANT_TRIES 6 /* the first of them look for a port that nobody had lately */

/* take_port finds the source port of a session and enters the tuple of the origin's packets. A port of a session that is
 * closed is taken over: the numbers go on behind the old ones, so that an origin in TIME-WAIT takes the SYN (RFC 9293,
 * 3.6.1; RFC 6191). True: there was one. */
__noinline int take_port(__u32 slot, __u32 first, __u32 last)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct ref mine = {.slot = slot, .from = ORIGIN};
	struct tuple t;
	__u32 at, range, step;

	if (!s || last < first)
		return false;
	mine.generation = s->generation;
	tuple_of(&t, s, ORIGIN);
	if (s->flags & SESSION_TRANSPARENT) {
		struct ref *r = bpf_map_lookup_elem(&tuples, &t);
		struct session *old = r ? slot_of(r) : 0;

		if (old && old->state == STATE_CLOSED)
			forget(r->slot);
		if (elder(&t))
			return false;
		return bpf_map_update_elem(&tuples, &t, &mine, BPF_NOEXIST) == 0;
	}
	range = last - first + 1;
	at = bpf_get_prandom_u32() % range;
	step = 1 + (bpf_get_prandom_u32() & 255);
	for (int i = 0; i < PORT_TRIES; i++) {
		struct session *old;
		struct ref *r;

		at = (at + step) % range;
		s->side[ORIGIN].own_port = t.dport = bpf_htons(first + at);
		if (elder(&t))
			continue;
		if (bpf_map_update_elem(&tuples, &t, &mine, BPF_NOEXIST) == 0)
			return true;
		if (i < VACANT_TRIES)
			continue;
		r = bpf_map_lookup_elem(&tuples, &t);
		old = r ? slot_of(r) : 0;
		if (!old || old->state != STATE_CLOSED || old->flags & SESSION_FIRST_ONLY)
			continue;
		if (old->flags & SESSION_LONG) {
			s->shift = old->side[CLIENT].next + old->shift + old->header_length + 65536 +
				   (bpf_get_prandom_u32() & 0xfffff) - s->isn;
			s->flags |= SESSION_AGAIN;
		}
		forget(r->slot);
		if (bpf_map_update_elem(&tuples, &t, &mine, BPF_NOEXIST) == 0)
			return true;
		s->shift = 0;
		s->flags &= ~SESSION_AGAIN;
	}
	return false;
}

/* take_source finds the source address and port of a session: an address by chance, and the others when it has no port. */
static __always_inline bool take_source(const struct configuration *c, struct session *s, __u32 slot, const struct member *m)
{
	__u32 count = m->sources, at = count ? bpf_get_prandom_u32() % count : 0;

	if (s->flags & SESSION_TRANSPARENT) /* both are the client's own */
		return take_port(slot, c->first_port, c->last_port);
	for (int i = 0; i < MAX_SOURCES; i++) {
		if (i >= count)
			break;
		copy_address(s->side[ORIGIN].own, m->source[(at + i) % count & (MAX_SOURCES - 1)]);
		if (take_port(slot, c->first_port, c->last_port))
			return true;
	}
	return false;
}

/* portless counts that no source port was left towards the origin of a session. */
static __always_inline void portless(const struct session *s)
{
	__u32 number = s->origin;
	struct count *n = bpf_map_lookup_elem(&origin_counts, &number);

	if (n && !(s->flags & SESSION_TRANSPARENT)) /* then it is the client's port that is taken */
		__sync_fetch_and_add(&n->new_flows, 1);
}

/* per_second counts one more in this second and tells whether it is within limit; 0 is none. */
static __always_inline bool per_second(__u64 *second, __u64 *n, __u32 limit)
{
	__u64 now;

	if (!limit)
		return true;
	now = bpf_ktime_get_ns() / 1000000000;
	if (*second != now) {
		*second = now;
		*n = 0;
	}
	return __sync_fetch_and_add(n, 1) < limit;
}

/* admit tells whether the limits have room for one more. */
static __always_inline bool admit(struct configuration *c, struct total *t, struct service *v, struct packet *p)
{
	__u32 number = v->number;
	struct count *n = bpf_map_lookup_elem(&service_counts, &number);

	if (!n)
		return false;
	if (p->tuple.protocol == IPPROTO_TCP)
		return t->sessions + t->other_sessions < c->max_sessions && (!v->max_sessions || n->sessions < v->max_sessions);
	if (t->flows + t->other_flows >= c->max_flows || (v->max_flows && n->flows >= v->max_flows))
		return false;
	if (c->max_flows_per_source) {
		__u64 key = source_key(p->tuple.src);
		__u32 *flows = bpf_map_lookup_elem(&sources, &key);

		if (flows && *flows >= c->max_flows_per_source)
			return false;
	}
	return per_second(&t->second, &t->new_flows, c->new_flows) && per_second(&n->second, &n->new_flows, v->new_flows);
}

__noinline int banned(const struct packet *p)
{
	struct address_key key = {.prefixlen = 128};

	if (!p)
		return true;
	copy_words(key.address, p->tuple.src);
	return bpf_map_lookup_elem(&bans, &key) != 0;
}

/* forged tells whether the first packet of something claims to come from an edge address. Where the shield is on, it has dropped such a
 * packet; this is for all else, and for both engines: the user path gets none of them. */
__noinline int forged(struct __sk_buff *skb, struct packet *p)
{
	__u32 zero = 0, ifindex = skb->ifindex;
	struct interface *i = bpf_map_lookup_elem(&interfaces, &ifindex);
	struct configuration *c = bpf_map_lookup_elem(&config, &zero);

	if (!p || !i || !c || !i->edge || !from_us(&p->tuple, c->generation))
		return false;
	return ports_of(c->generation & 1, p->tuple.dst) != 0; /* what is for somebody else is not ours to judge */
}

/* What begin has to say. */
struct begun {
	__u32 slot;
	__u32 why; /* LEFT_*, if there is no session */
};

/* take_slot gives a slot that is nobody's. */
static __always_inline bool take_slot(struct configuration *c, struct total *t, __u32 *slot)
{
	__u64 fresh;

	if (bpf_map_pop_elem(&spare, slot) == 0)
		return true;
	if (t->fresh >= c->slots)
		return false;
	fresh = __sync_fetch_and_add(&t->fresh, 1);
	if (fresh >= c->slots) {
		__sync_fetch_and_sub(&t->fresh, 1);
		return false;
	}
	*slot = fresh;
	return true;
}

/* begin makes a session for the first packet of one. Otherwise it says what kept it: the packet is then the user
 * path's, which decides again, counts and answers. */
__noinline int begin(struct __sk_buff *skb, struct packet *p, struct begun *out)
{
	__u32 zero = 0, slot = 0, ifindex, generation, chosen;
	struct configuration *c = bpf_map_lookup_elem(&config, &zero);
	struct total *t = bpf_map_lookup_elem(&totals, &zero);
	struct wanted w = {};
	struct interface *i;
	struct service *v;
	struct member *m;
	struct session *s;
	struct ref mine;
	__u16 port;
	bool udp;

	if (!p || !out || !c || !t)
		return 0;
	out->why = LEFT_OTHER;
	ifindex = skb->ifindex;
	i = bpf_map_lookup_elem(&interfaces, &ifindex);
	if (!i || !i->edge)
		return 0;
	out->why = LEFT_OFF;
	if (c->off || !i->reply)
		return 0;
	udp = p->tuple.protocol == IPPROTO_UDP;
	generation = c->generation & 1;
	out->why = LEFT_SERVICE;
	if (!find_service(generation, &p->tuple, &w))
		return 0;
	v = entry(&services, generation, w.service);
	if (!v || !(v->path & (udp ? PATH_UDP : PATH_TCP)))
		return 0;
	out->why = LEFT_BANNED;
	if (c->bans && banned(p))
		return 0;
	out->why = LEFT_LIMIT;
	if (!admit(c, t, v, p))
		return 0;
	out->why = LEFT_HALF_OPEN;
	if (!udp && (__s64)t->half_open >= c->half_open)
		return 0;
	out->why = LEFT_LIMIT;
	if (!udp && crowded(p, v))
		return 0;
	out->why = LEFT_ORIGIN;
	chosen = choose(generation, p, v->pool, w.first);
	m = chosen ? entry(&members, generation, chosen - 1) : 0;
	if (!m || m->state != MEMBER_YES || !m->ifindex)
		return 0;
	port = origin_port(m, bpf_ntohs(p->tuple.dport), w.first);
	out->why = LEFT_FAMILY;
	if (p->v4 != mapped(m->address))
		return 0;
	out->why = LEFT_FULL;
	if (!take_slot(c, t, &slot))
		return 0;
	s = bpf_map_lookup_elem(&sessions, &slot);
	if (!s)
		return 0;
	mine.generation = s->generation;
	__builtin_memset(s, 0, sizeof(*s));
	s->generation = mine.generation;
	s->id = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
	s->started = s->active = bpf_ktime_get_ns();
	s->protocol = p->tuple.protocol;
	s->service = v->number;
	s->origin = m->origin;
	s->place = m->place;
	s->header = udp ? v->udp_header : v->tcp_header;
	s->flags = (p->v4 ? SESSION_V4 : 0) | (v->flags & SESSION_TRANSPARENT) | (udp ? v->flags & SESSION_FIRST_ONLY : 0);
	if (!udp && (v->max_per_address || v->max_per_network || v->new_per_address))
		s->flags |= SESSION_COUNTED;
	s->isn = p->seq;
	s->amplification = v->amplification;
	copy_address(s->side[CLIENT].address, p->tuple.src);
	copy_address(s->side[CLIENT].own, p->tuple.dst);
	s->side[CLIENT].port = p->tuple.sport;
	s->side[CLIENT].own_port = p->tuple.dport;
	s->side[CLIENT].ifindex = i->reply;
	s->side[CLIENT].next = p->seq + 1;
	copy_address(s->side[ORIGIN].address, m->address);
	copy_address(s->side[ORIGIN].own, p->tuple.src); /* if transparent */
	s->side[ORIGIN].port = bpf_htons(port);
	s->side[ORIGIN].own_port = p->tuple.sport;
	s->side[ORIGIN].ifindex = m->ifindex;
	s->header_length = header_size(s);
	s->state = STATE_SYN;
	out->why = LEFT_PORT;
	if (!take_source(c, s, slot, m)) {
		portless(s);
		s->state = STATE_CLOSED;
		forget(slot);
		return 0;
	}
	s->addresses = bpf_csum_diff((__be32 *)p->tuple.src, 32, (__be32 *)s->side[ORIGIN].address, 32, 0);
	s->ports = sum_change(*(__be32 *)&p->tuple.sport, *(__be32 *)&s->side[ORIGIN].port);
	mine.slot = slot;
	mine.from = CLIENT;
	if (bpf_map_update_elem(&tuples, &p->tuple, &mine, BPF_ANY)) {
		out->why = LEFT_FULL;
		s->state = STATE_CLOSED;
		forget(slot);
		return 0;
	}
	if (udp) {
		__u64 key = source_key(p->tuple.src);
		__u32 one = 1, *flows = bpf_map_lookup_elem(&sources, &key);

		if (flows)
			__sync_fetch_and_add(flows, 1);
		else
			bpf_map_update_elem(&sources, &key, &one, BPF_ANY);
	}
	count_session(slot, 1);
	if (!udp)
		half_open(1);
	if (s->flags & SESSION_COUNTED)
		count_source(slot, 1);
	out->slot = slot;
	tell(EVENT_BEGIN, slot);
	return 1;
}

#endif
