/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Answers to SYNs: a SYN-ACK with a cookie, written over the SYN, as long as there may be one. */
#ifndef ANSWER_H
#define ANSWER_H

#include "cookie.h"

/* The box must not be made to flood others by SYNs in their name: no /24 (/48) gets more than so many answers a second, which is
 * 1.2 Mbit/s, and all together no more than what fills a Gbit/s by 80 %. A network is counted at two places, and has its share
 * as long as one of them has: so hardly anybody suffers from another one's flood. SYNs from everywhere fill no place. */
#define NETWORK_PLACES 65536
#define NETWORK_ANSWERS 2048
#define ALL_ANSWERS 1000000
#define SHARE_ANSWERS 64 /* that a core takes at once */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * NETWORK_PLACES);
	__type(key, __u32);
	__type(value, __u64); /* the second, and the count in the lower half */
} cookie_networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gauge);
} cookie_total SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gauge);
} cookie_share SEC(".maps");

/* place_answers counts at one place, and tells whether there is room. Cores that count at once lose a count now and then, which is
 * as good. */
static __always_inline bool place_answers(__u32 place, __u64 now)
{
	__u64 *n = bpf_map_lookup_elem(&cookie_networks, &place);
	__u64 second = now >> 30 << 32; /* nearly */

	if (!n)
		return false;
	if (*n < second)
		*n = second;
	if ((__u32)*n >= NETWORK_ANSWERS)
		return false;
	(*n)++;
	return true;
}

/* network_answers tells whether the network of a source may have one more answer. */
static __always_inline bool network_answers(const struct tuple *t, __u64 seed, __u64 now)
{
	const __u64 *words = (const __u64 *)t->src;
	__u64 network = mapped(t->src) ? *(const __u32 *)(t->src + 12) & bpf_htonl(0xffffff00) : words[0] & bpf_cpu_to_be64(~0xffffULL);
	__u64 hash = mix(network ^ seed);
	bool first = place_answers(hash & (NETWORK_PLACES - 1), now);
	bool second = place_answers(NETWORK_PLACES + (hash >> 32 & (NETWORK_PLACES - 1)), now);

	return first || second;
}

/* any_answers tells whether there may be one more answer to anybody. */
static __always_inline bool any_answers(__u64 now)
{
	__u32 zero = 0;
	struct gauge *mine = bpf_map_lookup_elem(&cookie_share, &zero);
	struct gauge *all = bpf_map_lookup_elem(&cookie_total, &zero);

	if (!mine || !all)
		return false;
	if (mine->count && now - mine->second < SECOND) {
		mine->count--;
		return true;
	}
	begin_second(all, now);
	if (all->count >= ALL_ANSWERS)
		return false;
	__sync_fetch_and_add(&all->count, SHARE_ANSWERS);
	mine->second = now;
	mine->count = SHARE_ANSWERS - 1;
	return true;
}

static __always_inline __u16 our_mss(struct xdp_md *ctx, bool v4)
{
	__u32 ifindex = ctx->ingress_ifindex, headers = v4 ? 40 : 60;
	struct interface *i = bpf_map_lookup_elem(&interfaces, &ifindex);

	return (i && i->mtu >= 1280 && i->mtu < 65536 ? i->mtu : 1500) - headers;
}

#define ANSWER_SIZE 40 /* of its TCP header: always the same, so that its checksum is ten words */
#define LINK_ROOM 32   /* of the Ethernet header with its tags, which has at most 22; a power of two for the verifier */

/* An answer while it is written; the stack is too small. */
struct draft {
	__be32 words[ANSWER_SIZE / 4];
	__u8 link[LINK_ROOM];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct draft);
} drafts SEC(".maps");

static __always_inline __u16 answer_sum(const struct frame *f, const __be32 *words)
{
	const __u32 *src = (const __u32 *)f->tuple.src, *dst = (const __u32 *)f->tuple.dst;
	__u64 sum = bpf_htonl(IPPROTO_TCP) + (__u64)bpf_htonl(ANSWER_SIZE) + src[3] + dst[3];

	if (!f->v4)
		for (int i = 0; i < 3; i++)
			sum += (__u64)src[i] + dst[i];
	for (int i = 0; i < ANSWER_SIZE / 4; i++)
		sum += words[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return ~sum_fold(sum);
}

static __always_inline void answer_v4(__be32 *ip, const struct frame *f)
{
	__u64 sum = 0;

	ip[0] = bpf_htonl(0x45000000 | (sizeof(struct iphdr) + ANSWER_SIZE));
	ip[1] = bpf_htonl(0x4000); /* not to be fragmented */
	ip[2] = bpf_htonl(64 << 24 | IPPROTO_TCP << 16);
	ip[3] = *(const __be32 *)(f->tuple.dst + 12);
	ip[4] = *(const __be32 *)(f->tuple.src + 12);
	for (int i = 0; i < 5; i++)
		sum += ip[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	((struct iphdr *)ip)->check = ~sum_fold(sum);
}

static __always_inline void answer_v6(__be32 *ip, const struct frame *f)
{
	ip[0] = bpf_htonl(0x60000000);
	ip[1] = bpf_htonl(ANSWER_SIZE << 16 | IPPROTO_TCP << 8 | 64);
	copy_words(ip + 2, f->tuple.dst);
	copy_words(ip + 6, f->tuple.src);
}

/* resize makes the frame as long as the answer is. It grows at its head, where drivers leave room for programs; what there is behind
 * a small frame is often less than the options need. */
static __always_inline bool resize(struct xdp_md *ctx, __u32 from, __u32 to)
{
	if (to > from)
		return bpf_xdp_adjust_head(ctx, (int)from - (int)to) == 0;
	return to == from || bpf_xdp_adjust_tail(ctx, (int)to - (int)from) == 0;
}

/* write_link sends a frame back to where it came from, with its tags. */
static __always_inline void write_link(__u8 *to, const __u8 *link, __u32 size)
{
	__builtin_memcpy(to, link + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(to + ETH_ALEN, link, ETH_ALEN);
	for (__u32 i = 2 * ETH_ALEN; i < ETH_HLEN + MAX_TAGS * sizeof(struct tag); i++)
		if (i < size)
			to[i] = link[i];
}

/* write_answer makes the frame of a SYN that of its answer. False: it is as it was. */
static __always_inline bool write_answer(struct xdp_md *ctx, const struct frame *f, struct draft *d)
{
	__u32 header = f->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr), size = bounded(f->network, LINK_ROOM - 1);
	void *data, *end;
	__be32 *ip, *tcp;

	if (!size || bpf_xdp_load_bytes(ctx, 0, d->link, size) || !resize(ctx, f->length, f->network + header + ANSWER_SIZE))
		return false;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = data + size;
	tcp = (void *)ip + header;
	if (data + LINK_ROOM > end || (void *)ip + sizeof(struct ipv6hdr) > end || (void *)tcp + ANSWER_SIZE > end)
		return false;
	write_link(data, d->link, size);
	if (f->v4)
		answer_v4(ip, f);
	else
		answer_v6(ip, f);
	for (int i = 0; i < ANSWER_SIZE / 4; i++)
		tcp[i] = d->words[i];
	((struct tcphdr *)tcp)->check = answer_sum(f, d->words);
	return true;
}

/* answer_syn answers a SYN by a cookie. False: the packet is as it was; the driver has no room, or its headers are unusual. */
__noinline int answer_syn(struct xdp_md *ctx, struct frame *f, __u64 now)
{
	__u32 zero = 0;
	struct cookie_state *s = bpf_map_lookup_elem(&cookie_states, &zero);
	struct offer o = {};
	struct draft *d = bpf_map_lookup_elem(&drafts, &zero);
	__u64 epoch = now >> EPOCH_SHIFT, hash;
	__u8 data;

	if (!f || !s || !d || f->transport != f->network + (f->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) || !read_offer(ctx, f, &o))
		return false;
	o.scaled = o.scaled && s->offers & OFFER_SCALE;
	o.sack = o.sack && s->offers & OFFER_SACK;
	o.stamped = o.stamped && s->offers & OFFER_TIMESTAMPS;
	data = (o.scaled ? o.scale : COOKIE_SCALE) | (o.sack ? COOKIE_SACK : 0) | mss_index(f->v4, o.mss) << COOKIE_MSS_SHIFT |
	       (epoch & 1 ? COOKIE_EPOCH : 0);
	hash = cookie_hash(s, f, f->seq, epoch, data, o.stamped);
	d->words[0] = f->tuple.dport | (__u32)f->tuple.sport << 16;
	d->words[1] = bpf_htonl((__u32)hash << 8 | data);
	d->words[2] = bpf_htonl(f->seq + 1);
	d->words[3] = bpf_htonl(ANSWER_SIZE / 4 << 28 | (SYN | ACK) << 16 | OUR_WINDOW);
	d->words[4] = 0;
	d->words[5] = bpf_htonl(OPTION_MSS << 24 | 4 << 16 | our_mss(ctx, f->v4));
	d->words[6] = bpf_htonl((o.sack ? OPTION_SACK_PERMITTED << 24 | 2 << 16 : 0x01010000) | (o.stamped ? OPTION_TIMESTAMPS << 8 | 10 : 0x0101));
	d->words[7] = o.stamped ? bpf_htonl(hash >> 32) : 0x01010101;
	d->words[8] = o.stamped ? bpf_htonl(o.value) : 0x01010101;
	d->words[9] = bpf_htonl(o.scaled ? OPTION_NOP << 24 | OPTION_SCALE << 16 | 3 << 8 | OUR_SCALE : 0x01010101);
	return write_answer(ctx, f, d);
}

#endif
