/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SYN cookies (RFC 4987, 3.6). While a service gets more SYNs than it can have new clients, the shield answers each itself and
 * remembers nothing: what the SYN asked for is in the sequence number of the answer, with a keyed hash over the addresses. Who is
 * there for real acknowledges that number. From it, a listener of the user path gets the connection (admit.h). */
#ifndef COOKIE_H
#define COOKIE_H

#include "frame.h"
#include "guard.h"
#include "options.h"
#include "siphash.h"

/* A cookie is good in the epoch that it was made in and in the next. An epoch is 2^36 ns: 69 s. */
#define EPOCH_SHIFT 36

/* A key counts from an epoch on, until the other one does. Package kernel writes the next one in time; when nobody does, keys
 * stay as they are. */
struct cookie_key {
	__u64 since;
	__u64 key[2];
};

/* What the box's TCP takes, as its sysctls say. */
enum { OFFER_SCALE = 1, OFFER_SACK = 2, OFFER_TIMESTAMPS = 4 };

struct cookie_state {
	struct cookie_key keys[2];
	__u64 seed;      /* of the places of networks */
	__u32 offers;    /* OFFER_* */
	__u32 listeners; /* of each IP version */
	__u32 mark;      /* of packets that have their socket */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_state);
} cookie_states SEC(".maps");

/* What the kernel's bpf_sk_assign_tcp_reqsk wants to know. */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

/* A client whose cookie was right. */
struct admission {
	struct bpf_tcp_req_attrs attrs;
	__u32 ack;
	__u64 assigned; /* when a listener got it; CLOCK_MONOTONIC in ns. 0: not yet */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple);
	__type(value, struct admission);
} admissions SEC(".maps");

#define MAX_LISTENERS 256 /* of each IP version */

/* The listeners of the user path: of IPv4, then of IPv6. They leave by themselves when they are closed. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2 * MAX_LISTENERS);
	__type(key, __u32);
	__type(value, __u64);
} listeners SEC(".maps");

enum { COOKIES_SENT = 0, COOKIES_ACCEPTED, COOKIES_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COOKIES_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} cookies SEC(".maps");

/* Not 0: some driver leaves no room for a mark in front of a frame. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} cookie_blind SEC(".maps");

static __always_inline void count_cookie(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&cookies, &what);

	if (n)
		(*n)++;
}

/* What a SYN asks for, and in an ACK its timestamps. */
struct offer {
	__u8 bytes[OPTIONS_ROOM];
	__u32 at;
	__u32 size;
	__u32 value; /* timestamps: TSval */
	__u32 echo;  /* TSecr */
	__u16 mss;
	__u8 scale;
	bool scaled;
	bool sack;
	bool stamped;
};

static __always_inline __u32 word_at(const struct offer *o, __u32 at)
{
	return (__u32)o->bytes[at & (OPTIONS_ROOM - 1)] << 24 | (__u32)o->bytes[(at + 1) & (OPTIONS_ROOM - 1)] << 16 |
	       (__u32)o->bytes[(at + 2) & (OPTIONS_ROOM - 1)] << 8 | o->bytes[(at + 3) & (OPTIONS_ROOM - 1)];
}

static long read_option(__u32 i, struct offer *o)
{
	__u32 word;
	__u8 kind, length;

	if (o->at >= o->size)
		return 1;
	word = word_at(o, o->at);
	kind = word >> 24;
	if (kind == OPTION_END)
		return 1;
	if (kind == OPTION_NOP) {
		o->at++;
		return 0;
	}
	length = word >> 16;
	if (length < 2 || o->at + length > o->size)
		return 1;
	if (kind == OPTION_MSS && length == 4)
		o->mss = word;
	if (kind == OPTION_SCALE && length == 3) {
		o->scaled = true;
		o->scale = (__u8)(word >> 8) > 14 ? 14 : word >> 8;
	}
	if (kind == OPTION_SACK_PERMITTED && length == 2)
		o->sack = true;
	if (kind == OPTION_TIMESTAMPS && length == 10) {
		o->stamped = true;
		o->value = word_at(o, o->at + 2);
		o->echo = word_at(o, o->at + 6);
	}
	o->at += length;
	return 0;
}

static __always_inline bool read_offer(struct xdp_md *ctx, const struct frame *f, struct offer *o)
{
	__u32 first = f->transport + sizeof(struct tcphdr), size = bounded(f->payload - first, 40);

	if (f->payload == first)
		return true;
	if (!size || bpf_xdp_load_bytes(ctx, first, o->bytes, size))
		return false;
	o->size = size;
	bpf_loop(40, read_option, o, 0);
	return true;
}

/* The lower 8 bits of a cookie: what the connection needs to know. */
#define COOKIE_SCALE 15 /* 15: none */
#define COOKIE_SACK 16
#define COOKIE_MSS_SHIFT 5
#define COOKIE_EPOCH 128 /* the last bit of its epoch */

/* The sizes of segments that a cookie can name: the largest that is not above what was offered (tcp(7); the kernel has the
 * same). The least of them may always be sent. */
static __always_inline __u16 mss_of(bool v4, __u32 i)
{
	if (v4)
		return i == 3 ? 1460 : i == 2 ? 1440 : i == 1 ? 1300 : 536;
	return i == 3 ? 8940 : i == 2 ? 1440 : i == 1 ? 1420 : 1220;
}

static __always_inline __u32 mss_index(bool v4, __u16 mss)
{
	for (__u32 i = 3; i > 0; i--)
		if (mss >= mss_of(v4, i))
			return i;
	return 0;
}

static __always_inline const struct cookie_key *key_of(const struct cookie_state *s, __u64 epoch)
{
	bool second = s->keys[1].since > s->keys[0].since;

	if (second)
		return s->keys[1].since <= epoch ? &s->keys[1] : &s->keys[0];
	return s->keys[0].since <= epoch ? &s->keys[0] : &s->keys[1];
}

/* cookie_hash: the lower 24 bits belong in front of the 8 of a cookie, the upper 32 into the timestamp. isn is the client's. */
static __always_inline __u64 cookie_hash(const struct cookie_state *s, const struct frame *f, __u32 isn, __u64 epoch, __u8 data, bool stamped)
{
	const struct cookie_key *k = key_of(s, epoch);
	const __u64 *src = (const __u64 *)f->tuple.src, *dst = (const __u64 *)f->tuple.dst;
	struct siphash h;
	__u64 length = 24;

	siphash_begin(&h, k->key[0], k->key[1]);
	if (f->v4) {
		siphash_add(&h, (src[1] & 0xffffffff00000000) | dst[1] >> 32);
	} else {
		siphash_add(&h, src[0]);
		siphash_add(&h, src[1]);
		siphash_add(&h, dst[0]);
		siphash_add(&h, dst[1]);
		length = 48;
	}
	siphash_add(&h, (__u64)isn << 32 | (__u32)f->tuple.sport << 16 | f->tuple.dport);
	siphash_add(&h, (length - 1) << 56 | epoch << 16 | (__u64)stamped << 8 | data);
	return siphash_end(&h);
}

/* What we say of ourselves. The scale is what Linux takes for the buffers that it has by default, and so is the window, which is
 * not above what a socket made of the cookie will say. */
#define OUR_SCALE 7
#define OUR_WINDOW 60000

/* read_cookie tells whether an ACK, or the first data behind it, has the cookie that its client was given, and what is to be
 * known of the connection. */
__noinline int read_cookie(struct xdp_md *ctx, struct frame *f, __u64 now, struct admission *out)
{
	__u32 zero = 0, cookie;
	struct cookie_state *s = bpf_map_lookup_elem(&cookie_states, &zero);
	struct offer o = {};
	__u64 epoch = now >> EPOCH_SHIFT, hash;
	__u8 data;

	if (!f || !out || !s || !read_offer(ctx, f, &o))
		return false;
	cookie = f->ack - 1;
	data = cookie;
	if ((epoch ^ data >> 7) & 1)
		epoch--;
	hash = cookie_hash(s, f, f->seq - 1, epoch, data, o.stamped);
	if ((__u32)hash << 8 != (cookie & 0xffffff00) || (o.stamped && hash >> 32 != o.echo))
		return false;
	out->attrs.rcv_tsval = o.value;
	out->attrs.rcv_tsecr = o.echo;
	out->attrs.tstamp_ok = o.stamped;
	out->attrs.mss = mss_of(f->v4, data >> COOKIE_MSS_SHIFT & 3);
	out->attrs.sack_ok = !!(data & COOKIE_SACK);
	out->attrs.wscale_ok = (data & COOKIE_SCALE) != COOKIE_SCALE;
	out->attrs.snd_wscale = out->attrs.wscale_ok ? data & COOKIE_SCALE : 0;
	out->attrs.rcv_wscale = out->attrs.wscale_ok ? OUR_SCALE : 0;
	out->ack = f->ack;
	return true;
}

#endif
