/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How fast single addresses and networks may send, and who comes first when too many want to begin.
 *
 * A bucket is one number: until when what came has used up its rate. It is full when that is as far ahead as the burst lasts
 * (the generic cell rate algorithm, ITU-T I.371). What is refused costs a read and no write, so a flood does not make cores
 * fight for it.
 *
 * Any source can be written into a packet. So a source that was not seen yet gets buckets of its own only as long as few do;
 * the others share those of their network, or one for all. An address whose client once answered is in another map, which a
 * flood of sources cannot enter: the budgets of new clients keep a part for those. */
#ifndef LIMIT_H
#define LIMIT_H

#include "guard.h"
#include "packet.h"

/* Which of the buckets of a source: what is known to come from there, what says so. */
enum { TRUE_SOURCE = 0, CLAIMED = 1 };

struct bucket {
	__u64 packets[2];
	__u64 bytes[2];
	__u64 clients; /* that begin */
};

/* The limits of single sources, and of all. There are two, as of the tables. */
struct source_limits {
	struct rate packets[2]; /* of an address, of a network */
	struct rate bytes[2];
	struct rate clients[2];
	struct rate fair[2];    /* the same, while budgets are used up by half */
	struct rate flows;      /* of the box */
	struct rate strangers;  /* that begin and have no bucket, neither of their own nor of their network */
	__u32 admit;            /* sources that get buckets, a second and core */
	__u32 zero;
};

enum { OF_ADDRESS = 0, OF_NETWORK = 1 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct source_limits);
} limit_tables SEC(".maps");

/* An address, of IPv6 the first half and zeros. */
struct source_key {
	__u8 address[16];
} __attribute__((aligned(8)));

#define ADDRESS_BUCKETS 131072
#define NETWORK_BUCKETS 32768

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ADDRESS_BUCKETS);
	__type(key, struct source_key);
	__type(value, struct bucket);
} address_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NETWORK_BUCKETS);
	__type(key, struct source_key);
	__type(value, struct bucket);
} network_buckets SEC(".maps");

/* The addresses that clients were seen to have. Only package kernel enters any. */
struct known {
	__u64 seen; /* last, CLOCK_MONOTONIC in ns */
	__u32 tcp;  /* not 0: it had a session; else only a flow, which proves less */
	__u32 zero;
};

#define KNOWN_SOURCES 262144

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KNOWN_SOURCES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_key);
	__type(value, struct known);
} known_sources SEC(".maps");

/* FLOW_* of the flows of the user path, whose sockets do not tell. Only package kernel enters any. */
enum { FLOW_BEGUN = 1, FLOW_PROVEN = 2 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tuple);
	__type(value, __u32);
} user_flows SEC(".maps");

/* What all sources share. */
struct commons {
	__u64 flows;
	__u64 strangers;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct commons);
} shared_buckets SEC(".maps");

/* Of sources that wanted buckets: those that got them, and those that had to share. */
enum { GOT_ADDRESS = 0, GOT_NETWORK, SHARED, SOURCE_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SOURCE_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} source_counts SEC(".maps");

static __always_inline void count_sources(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&source_counts, &what);

	if (n)
		(*n)++;
}

/* trickles_through counts one more of something, and tells whether it is among the first so many of this second. */
static __always_inline bool trickles_through(__u32 which, __u64 now, __u64 most)
{
	struct gauge *g = bpf_map_lookup_elem(&trickles, &which);

	if (!g)
		return false;
	begin_second(g, now);
	return g->count++ < most;
}

/* spend takes n of a rate, and tells whether there was so much; but for keep, which is for others. When two cores take at once,
 * one of them takes for nothing. */
static __always_inline bool spend(__u64 *until, const struct rate *r, __u64 n, __u64 now, __u64 keep)
{
	__u64 was = *until, after;

	if (!r->cost)
		return true;
	after = (was > now ? was : now) + (r->cost * n >> 10);
	if (after > now + r->depth - keep)
		return false;
	__sync_val_compare_and_swap(until, was, after);
	return true;
}

static __always_inline void bucket_key(struct source_key *k, const __u8 *address, bool network)
{
	copy_address(k->address, address);
	mask_source(k->address, network);
}

/* bucket_of gives the buckets of a source, new ones if there may be any; 0: it has to share. */
static __always_inline struct bucket *bucket_of(const struct tuple *t, bool network, __u64 now, __u32 admit)
{
	struct bucket *b, none = {};
	struct source_key key;

	bucket_key(&key, t->src, network);
	b = network ? bpf_map_lookup_elem(&network_buckets, &key) : bpf_map_lookup_elem(&address_buckets, &key);
	if (b || !trickles_through(network ? TRICKLE_NETWORKS : TRICKLE_ADDRESSES, now, admit))
		return b;
	count_sources(network ? GOT_NETWORK : GOT_ADDRESS);
	if (network) {
		bpf_map_update_elem(&network_buckets, &key, &none, BPF_NOEXIST);
		return bpf_map_lookup_elem(&network_buckets, &key);
	}
	bpf_map_update_elem(&address_buckets, &key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&address_buckets, &key);
}

/* fits_in takes a packet's worth of the buckets of a source. */
static __always_inline bool fits_in(struct bucket *b, const struct source_limits *l, __u32 of, __u32 how, __u32 length, __u64 now)
{
	return spend(&b->packets[how], &l->packets[of], 1, now, 0) && spend(&b->bytes[how], &l->bytes[of], length, now, 0);
}

/* What limit is asked about. */
struct limiting {
	__u64 now;
	__u32 generation;
	__u32 length;  /* of the frame */
	__u32 service; /* number, for what begins */
	__u32 room;    /* as of struct guard */
	struct rate flows;   /* of the service */
	struct rate clients;
};

/* limit_address tells why a packet that begins nothing is too much for its address: WHY_*, or 0. how: TRUE_SOURCE, CLAIMED. */
__noinline int limit_address(struct tuple *t, struct limiting *a, __u32 how)
{
	__u32 generation;
	struct source_limits *l;
	struct bucket *b;

	if (!t || !a)
		return 0;
	generation = a->generation & 1;
	l = bpf_map_lookup_elem(&limit_tables, &generation);
	if (!l || !(l->packets[OF_ADDRESS].cost | l->bytes[OF_ADDRESS].cost))
		return 0;
	b = bucket_of(t, false, a->now, l->admit);
	return !b || fits_in(b, l, OF_ADDRESS, how & 1, a->length, a->now) ? 0 : WHY_ADDRESS_RATE;
}

/* limit_network tells why a packet of no session is too much for its network. */
__noinline int limit_network(struct tuple *t, struct limiting *a)
{
	__u32 generation;
	struct source_limits *l;
	struct bucket *b;

	if (!t || !a)
		return 0;
	generation = a->generation & 1;
	l = bpf_map_lookup_elem(&limit_tables, &generation);
	if (!l || !(l->packets[OF_NETWORK].cost | l->bytes[OF_NETWORK].cost))
		return 0;
	b = bucket_of(t, true, a->now, l->admit);
	return !b || fits_in(b, l, OF_NETWORK, CLAIMED, a->length, a->now) ? 0 : WHY_NETWORK_RATE;
}

/* used_up tells whether a budget has nothing left but what it keeps. */
static __always_inline bool used_up(__u64 until, const struct rate *r, __u64 now, __u64 keep)
{
	return r->cost && (until > now ? until : now) + (r->cost >> 10) > now + r->depth - keep;
}

/* half_used tells whether somebody presses on a budget. */
static __always_inline bool half_used(__u64 until, const struct rate *r, __u64 now)
{
	return used_up(until, r, now, r->depth / 2);
}

/* limited tells whether a source's own buckets matter to who begins. */
static __always_inline bool limited(const struct source_limits *l, __u32 of, bool pressed)
{
	return pressed || l->clients[of].cost | l->packets[of].cost | l->bytes[of].cost;
}

/* may_begin takes what one who begins costs of the buckets of its source. One source may open as much as it is allowed and there
 * is room for; under pressure all have the same. */
static __always_inline bool may_begin(struct bucket *b, const struct source_limits *l, __u32 of, bool pressed, __u32 length, __u64 now)
{
	struct rate r = l->clients[of];

	if (pressed && r.cost < l->fair[of].cost)
		r = l->fair[of];
	return fits_in(b, l, of, CLAIMED, length, now) && spend(&b->clients, &r, 1, now, 0);
}

/* has_room tells whether a service may have one more flow of somebody who is not known. */
static __always_inline bool has_room(__u32 service, __u32 room)
{
	struct count *n = bpf_map_lookup_elem(&service_counts, &service);

	return !room || !n || n->flows < room;
}

/* limit_new tells why a packet that begins a session or flow is too much. First comes what costs least in a flood: budgets that
 * are used up, which keep a quarter for clients that are known. */
__noinline int limit_new(struct tuple *t, struct limiting *a)
{
	__u32 zero = 0, generation, service;
	struct bucket *own = 0, *network = 0;
	struct source_limits *l;
	struct source_key key;
	struct pressure *p;
	struct commons *c;
	bool udp, known, pressed;
	__u64 now;

	if (!t || !a)
		return 0;
	now = a->now;
	udp = t->protocol == IPPROTO_UDP;
	generation = a->generation & 1;
	service = a->service;
	l = bpf_map_lookup_elem(&limit_tables, &generation);
	c = bpf_map_lookup_elem(&shared_buckets, &zero);
	p = bpf_map_lookup_elem(&pressures, &service);
	if (!l || !c || !p)
		return 0;
	bucket_key(&key, t->src, false);
	known = bpf_map_lookup_elem(&known_sources, &key);
	if (used_up(p->clients, &a->clients, now, known ? 0 : a->clients.depth / 4) ||
	    (udp && (used_up(p->flows, &a->flows, now, known ? 0 : a->flows.depth / 4) ||
		     used_up(c->flows, &l->flows, now, known ? 0 : l->flows.depth / 4))))
		return WHY_NEW_CLIENTS;
	if (udp && !known && !has_room(service, a->room))
		return WHY_NEW_CLIENTS;
	pressed = half_used(p->clients, &a->clients, now) ||
		  (udp && (half_used(p->flows, &a->flows, now) || half_used(c->flows, &l->flows, now)));
	if (limited(l, OF_ADDRESS, pressed)) {
		own = bucket_of(t, false, now, l->admit);
		if (own && !may_begin(own, l, OF_ADDRESS, pressed, a->length, now))
			return WHY_ADDRESS_RATE;
	}
	if (!known && limited(l, OF_NETWORK, pressed)) { /* if it is, others of its network may do what they like */
		network = bucket_of(t, true, now, l->admit);
		if (network && !may_begin(network, l, OF_NETWORK, pressed, a->length, now))
			return WHY_NETWORK_RATE;
		if (!own)
			count_sources(SHARED);
		if (!own && !network && !spend(&c->strangers, &l->strangers, 1, now, 0))
			return WHY_NEW_CLIENTS;
	}
	spend(&p->clients, &a->clients, 1, now, 0);
	if (udp) {
		spend(&p->flows, &a->flows, 1, now, 0);
		spend(&c->flows, &l->flows, 1, now, 0);
	}
	return 0;
}

#endif
