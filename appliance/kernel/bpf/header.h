/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The bytes of PROXY v1 and v2 (HAProxy's proxy-protocol.txt of 2026) and of SPP (Cloudflare's Simple Proxy Protocol), equal
 * to those of appliance/header: TestHeaders compares them. */
#ifndef HEADER_H
#define HEADER_H

#include "session.h"

#define V2_SIGNATURE 12
#define V2_V4_SIZE 28
#define V2_V6_SIZE 52
#define SPP_SIZE 38
#define HEADER_ROOM 128 /* v1 has at most 107 bytes; the rest is never used, and keeps the verifier content */

struct text {
	__u8 bytes[HEADER_ROOM];
	__u32 size;
};

/* Where a header is made: it is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct text);
} scratch SEC(".maps");

struct address {
	__u8 bytes[16];
};

/* The functions of v1 are global, so that the verifier reads each once and not at every call. */
static __always_inline void put(struct text *t, __u8 c)
{
	t->bytes[t->size & (HEADER_ROOM - 1)] = c;
	t->size++;
}

__noinline int put_decimal(struct text *t, __u32 n)
{
	__u32 power = 10000;
	bool begun = false;

	if (!t)
		return 0;
	for (int i = 0; i < 5; i++) {
		__u32 digit = n / power;

		n -= digit * power;
		if (digit || begun || power == 1) {
			put(t, '0' + digit);
			begun = true;
		}
		power /= 10;
	}
	return 0;
}

__noinline int put_hex(struct text *t, __u32 n)
{
	bool begun = false;

	if (!t)
		return 0;
	for (int shift = 12; shift >= 0; shift -= 4) {
		__u32 digit = n >> shift & 15;

		if (digit || begun || shift == 0) {
			put(t, digit < 10 ? '0' + digit : 'a' + digit - 10);
			begun = true;
		}
	}
	return 0;
}

/* put_v6 writes an address as RFC 5952 wants it: the first of the longest runs of zeros, of two groups at least, as "::". */
__noinline int put_v6(struct text *t, const struct address *address)
{
	__u32 best = 8, length = 1, run = 0;

	if (!t || !address)
		return 0;
	for (__u32 i = 0; i < 8; i++) {
		run = address->bytes[2 * i] || address->bytes[2 * i + 1] ? 0 : run + 1;
		if (run > length) {
			length = run;
			best = i + 1 - run;
		}
	}
	for (__u32 i = 0; i < 8; i++) {
		if (best < 8 && i >= best && i < best + length) {
			if (i == best) {
				put(t, ':');
				if (i + length == 8)
					put(t, ':');
			}
			continue;
		}
		if (i)
			put(t, ':');
		put_hex(t, address->bytes[2 * i] << 8 | address->bytes[2 * i + 1]);
	}
	return 0;
}

__noinline int put_v4(struct text *t, const struct address *address)
{
	if (!t || !address)
		return 0;
	for (__u32 i = 12; i < 16; i++) {
		if (i > 12)
			put(t, '.');
		put_decimal(t, address->bytes[i]);
	}
	return 0;
}

__noinline int put_v1(struct text *t, struct session *s)
{
	bool v4;

	if (!t || !s)
		return 0;
	v4 = s->flags & SESSION_V4;
	put(t, 'P'); put(t, 'R'); put(t, 'O'); put(t, 'X'); put(t, 'Y'); put(t, ' ');
	put(t, 'T'); put(t, 'C'); put(t, 'P'); put(t, v4 ? '4' : '6'); put(t, ' ');
	if (v4)
		put_v4(t, (const struct address *)s->side[CLIENT].address);
	else
		put_v6(t, (const struct address *)s->side[CLIENT].address);
	put(t, ' ');
	if (v4)
		put_v4(t, (const struct address *)s->side[CLIENT].own);
	else
		put_v6(t, (const struct address *)s->side[CLIENT].own);
	put(t, ' ');
	put_decimal(t, bpf_ntohs(s->side[CLIENT].port));
	put(t, ' ');
	put_decimal(t, bpf_ntohs(s->side[CLIENT].own_port));
	put(t, '\r'); put(t, '\n');
	return 0;
}

static __always_inline void put_v2(struct text *t, struct session *s)
{
	static const __u8 signature[V2_SIGNATURE] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
	const struct side *c = &s->side[CLIENT];
	bool v4 = s->flags & SESSION_V4;
	__u8 *b = t->bytes;

	__builtin_memcpy(b, signature, V2_SIGNATURE);
	b[12] = 0x21; /* version 2, PROXY */
	b[13] = (v4 ? 0x10 : 0x20) | (s->protocol == IPPROTO_UDP ? 2 : 1);
	b[14] = 0;
	b[15] = v4 ? V2_V4_SIZE - 16 : V2_V6_SIZE - 16;
	if (v4) {
		__builtin_memcpy(b + 16, c->address + 12, 4);
		__builtin_memcpy(b + 20, c->own + 12, 4);
		__builtin_memcpy(b + 24, &c->port, 2);
		__builtin_memcpy(b + 26, &c->own_port, 2);
		t->size = V2_V4_SIZE;
		return;
	}
	__builtin_memcpy(b + 16, c->address, 16);
	__builtin_memcpy(b + 32, c->own, 16);
	__builtin_memcpy(b + 48, &c->port, 2);
	__builtin_memcpy(b + 50, &c->own_port, 2);
	t->size = V2_V6_SIZE;
}

static __always_inline void put_spp(struct text *t, const struct session *s)
{
	const struct side *c = &s->side[CLIENT];
	__u8 *b = t->bytes;

	b[0] = 0x56;
	b[1] = 0xec;
	__builtin_memcpy(b + 2, c->address, 16);
	__builtin_memcpy(b + 18, c->own, 16);
	__builtin_memcpy(b + 34, &c->port, 2);
	__builtin_memcpy(b + 36, &c->own_port, 2);
	t->size = SPP_SIZE;
}

/* make_header gives the header of a session, padded with zeros to a multiple of 4; 0: it has none. */
static __noinline struct text *make_header(struct session *s)
{
	__u32 zero = 0;
	struct text *t = bpf_map_lookup_elem(&scratch, &zero);

	if (!t || !s || s->header == HEADER_NONE)
		return 0;
	t->size = 0;
	if (s->header == HEADER_V2)
		put_v2(t, s);
	else if (s->header == HEADER_SPP)
		put_spp(t, s);
	else
		put_v1(t, s);
	for (int i = 0; i < 4; i++)
		t->bytes[(t->size + i) & (HEADER_ROOM - 1)] = 0;
	return t;
}

/* header_size is the length of the PROXY header, known before it is made; v1 is made to be measured. */
static __always_inline __u32 header_size(struct session *s)
{
	struct text *t;

	if (!s || s->header == HEADER_NONE)
		return 0;
	if (s->header == HEADER_V2)
		return s->flags & SESSION_V4 ? V2_V4_SIZE : V2_V6_SIZE;
	if (s->header == HEADER_SPP)
		return SPP_SIZE;
	t = make_header(s);
	return t ? t->size & (HEADER_ROOM - 1) : 0;
}

/* header_sum is the ones' complement sum of a header that was made. */
static __always_inline __u32 header_sum(struct text *t)
{
	__u32 size = bounded((t->size + 3) & (HEADER_ROOM - 4), HEADER_ROOM - 4);

	return size ? bpf_csum_diff(0, 0, (__be32 *)t->bytes, size, 0) : 0;
}

#endif
