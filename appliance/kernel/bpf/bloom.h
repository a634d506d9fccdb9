/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which clients of TCP may have a session or a socket: a Bloom filter with one hash. A flood of SYNs has another tuple in each, and to
 * look for it in the large tables of sessions and sockets costs two walks to memory that no cache has. Here it is one, to half a
 * MiB. Who is not in the filter has neither.
 *
 * Nothing leaves a Bloom filter. So there are two: when one has become full, package kernel clears the other, lets what begins
 * be entered in both, and when all that was under way has arrived, enters what there is and lets that one count. */
#ifndef BLOOM_H
#define BLOOM_H

#include "hops.h"

/* Of each: 2^22 bits. With 200,000 sessions, one stranger in 20 is looked for in vain. */
#define BLOOM_WORDS 65536

struct bloom_state {
	__u32 generation; /* 0 or 1: which one counts */
	__u32 filling;    /* not 0: what begins is entered in the other, too */
	__u32 distrusted; /* not 0: something may have begun unseen */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bloom_state);
} bloom_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * BLOOM_WORDS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} bloom SEC(".maps");

/* How often something was entered that was not there. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bloom_entered SEC(".maps");

static __always_inline __u64 bloom_hash(const struct tuple *t)
{
	const __u64 *src = (const __u64 *)t->src, *dst = (const __u64 *)t->dst;
	__u64 ports = (__u64)t->sport << 16 | t->dport;

	return mix(mix(src[1] ^ mix(src[0])) ^ mix(dst[1] ^ mix(dst[0])) ^ ports);
}

static __always_inline __u64 *bloom_word(__u32 generation, __u64 hash)
{
	__u32 at = (generation & 1) * BLOOM_WORDS + (hash >> 6 & (BLOOM_WORDS - 1));

	return bpf_map_lookup_elem(&bloom, &at);
}

/* bloom_has tells whether a tuple may have a session or a socket. */
static __always_inline bool bloom_has(const struct tuple *t)
{
	__u32 zero = 0;
	struct bloom_state *s = bpf_map_lookup_elem(&bloom_states, &zero);
	__u64 hash = bloom_hash(t), *word;

	if (!s || s->distrusted)
		return true;
	word = bloom_word(s->generation, hash);
	return !word || *word >> (hash & 63) & 1;
}

/* bloom_set tells whether the bit was not set yet. Cores that have it already do not write. */
static __always_inline bool bloom_set(__u32 generation, __u64 hash)
{
	__u64 *word = bloom_word(generation, hash), bit = 1ULL << (hash & 63);

	if (!word || *word & bit)
		return false;
	__sync_fetch_and_or(word, bit);
	return true;
}

/* bloom_enter is for a tuple that begins something, before it does. */
__noinline int bloom_enter(struct tuple *t)
{
	__u32 zero = 0;
	struct bloom_state *s = bpf_map_lookup_elem(&bloom_states, &zero);
	__u64 *entered = bpf_map_lookup_elem(&bloom_entered, &zero), hash;
	__u32 generation;

	if (!t || !s || !entered)
		return 0;
	generation = *(volatile __u32 *)&s->generation; /* once: while the other one begins to count, both are filled */
	hash = bloom_hash(t);
	if (bloom_set(generation, hash))
		(*entered)++;
	if (s->filling)
		bloom_set(generation ^ 1, hash);
	return 0;
}

/* What follows enters what there is in the one that does not count yet, for package kernel. */
static __always_inline void bloom_fill(const struct tuple *t)
{
	__u32 zero = 0;
	struct bloom_state *s = bpf_map_lookup_elem(&bloom_states, &zero);

	if (s && s->filling)
		bloom_set(s->generation ^ 1, bloom_hash(t));
}

/* The kernel's own (net/ipv4/tcp_ipv4.c, include/net/sock.h), as far as it is read. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct bpf_iter__tcp {
	struct sock_common *sk_common;
};

#pragma clang attribute pop

/* Asked of the program that enters sessions. */
struct filling {
	__u32 first; /* slot */
	__u32 count;
};

static long fill_session(__u32 i, struct filling *f)
{
	__u32 slot = f->first + i;
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct tuple t = {.protocol = IPPROTO_TCP};

	if (!s || s->state == STATE_FREE || s->protocol != IPPROTO_TCP)
		return 0;
	copy_address(t.src, s->side[CLIENT].address);
	copy_address(t.dst, s->side[CLIENT].own);
	t.sport = s->side[CLIENT].port;
	t.dport = s->side[CLIENT].own_port;
	bloom_fill(&t);
	return 0;
}

SEC("syscall")
int fill_sessions(struct filling *f)
{
	struct filling part = *f;

	bpf_loop(part.count, fill_session, &part, 0);
	return 0;
}

SEC("iter/tcp")
int fill_sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *s = ctx->sk_common;
	struct tuple t = {.protocol = IPPROTO_TCP};

	if (!s || s->skc_state == BPF_TCP_LISTEN)
		return 0;
	t.sport = s->skc_dport;
	t.dport = bpf_htons(s->skc_num);
	if (s->skc_family == AF_INET) {
		map_v4(t.src, s->skc_daddr);
		map_v4(t.dst, s->skc_rcv_saddr);
	} else {
		__builtin_memcpy(t.src, &s->skc_v6_daddr, 16);
		__builtin_memcpy(t.dst, &s->skc_v6_rcv_saddr, 16);
	}
	bloom_fill(&t);
	return 0;
}

#endif
