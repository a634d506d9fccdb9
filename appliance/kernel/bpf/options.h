/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP options: what a SYN asks for, and SACK blocks, whose numbers move with those of the stream (RFC 2018). */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "session.h"

enum {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	OPTION_SCALE = 3,
	OPTION_SACK_PERMITTED = 4,
	OPTION_SACK = 5,
	OPTION_TIMESTAMPS = 8,
	OPTION_MD5 = 19,
	OPTION_AO = 29,
	OPTION_MPTCP = 30,
	OPTION_TFO = 34,
	OPTION_EXPERIMENT = 254, /* TFO of old */
};

#define OPTIONS_ROOM 64 /* 40 is the most; a power of two for the verifier */

/* A walk over TCP options. */
struct walk {
	__u8 bytes[OPTIONS_ROOM];
	__u32 at;
	__u32 size;
	__u32 edges;   /* of SACK blocks that follow */
	__u32 minus;   /* taken from each edge */
	__u16 mss;     /* at most so much may be offered */
	bool again;    /* timestamps are to go */
	bool refused;  /* only an end of the connection can answer these */
	bool changed;
	__u8 scale;
};

static __always_inline __u8 byte_at(const struct walk *w, __u32 at)
{
	return w->bytes[at & (OPTIONS_ROOM - 1)];
}

static __always_inline void set_byte(struct walk *w, __u32 at, __u8 to)
{
	w->bytes[at & (OPTIONS_ROOM - 1)] = to;
}

/* syn_option looks at one option of a SYN. */
static long syn_option(__u32 i, struct walk *w)
{
	__u8 kind, length;

	if (w->at >= w->size)
		return 1;
	kind = byte_at(w, w->at);
	if (kind == OPTION_END)
		return 1;
	if (kind == OPTION_NOP) {
		w->at++;
		return 0;
	}
	length = byte_at(w, w->at + 1);
	if (length < 2 || w->at + length > w->size) {
		w->refused = true;
		return 1;
	}
	switch (kind) {
	case OPTION_MSS:
		if (length == 4) {
			__u16 mss = byte_at(w, w->at + 2) << 8 | byte_at(w, w->at + 3);

			if (w->mss && mss > w->mss) {
				set_byte(w, w->at + 2, w->mss >> 8);
				set_byte(w, w->at + 3, w->mss & 255);
				w->changed = true;
			}
		}
		break;
	case OPTION_SCALE:
		if (length == 3)
			w->scale = byte_at(w, w->at + 2) > 14 ? 14 : byte_at(w, w->at + 2);
		break;
	case OPTION_TIMESTAMPS:
		if (w->again && length == 10) {
			for (int n = 0; n < 10; n++)
				set_byte(w, w->at + n, OPTION_NOP);
			w->changed = true;
		}
		break;
	case OPTION_MD5:
	case OPTION_AO:
	case OPTION_MPTCP:
	case OPTION_TFO:
	case OPTION_EXPERIMENT:
		w->refused = true;
		return 1;
	}
	w->at += length;
	return 0;
}

/* sack_option moves the edges of SACK blocks, four bytes at each call. */
static long sack_option(__u32 i, struct walk *w)
{
	__u8 kind, length;

	if (w->at >= w->size)
		return 1;
	if (w->edges) {
		__u32 edge = (__u32)byte_at(w, w->at) << 24 | (__u32)byte_at(w, w->at + 1) << 16 |
			     (__u32)byte_at(w, w->at + 2) << 8 | byte_at(w, w->at + 3);

		edge -= w->minus;
		set_byte(w, w->at, edge >> 24);
		set_byte(w, w->at + 1, edge >> 16);
		set_byte(w, w->at + 2, edge >> 8);
		set_byte(w, w->at + 3, edge);
		w->at += 4;
		w->edges--;
		return 0;
	}
	kind = byte_at(w, w->at);
	if (kind == OPTION_END)
		return 1;
	if (kind == OPTION_NOP) {
		w->at++;
		return 0;
	}
	length = byte_at(w, w->at + 1);
	if (length < 2 || w->at + length > w->size)
		return 1;
	if (kind == OPTION_SACK) {
		w->edges = (length - 2) / 4;
		w->at += 2;
		w->changed = true;
		return 0;
	}
	w->at += length;
	return 0;
}

static __always_inline bool load_options(struct __sk_buff *skb, const struct packet *p, struct walk *w)
{
	__u32 size = bounded(p->options, 40);

	if (!size)
		return false;
	w->size = size;
	return bpf_skb_load_bytes(skb, p->l4 + sizeof(struct tcphdr), w->bytes, size) == 0;
}

/* store_options writes options back and gives the difference that it makes to the checksum. */
static __always_inline __u32 store_options(struct __sk_buff *skb, const struct packet *p, struct walk *w)
{
	__u8 old[OPTIONS_ROOM] = {};
	__u32 size = bounded(p->options, 40);

	if (!w->changed || !size || bpf_skb_load_bytes(skb, p->l4 + sizeof(struct tcphdr), old, size))
		return 0;
	bpf_skb_store_bytes(skb, p->l4 + sizeof(struct tcphdr), w->bytes, size, 0);
	return bpf_csum_diff((__be32 *)old, 40, (__be32 *)w->bytes, 40, 0);
}

/* read_syn looks at the options of a SYN. False: they are the user path's. */
__noinline int read_syn(struct __sk_buff *skb, struct packet *p)
{
	struct walk w = {};

	if (!p || !p->options)
		return true;
	if (!load_options(skb, p, &w))
		return false;
	bpf_loop(40, syn_option, &w, 0);
	return !w.refused;
}

/* write_syn bounds what the sender of a SYN offers, notes the scale of its windows, and gives the difference to the
 * checksum. */
__noinline __u32 write_syn(struct __sk_buff *skb, struct packet *p, __u32 slot, __u32 from)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct walk w = {};
	struct interface *i;
	__u32 ifindex, headers;

	if (!p || !s || !p->options || !load_options(skb, p, &w))
		return 0;
	ifindex = s->side[from & 1].ifindex; /* what it offers comes out there */
	headers = p->v4 ? sizeof(struct iphdr) + sizeof(struct tcphdr) : sizeof(struct ipv6hdr) + sizeof(struct tcphdr);
	i = bpf_map_lookup_elem(&interfaces, &ifindex);
	if (i && i->mtu > headers && i->mtu < 65536)
		w.mss = i->mtu - headers;
	w.again = s->flags & SESSION_AGAIN && from == CLIENT;
	bpf_loop(40, syn_option, &w, 0);
	if (s->state == STATE_SYN)
		s->side[from & 1].scale = w.scale;
	return store_options(skb, p, &w);
}

/* write_sack moves SACK blocks of the origin back into the client's numbers. */
__noinline __u32 write_sack(struct __sk_buff *skb, struct packet *p, __u32 minus)
{
	struct walk w = {};

	if (!p || !load_options(skb, p, &w))
		return 0;
	w.minus = minus;
	bpf_loop(40, sack_option, &w, 0);
	return store_options(skb, p, &w);
}

#endif
