/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps. Those that hold sessions, and what sessions need, are pinned: they outlive the process. */
#ifndef MAPS_H
#define MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#include "layout.h"

/* The sizes are those that package kernel asks for; it sets sessions, tuples and spare to what the box has memory for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tuple);
	__type(value, struct ref);
} tuples SEC(".maps");

/* Slots that were given back. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1024);
	__type(value, __u32);
} spare SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct configuration);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct total);
} totals SEC(".maps");

#define NUMBERS 131072

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NUMBERS);
	__type(key, __u32);
	__type(value, struct count);
} service_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NUMBERS);
	__type(key, __u32);
	__type(value, struct count);
} origin_counts SEC(".maps");

/* Whose turn it is in a pool, by its number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} turn_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LEFT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} left SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * DROP_COUNT); /* TCP's, then UDP's */
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32); /* interface index */
	__type(value, struct interface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, __u64); /* 1; when it is over, control takes it off the list */
} bans SEC(".maps");

/* Flows by source, for the limit of each: the first 8 bytes of an IPv6 address without its last one, the last 4 of IPv4
 * without theirs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u32);
} sources SEC(".maps");

/* Sessions by source, of services that bound those. An entry lives as long as it has sessions, so nobody can fill the map who
 * has none; package kernel gives it room for those of all slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source);
	__type(value, struct holder);
} holders SEC(".maps");

/* Until when the sessions of an address have used up its rate, in ns of CLOCK_MONOTONIC. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct source);
	__type(value, __u64);
} paid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

/* The names of numbers, for the daemon alone: sessions outlive the process that gave them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * NUMBERS + 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 256);
} names SEC(".maps");

/* The tables, each twice. */
#define TABLE(name, value_type)                                 \
	struct {                                                \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);       \
		__uint(max_entries, 2);                         \
		__type(key, __u32);                             \
		__array(values, struct {                        \
			__uint(type, BPF_MAP_TYPE_ARRAY);       \
			__uint(max_entries, 1);                 \
			__uint(map_flags, BPF_F_INNER_MAP);     \
			__uint(key_size, sizeof(__u32));        \
			__uint(value_size, sizeof(value_type)); \
		});                                             \
	} name SEC(".maps")

TABLE(sets, __u32);   /* PAGES_OF_SET page numbers for each set of ports */
TABLE(pages, __u32);  /* PORTS_OF_PAGE route numbers for each page */
TABLE(routes, struct route);
TABLE(services, struct service);
TABLE(pools, struct pool);
TABLE(members, struct member);
TABLE(turns, __u32);  /* members, in the order of their turns */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);
		__uint(max_entries, 16384);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(key_size, sizeof(struct address_key));
		__uint(value_size, sizeof(__u32)); /* a set of ports */
	});
} addresses SEC(".maps");

/* The tuples of a program of another layout, which carries its sessions until they end. Empty nearly always. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__type(key, struct tuple);
		__type(value, struct ref);
	});
} elders SEC(".maps");

static __always_inline bool elder(const struct tuple *t)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&elders, &zero);

	return inner && bpf_map_lookup_elem(inner, t);
}

static __always_inline void *entry(void *table, __u32 generation, __u32 index)
{
	void *inner = bpf_map_lookup_elem(table, &generation);

	return inner ? bpf_map_lookup_elem(inner, &index) : 0;
}

#endif
