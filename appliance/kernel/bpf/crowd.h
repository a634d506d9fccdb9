/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The sessions of single addresses and networks, for services that bound them. A SYN may have any source, so what is counted
 * here is enough to leave a client to the user path, which sees it only when its address is proven, and no more. */
#ifndef CROWD_H
#define CROWD_H

#include "choose.h"

static __always_inline void source_of(struct source *k, const __u8 *address, __u32 service, bool network)
{
	copy_address(k->address, address);
	k->service = service;
	k->network = network;
	mask_source(k->address, network);
}

/* full tells whether a source has as many sessions as it may. */
static __always_inline bool full(const __u8 *address, __u32 service, bool network, __u32 most)
{
	struct source key;
	struct holder *h;

	if (!most)
		return false;
	source_of(&key, address, service, network);
	h = bpf_map_lookup_elem(&holders, &key);
	return h && h->sessions + h->others >= most;
}

/* pay takes a session's worth of an address's rate, and tells whether there was any. */
static __always_inline bool pay(const __u8 *address, __u32 service, __u32 per_second)
{
	__u64 now, after, *until;
	struct source key;

	if (!per_second)
		return true;
	source_of(&key, address, service, false);
	now = bpf_ktime_get_ns();
	until = bpf_map_lookup_elem(&paid, &key);
	after = (until && *until > now ? *until : now) + 1000000000ULL / per_second;
	if (after > now + BURST_OF_RATE * 1000000000ULL)
		return false;
	if (until)
		*until = after;
	else
		bpf_map_update_elem(&paid, &key, &after, BPF_ANY);
	return true;
}

/* crowded tells whether the client of a SYN has all the sessions that it may have, or opens them too fast. */
__noinline int crowded(struct packet *p, struct service *v)
{
	if (!p || !v)
		return true;
	return full(p->tuple.src, v->number, false, v->max_per_address) || full(p->tuple.src, v->number, true, v->max_per_network) ||
	       !pay(p->tuple.src, v->number, v->new_per_address);
}

/* hold_one counts n more sessions of a source, and forgets one that has none. others: those of the user path. */
static __always_inline void hold_one(const struct source *key, __s32 n, bool others)
{
	struct holder *h = bpf_map_lookup_elem(&holders, key), fresh = {};

	if (!h && n > 0) {
		bpf_map_update_elem(&holders, key, &fresh, BPF_NOEXIST); /* or another core has just done so */
		h = bpf_map_lookup_elem(&holders, key);
	}
	if (!h)
		return;
	if (others && (n > 0 || h->others))
		__sync_fetch_and_add(&h->others, n);
	else if (!others && (n > 0 || h->sessions))
		__sync_fetch_and_add(&h->sessions, n);
	if (n < 0 && !h->sessions && !h->others)
		bpf_map_delete_elem(&holders, key);
}

static __always_inline void hold(const __u8 *address, __u32 service, __s32 n, bool others)
{
	struct source key;

	source_of(&key, address, service, false);
	hold_one(&key, n, others);
	source_of(&key, address, service, true);
	hold_one(&key, n, others);
}

/* count_source counts a session for its client's address and network, or takes it away. */
__noinline int count_source(__u32 slot, __s32 n)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);

	if (s)
		hold(s->side[CLIENT].address, s->service, n, false);
	return 0;
}

#endif
