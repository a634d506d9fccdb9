/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is done to a session or flow as a whole, and its end. */
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

#endif
