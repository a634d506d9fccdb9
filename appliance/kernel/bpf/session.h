/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The begin and the end of a session or flow. */
#ifndef SESSION_H
#define SESSION_H

#include "crowd.h"

/* Functions that are not static are global to the verifier: it reads each once, and not again at every call. They take a slot
 * in place of a pointer, and give a number. */

/* tell reports what happened. It wakes nobody: whoever reads looks often enough. */
__noinline int tell(__u32 type, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 zero = 0;
	struct total *t;
	struct event *e;

	if (!s)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		t = bpf_map_lookup_elem(&totals, &zero);
		if (t)
			__sync_fetch_and_add(&t->lost, 1);
		return 0;
	}
	e->type = type;
	e->slot = slot;
	__builtin_memcpy(&e->session, s, sizeof(*s));
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void tuple_of(struct tuple *t, const struct session *s, __u32 from)
{
	const struct side *a = &s->side[from & 1];

	copy_address(t->src, a->address);
	copy_address(t->dst, a->own);
	t->sport = a->port;
	t->dport = a->own_port;
	t->protocol = s->protocol;
	t->zero[0] = t->zero[1] = t->zero[2] = 0;
}

/* count_session adds a session to the counts, or takes it away. */
__noinline int count_session(__u32 slot, __s32 n)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 zero = 0, number;
	struct total *t = bpf_map_lookup_elem(&totals, &zero);
	struct count *c;
	bool udp;

	if (!s || !t)
		return 0;
	udp = s->protocol == IPPROTO_UDP;
	if (udp)
		__sync_fetch_and_add(&t->flows, (__s64)n);
	else
		__sync_fetch_and_add(&t->sessions, (__s64)n);
	number = s->service;
	c = bpf_map_lookup_elem(&service_counts, &number);
	if (c) {
		if (udp)
			__sync_fetch_and_add(&c->flows, (__s64)n);
		else
			__sync_fetch_and_add(&c->sessions, (__s64)n);
	}
	number = s->origin;
	c = bpf_map_lookup_elem(&origin_counts, &number);
	if (c)
		__sync_fetch_and_add(&c->sessions, (__s64)n);
	number = s->place;
	c = bpf_map_lookup_elem(&origin_counts, &number);
	if (c)
		__sync_fetch_and_add(&c->flows, (__s64)n);
	return 0;
}

static __always_inline __u64 source_key(const __u8 *address)
{
	const __u64 *words = (const __u64 *)address;

	if (mapped(address))
		return (__u64)(bpf_ntohl(*(const __u32 *)(address + 12)) >> 8);
	return bpf_be64_to_cpu(words[0]) & ~0xffULL;
}

/* half_open counts sessions whose client has not proven its address. */
static __always_inline void half_open(__s64 n)
{
	__u32 zero = 0;
	struct total *t = bpf_map_lookup_elem(&totals, &zero);

	if (t)
		__sync_fetch_and_add(&t->half_open, n);
}

/* proven notes, once, that the address of a session's client is real; or that it does not matter any more. */
static __always_inline bool proven(struct session *s)
{
	if (s->side[CLIENT].flags & SIDE_PROVEN || __sync_fetch_and_or(&s->side[CLIENT].flags, SIDE_PROVEN) & SIDE_PROVEN)
		return false;
	half_open(-1);
	return true;
}

/* close ends a session once, whoever comes first; its tuples stay for what is still under way. */
__noinline int close(__u32 slot, __u8 reason)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 was;

	if (!s)
		return false;
	was = s->state;
	if (was != STATE_SYN && was != STATE_OPEN)
		return false;
	if (__sync_val_compare_and_swap(&s->state, was, STATE_CLOSED) != was)
		return false;
	s->reason = reason;
	s->active = bpf_ktime_get_ns();
	if (s->protocol == IPPROTO_TCP)
		proven(s);
	if (s->flags & SESSION_COUNTED)
		count_source(slot, -1);
	if (s->protocol == IPPROTO_UDP) {
		__u64 key = source_key(s->side[CLIENT].address);
		__u32 *flows = bpf_map_lookup_elem(&sources, &key);

		if (flows && *flows)
			__sync_fetch_and_add(flows, -1);
	}
	count_session(slot, -1);
	tell(EVENT_END, slot);
	return true;
}

/* forget gives the tuples and the slot of a closed session back. */
__noinline int forget(__u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct tuple t;
	struct ref *r;

	if (!s || __sync_val_compare_and_swap(&s->state, STATE_CLOSED, STATE_FREE) != STATE_CLOSED)
		return 0;
	for (int from = CLIENT; from <= ORIGIN; from++) {
		tuple_of(&t, s, from);
		r = bpf_map_lookup_elem(&tuples, &t);
		if (r && r->slot == slot && r->generation == s->generation)
			bpf_map_delete_elem(&tuples, &t);
	}
	s->generation++;
	bpf_map_push_elem(&spare, &slot, BPF_ANY);
	return 1;
}

static __always_inline struct session *slot_of(struct ref *r)
{
	__u32 slot = r->slot;
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);

	return s && s->generation == r->generation && s->state != STATE_FREE ? s : 0;
}

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

/* header_size is the length of the PROXY header, known before it is made; v1 is made to be measured. */
static __always_inline __u32 header_size(struct session *s);

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
	copy_address(s->side[ORIGIN].own, s->flags & SESSION_TRANSPARENT ? p->tuple.src : m->source);
	s->side[ORIGIN].port = bpf_htons(port);
	s->side[ORIGIN].own_port = p->tuple.sport; /* if transparent */
	s->side[ORIGIN].ifindex = m->ifindex;
	s->header_length = header_size(s);
	s->state = STATE_SYN;
	out->why = LEFT_PORT;
	if (!take_port(slot, c->first_port, c->last_port)) {
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
