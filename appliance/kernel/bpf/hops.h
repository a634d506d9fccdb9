/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sending a packet out by an interface. The kernel asks its routing tables for the next hop of each, which was more than a
 * quarter of what a packet cost here; of most interfaces package kernel can say it once: who is on the link, and the gateway for all others. */
#ifndef HOPS_H
#define HOPS_H

#include "choose.h"

#define AF_INET 2
#define AF_INET6 10

#define MAX_ON_LINK 4

/* The next hops of one interface and IP version. */
struct next_hops {
	struct cover on_link[MAX_ON_LINK];
	__u8 gateway[16]; /* all 0: there is none */
	__u32 count;      /* of on_link */
	__u32 zero;
};

/* Without an entry the kernel is asked. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u32); /* index of the interface times 2, and 1 for IPv4 */
	__type(value, struct next_hops);
} hops SEC(".maps");

/* next_hop gives whom a packet for address goes to; null: ask. */
static __always_inline const __u8 *next_hop(__u32 ifindex, const __u8 *address, bool v4)
{
	__u32 key = ifindex << 1 | v4;
	struct next_hops *h = bpf_map_lookup_elem(&hops, &key);

	if (!h)
		return 0;
	for (__u32 i = 0; i < MAX_ON_LINK; i++)
		if (i < h->count && holds(&h->on_link[i], address))
			return address;
	return *(__u64 *)h->gateway | *(__u64 *)(h->gateway + 8) ? h->gateway : 0;
}

/* send_out sends a packet to a side of a session: CLIENT or ORIGIN. Neighbours are the kernel's in any case. It has a frame of its own,
 * as those of its callers are large. */
__noinline int send_out(__u32 slot, __u32 side)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct bpf_redir_neigh hop = {};
	const struct side *to;
	const __u8 *next;
	bool v4;

	if (!s)
		return DROP;
	to = &s->side[side & 1];
	v4 = mapped(to->address);
	next = next_hop(to->ifindex, to->address, v4);
	if (!next)
		return bpf_redirect_neigh(to->ifindex, 0, 0, 0);
	hop.nh_family = v4 ? AF_INET : AF_INET6;
	if (v4)
		hop.ipv4_nh = *(const __be32 *)(next + 12);
	else
		copy_words(hop.ipv6_nh, next);
	return bpf_redirect_neigh(to->ifindex, &hop, sizeof(hop), 0);
}

#endif
