/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SipHash-2-4 over words of 8 bytes: a hash that nobody can foretell without its key (Aumasson and Bernstein, 2012). */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct siphash {
	__u64 v[4];
};

static __always_inline __u64 rotate(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static __always_inline void siphash_round(struct siphash *h)
{
	h->v[0] += h->v[1];
	h->v[1] = rotate(h->v[1], 13) ^ h->v[0];
	h->v[0] = rotate(h->v[0], 32);
	h->v[2] += h->v[3];
	h->v[3] = rotate(h->v[3], 16) ^ h->v[2];
	h->v[0] += h->v[3];
	h->v[3] = rotate(h->v[3], 21) ^ h->v[0];
	h->v[2] += h->v[1];
	h->v[1] = rotate(h->v[1], 17) ^ h->v[2];
	h->v[2] = rotate(h->v[2], 32);
}

static __always_inline void siphash_begin(struct siphash *h, __u64 k0, __u64 k1)
{
	h->v[0] = k0 ^ 0x736f6d6570736575;
	h->v[1] = k1 ^ 0x646f72616e646f6d;
	h->v[2] = k0 ^ 0x6c7967656e657261;
	h->v[3] = k1 ^ 0x7465646279746573;
}

static __always_inline void siphash_add(struct siphash *h, __u64 word)
{
	h->v[3] ^= word;
	siphash_round(h);
	siphash_round(h);
	h->v[0] ^= word;
}

/* siphash_end gives the hash. The last word has the length of the message, modulo 256, in its upper byte. */
static __always_inline __u64 siphash_end(struct siphash *h)
{
	h->v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		siphash_round(h);
	return h->v[0] ^ h->v[1] ^ h->v[2] ^ h->v[3];
}

#endif
