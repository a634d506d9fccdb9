/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From an edge address and port to a service, and from a service and client to an origin. */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "packet.h"

struct wanted {
	__u32 service; /* index */
	__u32 first;   /* the first port of the route */
};

/* These functions are not static, so that the verifier reads each once and not again at every call. They take no pointers but
 * to the stack, and give numbers. */

/* find_route walks page and route of a port: the time does not depend on how many there are. */
__noinline int find_route(__u32 generation, __u32 set, struct tuple *t, struct wanted *out)
{
	__u32 *page, *route_number;
	struct route *route;
	__u16 port;

	if (!t || !out)
		return 0;
	port = bpf_ntohs(t->dport);
	page = entry(&sets, generation, set * PAGES_OF_SET + (t->protocol == IPPROTO_UDP ? 256 : 0) + (port >> 8));
	if (!page)
		return 0;
	route_number = entry(&pages, generation, *page * PORTS_OF_PAGE + (port & 255));
	if (!route_number)
		return 0;
	route = entry(&routes, generation, *route_number);
	if (!route || route->service == 0)
		return 0;
	out->first = route->first;
	out->service = route->service - 1;
	return 1;
}

/* ports_of gives the set of ports of an edge address; null: it is none. */
static __always_inline __u32 *ports_of(__u32 generation, const __u8 *address)
{
	struct address_key key = {.prefixlen = 128};
	void *inner = bpf_map_lookup_elem(&addresses, &generation);

	if (!inner)
		return 0;
	copy_words(key.address, address);
	return bpf_map_lookup_elem(inner, &key);
}

/* find_service looks for the address first. */
__noinline int find_service(__u32 generation, struct tuple *t, struct wanted *out)
{
	__u32 *set;

	if (!t || !out)
		return 0;
	set = ports_of(generation, t->dst);
	return set ? find_route(generation, *set, t, out) : 0;
}

/* A prefix, in words of the packet. */
struct cover {
	__u64 address[2];
	__u64 mask[2];
};

static __always_inline bool holds(const struct cover *c, const __u8 *address)
{
	const __u64 *words = (const __u64 *)address;

	return !((words[0] ^ c->address[0]) & c->mask[0]) && !((words[1] ^ c->address[1]) & c->mask[1]);
}

/* What every edge address of one IP version lies in. Where there is none, nobody does. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4); /* of a generation: IPv6, IPv4 */
	__type(key, __u32);
	__type(value, struct cover);
} covers SEC(".maps");

static __always_inline bool covered(__u32 generation, const __u8 *address)
{
	__u32 at = generation * 2 + mapped(address);
	struct cover *c = bpf_map_lookup_elem(&covers, &at);

	return c && holds(c, address);
}

/* from_us tells whether a source claims to be an edge address. Nothing on the wire has one, and two services that are given each other's
 * address would answer each other for ever. Only what begins something is asked: no session or flow can have such a client. */
__noinline int from_us(struct tuple *t, __u32 generation)
{
	generation &= 1;
	return t && covered(generation, t->src) && ports_of(generation, t->src) != 0;
}

/* mix and negative_log2 are those of appliance/origin/choose.go; TestChoice compares them over random clients. */
static __always_inline __u64 mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static __always_inline __u32 leading_zeros(__u64 x)
{
	__u32 n = 0;

	if (!(x >> 32)) { n += 32; x <<= 32; }
	if (!(x >> 48)) { n += 16; x <<= 16; }
	if (!(x >> 56)) { n += 8; x <<= 8; }
	if (!(x >> 60)) { n += 4; x <<= 4; }
	if (!(x >> 62)) { n += 2; x <<= 2; }
	if (!(x >> 63)) { n += 1; }
	return n;
}

__noinline __u64 negative_log2(__u64 h)
{
	__u64 mantissa, fraction = 0;
	__u32 zeros;

	h |= 1;
	zeros = leading_zeros(h);
	mantissa = (h << (zeros & 63)) >> 32;
	for (int i = 0; i < 24; i++) {
		__u64 square = mantissa * mantissa;
		__u64 digit = square >> 63;

		fraction = fraction << 1 | digit;
		mantissa = square >> (31 + digit);
	}
	return ((__u64)(zeros + 1) << 24) - fraction;
}

/* What a choice looks for, and the best so far. */
struct choice {
	__u64 client; /* its hash */
	__u64 cost;
	__u64 hash;
	__u64 weight;
	__u64 load;
	__u32 generation;
	__u32 first;  /* of the pool's members */
	__u32 count;
	__u32 start;  /* where the search begins, for turns and among equals */
	__u32 kind;
	__u16 port;
	__u16 route;  /* its first port */
	__u32 best;   /* index of a member + 1 */
};

/* origin_port maps the port that the client dialled; 0: behind the end of the origin's range. */
static __always_inline __u16 origin_port(const struct member *m, __u16 port, __u16 first)
{
	if (m->first == 0)
		return port;
	if (m->first == m->last)
		return m->first;
	if (port < first || (__u16)(port - first) > (__u16)(m->last - m->first))
		return 0;
	return m->first + (port - first);
}

static __always_inline bool has_place(const struct member *m)
{
	struct count *n;
	__u32 number = m->place;

	if (m->limit == 0)
		return true;
	n = bpf_map_lookup_elem(&origin_counts, &number);
	return n && n->flows + m->others < m->limit;
}

static long weigh(__u32 i, struct choice *c)
{
	__u64 hash, cost;
	struct member *m;
	__u32 index, at = i;

	if (c->kind != CHOICE_HASH) {
		at += c->start;
		if (at >= c->count)
			at -= c->count;
	}
	index = c->first + at;
	m = entry(&members, c->generation, index);
	if (!m || m->state == MEMBER_NO || !origin_port(m, c->port, c->route) || !has_place(m))
		return 0;
	if (c->kind == CHOICE_TURNS) {
		c->best = index + 1;
		return 1;
	}
	if (c->kind == CHOICE_LEAST) {
		__u32 number = m->origin;
		struct count *n = bpf_map_lookup_elem(&origin_counts, &number);
		__u64 load = (n ? n->sessions : 0) + m->others + 1;

		if (!c->best || load * c->weight < c->load * m->weight) {
			c->best = index + 1;
			c->load = load;
			c->weight = m->weight;
		}
		return 0;
	}
	hash = mix(c->client ^ m->key);
	cost = negative_log2(hash);
	if (c->best) {
		__u64 l = cost * c->weight, r = c->cost * m->weight;

		if (l > r || (l == r && hash <= c->hash))
			return 0;
	}
	c->best = index + 1;
	c->cost = cost;
	c->hash = hash;
	c->weight = m->weight;
	return 0;
}

/* choose finds the origin for a new client as appliance/origin does: the index of a member + 1; 0: none is free. */
__noinline __u32 choose(__u32 generation, struct packet *p, __u32 pool_index, __u32 first)
{
	struct choice c = {};
	struct pool *pool;
	const __u64 *words;
	__u64 *turn, n = 0;
	__u32 number;

	if (!p)
		return 0;
	pool = entry(&pools, generation, pool_index);
	if (!pool || pool->count == 0 || pool->count > MAX_MEMBERS)
		return 0;
	words = (const __u64 *)p->tuple.src;
	c.client = mix(mix(bpf_be64_to_cpu(words[0])) ^ bpf_be64_to_cpu(words[1]));
	c.generation = generation;
	c.first = pool->first;
	c.count = pool->count;
	c.kind = pool->choice;
	c.port = bpf_ntohs(p->tuple.dport);
	c.route = first;
	if (c.kind != CHOICE_HASH) {
		number = pool->number;
		turn = bpf_map_lookup_elem(&turn_counts, &number);
		if (turn)
			n = __sync_fetch_and_add(turn, 1);
		c.start = n % pool->count;
	}
	if (c.kind == CHOICE_TURNS && pool->turn_count) {
		__u32 *at = entry(&turns, generation, pool->turns + (__u32)(n % pool->turn_count));
		struct member *m = at ? entry(&members, generation, pool->first + *at) : 0;

		if (m && m->state != MEMBER_NO && origin_port(m, c.port, c.route) && has_place(m))
			return pool->first + *at + 1;
	}
	bpf_loop(pool->count, weigh, &c, 0);
	return c.best;
}

#endif
